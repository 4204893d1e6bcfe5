"""Settings of the read-only vector stores."""

from typing import Any

from pydantic import Field

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag.config import ServedIndexes


class LightspeedIndexConfig(ServedIndexes):
    """Which indexes are shown as vector stores."""

    max_tokens: int = Field(
        default=8000, ge=100, description="At most this many tokens of passages per search."
    )

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the settings that a generated distribution starts with."""
        return {
            "index_dir": "${env.LIGHTSPEED_INDEX:=demo}",
            "embedding_model": f"lightspeed-embeddings/{DEFAULT_EMBEDDING_MODEL}",
        }
