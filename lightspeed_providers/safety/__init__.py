"""Shields, routed by direction and enforced by the server.

safety.py        the face: what Llama Stack calls
config.py        the provider's settings
demo_policy.py   the demo product's shields
messages.py      which text of a message is screened, and which way it travels
routing.py       a shield's directions, from its name
policy.py        runs the shields of one direction over a text
shields/         what a shield is, and one file per kind
"""

from typing import TYPE_CHECKING, Any

from .config import LightspeedShieldsConfig

if TYPE_CHECKING:
    from .safety import LightspeedShieldsImpl


async def get_provider_impl(
    config: LightspeedShieldsConfig,
    deps: dict[Any, Any],  # keyed by Api, which needs the host
) -> "LightspeedShieldsImpl":
    """Return the provider, ready to screen."""
    from .safety import LightspeedShieldsImpl

    impl = LightspeedShieldsImpl(config, deps)
    await impl.initialize()
    return impl
