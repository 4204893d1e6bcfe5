"""Configuration of the embedded language model."""

from pathlib import Path
from typing import Any, Literal

from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig
from pydantic import ConfigDict, Field, field_validator

from lightspeed_providers.core.model_packages import DEFAULT_LANGUAGE_MODEL


class LlamaCppConfig(RemoteInferenceProviderConfig):
    """Which model llama.cpp runs, with how much of the machine, or where such a server is."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        default=DEFAULT_LANGUAGE_MODEL,
        description="The packaged model's name, or the absolute path of a .gguf file.",
    )
    url: str | None = Field(
        default=None,
        description="Address of a llama.cpp server to use instead of starting one, e.g. "
        "http://127.0.0.1:8080.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Loopback port of the started server; by default a free one.",
    )
    n_ctx: int = Field(
        default=4096, ge=256, description="Tokens of prompt and answer together, for each request."
    )
    n_parallel: int = Field(
        default=2, ge=1, description="Requests answered at the same time; others wait."
    )
    n_threads: int | None = Field(
        default=None, ge=1, description="Threads that compute; by default one a core."
    )
    gpu_layers: int | Literal["auto"] = Field(
        default="auto",
        description="Layers computed on the GPU. Auto is all of them where xllamacpp was built for "
        "a GPU that is there and LIGHTSPEED_DEVICE is not cpu.",
    )
    max_tokens: int = Field(
        default=200, ge=1, description="Longest answer where the request does not say."
    )
    chat_template_file: Path | None = Field(
        default=None,
        description="A Jinja chat template; by default the model's own, and for the packaged base "
        "model a plain question-answer one.",
    )
    preload_for: str | None = Field(
        default=None,
        description="The model that answers by default, as `provider/model`. Where it is another "
        "one, this one is loaded on its first request instead of at start.",
    )
    load_timeout_s: float = Field(
        default=60.0, gt=0, description="Seconds that a request waits for the model to be loaded."
    )
    answer_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="Seconds without a byte from the model until a request fails.",
    )

    @field_validator("url", "preload_for", mode="before")
    @classmethod
    def _empty_is_absent(cls, url: str | None) -> str | None:
        return url or None

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the configuration that a distribution starts from."""
        return {
            "model": f"${{env.LLAMA_CPP_MODEL:={DEFAULT_LANGUAGE_MODEL}}}",
            "url": "${env.LLAMA_CPP_URL:=}",
            "preload_for": "${env.LIGHTSPEED_MODEL:=}",
        }
