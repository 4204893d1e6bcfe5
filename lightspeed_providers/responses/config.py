"""Configuration of `inline::lightspeed-responses`."""

from typing import Any, Literal

from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig
from pydantic import BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Direction, Release

PRODUCT_PROMPT = (
    "You are the assistant for {product}. Answer the question from the documentation passages "
    "given with it, shortly and exactly. If the passages do not answer it, say so."
)


class RetrievalConfig(BaseModel):
    """How documentation reaches the model."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["always", "off"] = Field(
        default="always",
        description="`always` searches before the model is asked; `off` never searches.",
    )
    tool: str = Field(default="search_product_docs", description="The tool that searches.")
    max_passages: int = Field(
        default=4, ge=1, le=50, description="At most this many passages go to the model."
    )
    product: str | None = Field(
        default=None, description="Only documentation of this product; all where left out."
    )
    version: str | None = Field(
        default=None,
        description="Only documentation of this version, `latest` or `all`; where left out, the "
        "question decides, else the search's own default.",
    )
    language: str | None = Field(
        default=None, description="Only documentation in this language; all where left out."
    )
    filters: dict[str, str | list[str]] = Field(
        default_factory=dict, description="Only pages with these attributes."
    )

    def arguments(self, question: str) -> dict[str, Any]:
        """Return what the search tool is called with for a question."""
        limits = {
            "product": self.product,
            "version": self.version,
            "language": self.language,
            "filters": self.filters or None,
        }
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return {"query": question, "max_results": self.max_passages, **given}


class ProfileShieldsConfig(BaseModel):
    """Which shields run where, in this order; a direction that is left out goes by their names."""

    model_config = ConfigDict(extra="forbid")

    input: tuple[str, ...] | None = Field(
        default=None, description="Ids of the shields that screen what users write."
    )
    output: tuple[str, ...] | None = Field(
        default=None, description="Ids of the shields that screen what the model says."
    )
    tool: tuple[str, ...] | None = Field(
        default=None,
        description="Ids of the shields that screen tool results and retrieved passages.",
    )

    def by_direction(self) -> dict[Direction, tuple[str, ...]]:
        """Return the named shields of the directions that name some."""
        listed = {
            Direction.INPUT: self.input,
            Direction.OUTPUT: self.output,
            Direction.TOOL: self.tool,
        }
        return {direction: names for direction, names in listed.items() if names is not None}


class ProfileConfig(BaseModel):
    """What makes an assistant this product's assistant."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="default", description="Name that is recorded with each turn.")
    system_prompt: str = Field(
        default="You are a helpful assistant",
        min_length=1,
        description="System prompt where the request brings no `instructions`.",
    )
    retrieval: RetrievalConfig = Field(
        default_factory=RetrievalConfig, description="How documentation reaches the model."
    )
    shields: ProfileShieldsConfig = Field(
        default_factory=ProfileShieldsConfig,
        description="Which shields run where; by their names where left out.",
    )
    release: Release = Field(
        default=Release.HOLD,
        description="`hold` lets text leave once every output shield has cleared it. "
        "`stream_first` lets it leave when patterns, redaction and prompt leak have, and ends the "
        "stream when a slower shield blocks: up to `checkpoint_chars` and the time of a check of "
        "blocked text have been read by then.",
    )


class LightspeedResponsesConfig(BuiltinResponsesImplConfig):
    """Configuration of the governed Responses API; the stock provider's fields come first."""

    model_config = ConfigDict(extra="forbid")

    default_model: str = Field(
        min_length=1,
        description="Model, as `provider/model`, that answers where a request asks for the alias.",
    )
    model_alias: str = Field(
        default="lightspeed",
        description="Model name by which a client asks for whatever the operator chose.",
    )
    profile: ProfileConfig = Field(
        default_factory=ProfileConfig, description="The product's prompt and retrieval."
    )
    disable_query_system_prompt: bool = Field(
        default=False,
        description="Answer 422 to a request that brings its own `instructions`.",
    )
    shield_id: str = Field(
        default="lightspeed",
        description="Registered shield whose provider holds the shield policy.",
    )
    max_question_chars: int = Field(
        default=32_000,
        ge=1,
        description="A request with more characters of input is answered 413.",
    )
    checkpoint_chars: int = Field(
        default=200,
        ge=40,
        description="Shields that can't scan are asked about streamed text at the first sentence "
        "end, then at most once for so many characters.",
    )

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return what the distribution template writes into the run configuration."""
        return {
            **super().sample_run_config(__distro_dir__),
            "default_model": "${env.LIGHTSPEED_MODEL:=llama-cpp/gemma-3-270m}",
            "profile": {
                "name": "django",
                "system_prompt": PRODUCT_PROMPT.format(product="the Django web framework"),
                "retrieval": {"mode": "always", "max_passages": 4},
            },
        }
