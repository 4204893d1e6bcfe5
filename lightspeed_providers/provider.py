"""What Llama Stack loads: the list of our providers.

Llama Stack imports this module for each provider whose configuration names `lightspeed_providers`
and picks from the list by provider type alone, so every type is used once.
"""

import sys

from llama_stack_api import Api, InlineProviderSpec, ProviderSpec

from lightspeed_providers import readiness, transcripts
from lightspeed_providers.core.host import prepare_host
from lightspeed_providers.identity import keep_users_apart
from lightspeed_providers.openai_errors import answer_errors_in_openai_shape
from lightspeed_providers.transcripts.registration import (
    available_providers as transcripts_providers,
)


def get_provider_spec() -> list[ProviderSpec]:
    """Return every provider of this package."""
    prepare_host()
    _stand_in_the_registry()
    answer_errors_in_openai_shape()
    keep_users_apart()
    return [
        InlineProviderSpec(
            api=Api.inference,
            provider_type="inline::llama-cpp",
            module="lightspeed_providers.llama_cpp",
            config_class="lightspeed_providers.llama_cpp.config.LlamaCppConfig",
            description="The embedded language model: llama.cpp in a child process of the server.",
        ),
        InlineProviderSpec(
            api=Api.inference,
            provider_type="inline::lightspeed-embeddings",
            module="lightspeed_providers.embeddings",
            config_class="lightspeed_providers.embeddings.config.LightspeedEmbeddingsConfig",
            description="Embeddings on CPU or GPU, loaded in the background.",
        ),
        InlineProviderSpec(
            api=Api.safety,
            provider_type="inline::lightspeed-shields",
            module="lightspeed_providers.safety",
            config_class="lightspeed_providers.safety.config.LightspeedShieldsConfig",
            optional_api_dependencies=[Api.inference],
            description="Shields, routed by direction and enforced by the server.",
        ),
        InlineProviderSpec(
            api=Api.tool_runtime,
            provider_type="inline::lightspeed-rag",
            module="lightspeed_providers.product_rag",
            config_class="lightspeed_providers.product_rag.config.LightspeedRagConfig",
            api_dependencies=[Api.inference],
            optional_api_dependencies=[Api.vector_io],
            toolgroup_id="lightspeed",
            description="Searches product documentation and returns cited passages.",
        ),
        InlineProviderSpec(
            api=Api.vector_io,
            provider_type="inline::lightspeed-index",
            module="lightspeed_providers.product_rag.store",
            config_class="lightspeed_providers.product_rag.store.config.LightspeedIndexConfig",
            api_dependencies=[Api.inference],
            description="Product documentation as read-only vector stores.",
        ),
        InlineProviderSpec(
            api=Api.responses,
            provider_type="inline::lightspeed-responses",
            module="lightspeed_providers.responses",
            config_class="lightspeed_providers.responses.config.LightspeedResponsesConfig",
            api_dependencies=[
                Api.inference,
                Api.models,
                Api.safety,
                Api.shields,
                Api.vector_io,
                Api.tool_runtime,
                Api.tool_groups,
                Api.conversations,
                Api.prompts,
                Api.files,
                Api.connectors,
            ],
            optional_api_dependencies=[Api("transcripts")],
            description="The Responses API with the product's prompt, shields and passages.",
        ),
        *transcripts_providers(),
        *readiness.available_providers(),
    ]


def _stand_in_the_registry() -> None:
    """Let the host find our APIs' providers where it looks for its own, and not warn at start."""
    for package in (transcripts, readiness):
        name = package.__name__.rpartition(".")[2]
        sys.modules.setdefault(f"llama_stack.providers.registry.{name}", package)
