"""The embedded language model: llama.cpp in a child process behind Llama Stack's OpenAI mixin.

server.py starts and watches the child, process.py is what runs in it, question_answer.jinja and
sampling.py make a base model answer, llama_cpp.py is the provider.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightspeed_providers.llama_cpp.config import LlamaCppConfig
    from lightspeed_providers.llama_cpp.llama_cpp import LlamaCppImpl


async def get_provider_impl(
    config: "LlamaCppConfig",
    deps: dict[Any, Any],  # Any: Llama Stack hands over APIs by name; this provider needs none
) -> "LlamaCppImpl":
    """Return the provider, its model loading in the background."""
    from lightspeed_providers.llama_cpp.llama_cpp import LlamaCppImpl

    impl = LlamaCppImpl(config=config)
    await impl.initialize()
    return impl
