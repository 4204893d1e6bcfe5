"""Settings of the documentation search."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL


class LightspeedRagConfig(BaseModel):
    """Which documentation is searched, and how much of it an answer may use."""

    model_config = ConfigDict(extra="forbid")

    index_dir: str = Field(
        default="demo",
        min_length=1,
        description="Directory of the index; a bare name is one under <state directory>/indexes, "
        "where `lightspeed demo` and `lightspeed ingest` put theirs.",
    )
    embedding_model: str = Field(
        default=DEFAULT_EMBEDDING_MODEL,
        min_length=1,
        description="The registered model that embeds questions, with or without its provider's id "
        "in front. It must be the one that the index was built with.",
    )
    max_results: int = Field(
        default=5, ge=1, le=50, description="Passages per search, unless the caller names fewer."
    )
    max_tokens: int = Field(
        default=2000,
        ge=100,
        description="At most this many tokens of passages per search; the best one always comes.",
    )
    min_cosine: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Where no passage is at least this similar to the question, nothing is found. "
        "0 always answers with the nearest passages.",
    )

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the settings that a generated distribution starts with."""
        return {
            "index_dir": "${env.LIGHTSPEED_INDEX:=demo}",
            "embedding_model": f"lightspeed-embeddings/{DEFAULT_EMBEDDING_MODEL}",
        }
