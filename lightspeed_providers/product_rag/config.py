"""Settings of the documentation search."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL


class ServedIndexes(BaseModel):
    """Which indexes a server opens. The search tool and the vector stores share the open files."""

    model_config = ConfigDict(extra="forbid")

    index_dir: str = Field(
        default="demo",
        min_length=1,
        description="Directory of the index, or several separated by commas; a bare name is one "
        "under <state directory>/indexes, where `lightspeed demo` and `lightspeed ingest` put "
        "theirs.",
    )
    indexes: list[str] = Field(
        default_factory=list, description="More indexes, named like index_dir's."
    )
    embedding_model: str = Field(
        default=DEFAULT_EMBEDDING_MODEL,
        min_length=1,
        description="The registered model that embeds questions, with or without its provider's id "
        "in front. It must be the one that the indexes were built with.",
    )
    default_version: str = Field(
        default="latest",
        min_length=1,
        description="The version that is searched where neither question nor filter names one: "
        "`latest`, `all`, or a version.",
    )
    timeout_s: float = Field(
        default=5.0, gt=0, description="An index that takes longer is left out of the answer."
    )

    def index_names(self) -> list[str]:
        """Return every configured index once, in order."""
        listed = (name.strip() for name in (*self.index_dir.split(","), *self.indexes))
        return list(dict.fromkeys(name for name in listed if name))


class SearchedStore(BaseModel):
    """A vector store of this Llama Stack that is searched beside the indexes."""

    model_config = ConfigDict(extra="forbid")

    vector_store_id: str = Field(min_length=1, description="Id of the store, such as `vs_…`.")
    name: str = Field(default="", description="What results call it; its id where empty.")
    weight: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="What its best hit scores; the best hit of the indexes scores up to 1.",
    )
    timeout_s: float = Field(
        default=5.0, gt=0, description="A store that takes longer is left out of the answer."
    )
    search_mode: Literal["vector", "keyword", "hybrid"] = Field(
        default="vector", description="How the store searches; not every kind of store has all."
    )


class RerankerSettings(BaseModel):
    """A cross-encoder that reads the best passages once more, each beside the question."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        min_length=1, description="A sentence-transformers cross-encoder: hub name or directory."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where it runs; LIGHTSPEED_DEVICE overrides it."
    )
    top: int = Field(default=20, ge=1, le=200, description="So many passages a search are judged.")
    timeout_s: float = Field(
        default=2.0, gt=0, description="After so long the order before it is taken."
    )


class LightspeedRagConfig(ServedIndexes):
    """Which documentation is searched, and how much of it an answer may use."""

    max_results: int = Field(
        default=5, ge=1, le=50, description="Passages per search, unless the caller names fewer."
    )
    max_tokens: int = Field(
        default=2000,
        ge=100,
        description="At most this many tokens of passages per search; the best one always comes.",
    )
    neighbour_tokens: int = Field(
        default=300,
        ge=0,
        description="Of them, so many may be text of the same section beside a passage.",
    )
    min_score: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Where no passage scores this much, nothing is found. 0.2 keeps 98 % of the "
        "questions that our test sets answer; `lightspeed rag evaluate` says what fits yours. 0 "
        "always answers with the nearest passages.",
    )
    stores: list[SearchedStore] = Field(
        default_factory=list, description="Vector stores that are searched beside the indexes."
    )
    reranker: RerankerSettings | None = Field(
        default=None, description="Judges the best passages again; off by default."
    )

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the settings that a generated distribution starts with."""
        return {
            "index_dir": "${env.LIGHTSPEED_INDEX:=demo}",
            "embedding_model": f"lightspeed-embeddings/{DEFAULT_EMBEDDING_MODEL}",
        }
