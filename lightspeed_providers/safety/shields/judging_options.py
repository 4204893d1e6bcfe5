"""Options of shields that judge by embeddings, and may ask a language model what is unclear."""

from pydantic import Field

from lightspeed_providers.safety.shields.base import Chat, Embed, Models, ShieldOptions


class JudgingOptions(ShieldOptions):
    """The models of such a shield."""

    embedding_model: str = Field(min_length=1, description="Id of a registered embedding model.")
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Id of a registered language model that decides what is unclear.",
    )

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the registered models that the shield asks."""
        return (self.embedding_model,) if self.model is None else (self.embedding_model, self.model)

    def judges(self, models: Models) -> tuple[Embed, Chat | None]:
        """Return what embeds, and what chats where a language model is named."""
        chat = None if self.model is None else models.chat(self.model)
        return models.embed(self.embedding_model), chat
