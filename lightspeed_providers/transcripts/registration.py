"""What Llama Stack asks of the package of an external API."""

from typing import TYPE_CHECKING

from llama_stack_api import Api, InlineProviderSpec, ProviderSpec

if TYPE_CHECKING:
    from .config import LightspeedTranscriptsConfig
    from .transcripts import LightspeedTranscriptsImpl

TRANSCRIPTS_API = Api.add("transcripts")


def available_providers() -> list[ProviderSpec]:
    """The providers of this API."""
    return [
        InlineProviderSpec(
            api=TRANSCRIPTS_API,
            provider_type="inline::lightspeed-transcripts",
            module="lightspeed_providers.transcripts",
            config_class="lightspeed_providers.transcripts.config.LightspeedTranscriptsConfig",
            description="Records every turn and the users' feedback in an SQL store.",
        )
    ]


async def get_provider_impl(
    config: "LightspeedTranscriptsConfig", deps: dict[Api, object]
) -> "LightspeedTranscriptsImpl":
    """The provider, ready to record; it opens its database on first use."""
    from llama_stack.core.server.fastapi_router_registry import _ROUTER_FACTORIES

    from .fastapi_routes import create_router
    from .transcripts import LightspeedTranscriptsImpl

    # The server registers the routers of external APIs, the library client never does.
    _ROUTER_FACTORIES.setdefault(TRANSCRIPTS_API.value, create_router)
    impl = LightspeedTranscriptsImpl(config)
    await impl.initialize()
    return impl
