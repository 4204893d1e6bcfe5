"""Which shields look at a text, in which order, and what becomes of it."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.verdicts import (
    Action,
    Context,
    Direction,
    Release,
    Screening,
    Verdict,
)
from lightspeed_providers.safety.checking import ConfiguredShield, checked
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.streaming import StreamScreening

type Watching = Mapping[Direction, Sequence[ConfiguredShield]]

NO_CONTEXT = Context()


class ShieldPolicy:
    """Every configured shield; satisfies `core.verdicts.ShieldRunner`."""

    def __init__(
        self,
        shields: Sequence[ConfiguredShield],
        watching: Watching | None = None,
        built: str = "",
    ) -> None:
        self._built = built or secrets.token_hex(8)
        self.shields = {configured.shield_id: configured for configured in shields}
        self._watching = watching or {
            direction: [s for s in shields if direction in direction_of(s.shield_id)]
            for direction in Direction
        }

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with."""
        return frozenset(configured.options.refusal for configured in self.shields.values())

    async def ready(self) -> None:
        """Nothing is waited for: who made the policy tests its shields."""

    @cached_property
    def version(self) -> str:
        """Differs where the shields, their settings or their directions differ."""
        routes = (f"{d.value}:{','.join(self.watching(d))}" for d in Direction)
        return f"{self._built};{';'.join(routes)}"

    @property
    def shield_ids(self) -> frozenset[str]:
        """The ids of all shields."""
        return frozenset(self.shields)

    @property
    def failing(self) -> dict[str, str]:
        """The shields whose latest check failed, each with the reason."""
        return {
            name: fault
            for configured in self.shields.values()
            for name, fault in configured.health.failing.items()
        }

    @property
    def before_model(self) -> "ShieldPolicy":
        """Only the shields whose verdict a model's call waits for."""
        return self._those(lambda s: s.shield.replaces or not s.options.beside_model)

    @property
    def beside_model(self) -> "ShieldPolicy":
        """Only the slow shields, whose verdict the first text that leaves waits for."""
        return self._those(lambda s: s.options.beside_model and not s.shield.replaces)

    @property
    def rewriting(self) -> "ShieldPolicy":
        """Only the shields that rewrite."""
        return self._those(lambda s: s.shield.replaces)

    def choosing(self, names: Mapping[Direction, Sequence[str]]) -> "ShieldPolicy":
        """Only the named shields, in their given order, in directions that are named."""
        for direction, shield_id in [(d, n) for d, listed in names.items() for n in listed]:
            if shield_id not in self.shields:
                raise ConfigurationError(
                    f"Failed to route shield '{shield_id}' for {direction.value}: not in shields "
                    f"({', '.join(self.shields) or 'none'})."
                )
        chosen = {d: [self.shields[n] for n in listed] for d, listed in names.items()}
        return self._routed({**self._watching, **chosen})

    def adding(self, shield_ids: Sequence[str]) -> "ShieldPolicy":
        """These shields too, in the directions of their names; ids that are none add none."""
        watching = {direction: list(listed) for direction, listed in self._watching.items()}
        for configured in (self.shields[i] for i in shield_ids if i in self.shields):
            for direction in direction_of(configured.shield_id):
                if configured not in watching[direction]:
                    watching[direction].append(configured)
        return self._routed(watching)

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        return bool(self._watching[direction])

    def watching(self, direction: Direction) -> tuple[str, ...]:
        """The ids of the shields that watch this direction, in order."""
        return tuple(configured.shield_id for configured in self._watching[direction])

    async def screen(
        self, direction: Direction, text: str, context: Context = NO_CONTEXT
    ) -> Screening:
        """Return the text as the direction's shields leave it, and their verdicts."""
        return await screened(self._watching[direction], direction, text, context)

    async def screen_with(
        self, shield_id: str, direction: Direction, text: str, context: Context = NO_CONTEXT
    ) -> Screening:
        """Return what one shield says, whichever directions it watches by itself."""
        return await screened([self.shields[shield_id]], direction, text, context)

    def stream(
        self,
        direction: Direction,
        context: Context = NO_CONTEXT,
        *,
        release: Release = Release.HOLD,
        checkpoint_chars: int = 200,
    ) -> StreamScreening:
        """Screen a text while it arrives."""
        return StreamScreening(
            self._watching[direction],
            screened,
            direction,
            context,
            release=release,
            checkpoint_chars=checkpoint_chars,
        )

    def _those(self, wanted: Callable[[ConfiguredShield], bool]) -> "ShieldPolicy":
        watching = {d: [s for s in listed if wanted(s)] for d, listed in self._watching.items()}
        return self._routed(watching)

    def _routed(self, watching: Watching) -> "ShieldPolicy":
        return ShieldPolicy([*self.shields.values()], watching, self._built)


async def screened(
    shields: Sequence[ConfiguredShield], direction: Direction, text: str, context: Context
) -> Screening:
    """Let replacing shields rewrite one after the other, then ask the others at one time."""
    verdicts: list[Verdict] = []
    for configured in shields:
        if configured.shield.replaces:
            verdict, text = await checked(configured, direction, text, context)
            verdicts.append(verdict)
            if verdict.action is Action.BLOCK:
                return Screening(text=text, verdicts=tuple(verdicts))
    blocking = [
        checked(configured, direction, text, context)
        for configured in shields
        if not configured.shield.replaces
    ]
    verdicts += [verdict for verdict, _ in await _until_first_block(blocking)]
    return Screening(text=text, verdicts=tuple(verdicts))


async def _until_first_block(
    checks: Sequence[Coroutine[None, None, tuple[Verdict, str]]],
) -> list[tuple[Verdict, str]]:
    """Return what was answered, in the order of the checks, when all are done or one blocks."""
    tasks = [asyncio.ensure_future(check) for check in checks]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result()[0].action is Action.BLOCK for task in done):
                break
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() for task in tasks if task.done() and not task.cancelled()]
