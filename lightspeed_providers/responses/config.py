"""Configuration of `inline::lightspeed-responses`."""

from typing import Any

from llama_stack.providers.inline.responses.builtin.config import BuiltinResponsesImplConfig
from pydantic import ConfigDict, Field

from lightspeed_providers.responses.profiles.config import ProfileConfig

PRODUCT_PROMPT = (
    "You are the assistant for {product}. Answer the question from the documentation passages "
    "given with it, shortly and exactly. If the passages do not answer it, say so."
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
    system_prompt: str = Field(
        default="You are a helpful assistant",
        description="What the model is told first where neither the request nor the profile says; "
        "an empty text tells it nothing.",
    )
    profiles: list[ProfileConfig] = Field(
        default_factory=list, description="The profiles that there are."
    )
    default_profile: str | None = Field(
        default=None,
        description="Name of the profile that holds where a request chooses none; the first where "
        "left out.",
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
            "profiles": [
                {
                    "name": "django",
                    "system_prompt": PRODUCT_PROMPT.format(product="the Django web framework"),
                    "retrieval": {"mode": "always", "max_passages": 4},
                }
            ],
        }
