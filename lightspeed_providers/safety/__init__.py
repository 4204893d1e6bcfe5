"""Shields, routed by direction and enforced by the server.

safety.py         face: what Llama Stack calls
config.py         face: the provider's settings
asking.py         face: the models that shields ask
registered.py     face: what the host's registry says of our shields
configured.py     the shields of a run configuration
messages.py       which text of a message is screened, and which way it travels
routing.py        a shield's directions, from its name
policy.py         which shields look at a text, in which order
checking.py       one shield's verdict on one text, or what its failure means
streaming.py      a text that is screened while it arrives
scanned_stage.py  … by shields that scan every delta
asked_stage.py    … by shields that are asked at checkpoints
checkpoints.py    where streamed text may be cut for a check
tally.py          one verdict a shield over a whole stream
self_test.py      each shield's own examples
reloading.py      shields that change while the server runs
rebuilding.py     which of them a change needs anew
metrics.py        counters, histograms and spans
audit.py          one line for each violation
cli.py            `lightspeed shields`: check, evaluate, train
in_process.py     models for commands that need no server
evaluate/         how much shields catch, and how often they are wrong
training/         heads for shields of kind `examples`
trained/          the one that ships
demo/             the demo product's shields
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
