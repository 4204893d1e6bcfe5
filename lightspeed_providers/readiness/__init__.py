"""Whether this server can answer yet, as an external API of Llama Stack."""

from typing import TYPE_CHECKING

from llama_stack_api import Api, InlineProviderSpec, ProviderSpec

if TYPE_CHECKING:
    from .config import LightspeedReadinessConfig
    from .readiness import LightspeedReadinessImpl

READINESS_API = Api.add("readiness")


def available_providers() -> list[ProviderSpec]:
    """The providers of this API."""
    return [
        InlineProviderSpec(
            api=READINESS_API,
            provider_type="inline::lightspeed-readiness",
            module="lightspeed_providers.readiness",
            config_class="lightspeed_providers.readiness.config.LightspeedReadinessConfig",
            description="Tells load balancers whether models and indexes are loaded.",
        )
    ]


async def get_provider_impl(
    config: "LightspeedReadinessConfig", deps: dict[Api, object]
) -> "LightspeedReadinessImpl":
    """The provider."""
    from llama_stack.core.server.fastapi_router_registry import _ROUTER_FACTORIES

    from .fastapi_routes import create_router
    from .readiness import LightspeedReadinessImpl

    # The server registers the routers of external APIs, the library client never does.
    _ROUTER_FACTORIES.setdefault(READINESS_API.value, create_router)
    return LightspeedReadinessImpl()


def __getattr__(name: str) -> object:
    # Llama Stack looks both up on this package; imported here they would make it expensive.
    if name == "Readiness":
        from .api import Readiness

        return Readiness
    if name == "create_router":
        from .fastapi_routes import create_router

        return create_router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
