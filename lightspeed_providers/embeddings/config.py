"""Configuration of the embedding provider."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL


class LightspeedEmbeddingsConfig(BaseModel):
    """Which embedding model runs in this process, and where."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        default=DEFAULT_EMBEDDING_MODEL,
        description="The packaged default, or a sentence-transformers hub name or directory.",
    )
    embedding_dimension: int = Field(
        default=384,
        gt=0,
        description="How long the model's vectors are; checked when it is loaded.",
    )
    context_length: int = Field(
        default=256, gt=0, description="How many tokens of a text the model reads."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the model runs; auto takes a GPU if there is one. LIGHTSPEED_DEVICE "
        "overrides it.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Whether code that comes with a hub model may run here."
    )

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the configuration that a distribution starts from."""
        return {"model": DEFAULT_EMBEDDING_MODEL, "device": "auto"}
