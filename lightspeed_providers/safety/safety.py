"""The face of the shields: Llama Stack's Safety API."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from llama_stack.log import get_logger
from llama_stack_api import (
    Api,
    GetShieldRequest,
    HealthResponse,
    HealthStatus,
    Inference,
    ModerationObject,
    ModerationObjectResults,
    RunModerationRequest,
    RunShieldRequest,
    RunShieldResponse,
    Safety,
    SafetyViolation,
    Shield,
    ShieldsProtocolPrivate,
    ViolationLevel,
)

from lightspeed_providers.core.errors import InvalidRequestError, NotFoundError
from lightspeed_providers.core.inside import inside
from lightspeed_providers.core.start_checks import at_start
from lightspeed_providers.core.verdicts import (
    Action,
    Context,
    Direction,
    Release,
    Screening,
    Verdict,
)
from lightspeed_providers.run_configuration import configuration_path, read_run_configuration
from lightspeed_providers.safety.asking import models_of
from lightspeed_providers.safety.checking import ConfiguredShield, Health
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.configured import shields_of
from lightspeed_providers.safety.messages import (
    direction_of_message,
    instructions_in,
    questions_before,
    text_of_message,
)
from lightspeed_providers.safety.policy import NO_CONTEXT, ShieldPolicy
from lightspeed_providers.safety.rebuilding import rebuilt, retire, unused
from lightspeed_providers.safety.registered import RegisteredShields
from lightspeed_providers.safety.reloading import Reloader
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.self_test import check_asking, check_local
from lightspeed_providers.safety.streaming import StreamScreening

log = get_logger(name=__name__, category="safety")


class LightspeedShieldsImpl(Safety, ShieldsProtocolPrivate):
    """Screens texts with the configured shields; also a `core.verdicts.ShieldRunner`.

    The policy is one value that a reload replaces: who has begun with one ends with it.
    """

    shield_store: Any  # Any: the host's routing table, whose registry is no contract
    __provider_id__: str

    def __init__(self, config: LightspeedShieldsConfig, deps: dict[Api, Any]) -> None:
        self._inference: Inference | None = inside(deps.get(Api.inference))
        self._earlier_refusals: frozenset[str] = frozenset()
        self._chosen: list[Mapping[Direction, Sequence[str]]] = []
        self._take(config, configured_shields(config, self._inference))
        self._registered = RegisteredShields(config.composite_id)
        self._reloader = self._reloading()

    def _take(self, config: LightspeedShieldsConfig, shields: list[ConfiguredShield]) -> None:
        self.config = config
        self._policy = ShieldPolicy(shields)

    async def initialize(self) -> None:
        """Test the shields that need no model, and say which run where."""
        await check_local([*self._policy.shields.values()])
        self._start_check = at_start("shields", self._checked_at_start)
        for direction in Direction:
            watching = ", ".join(self._policy.watching(direction)) or "none"
            log.info("Shields by direction", direction=direction.value, shields=watching)

    async def _checked_at_start(self) -> str:
        """Begin to watch the configuration, and test the shields that ask models."""
        if self._reloader is not None and self._start_check.is_served:
            self._reloader.start()
        return await check_asking([*self._policy.shields.values()])

    def _reloading(self) -> Reloader | None:
        """Return what watches the configuration; the library client has no file to watch."""
        if (path := configuration_path()) is None:
            return None

        def read() -> LightspeedShieldsConfig:
            return shields_of(read_run_configuration(str(path)), self.__provider_id__)

        return Reloader(path, self.config, read, self._reload)

    async def _reload(self, config: LightspeedShieldsConfig, changed: frozenset[str]) -> None:
        """Put a changed configuration in the place of the old one, or raise and leave that."""
        before = self._policy.shields
        shields = await rebuilt(config, changed, before, models_of(self._inference))
        for names in self._chosen:
            ShieldPolicy(shields).choosing(names)
        await self._registered.publish(self.shield_store, config.shields)
        self._earlier_refusals |= self._policy.refusals
        self._take(config, shields)
        retire(unused(before.values(), shields))

    async def shutdown(self) -> None:
        """Close what shields hold open."""
        if self._reloader is not None:
            await self._reloader.aclose()
        for configured in self._policy.shields.values():
            await configured.shield.aclose()

    async def health(self) -> HealthResponse:
        """Return OK unless some shield's latest check failed."""
        if failing := self._policy.failing:
            faults = "; ".join(f"{shield}: {reason}" for shield, reason in sorted(failing.items()))
            return HealthResponse(status=HealthStatus.ERROR, message=f"Failing shields: {faults}")
        if self._reloader is not None and self._reloader.problem is not None:
            return HealthResponse(
                status=HealthStatus.ERROR, message=f"Not reloaded: {self._reloader.problem}"
            )
        return HealthResponse(
            status=HealthStatus.OK, message=f"{len(self.config.shields)} shields configured"
        )

    async def register_shield(self, shield: Shield) -> None:
        """Take a shield that is configured, or the composite one; refuse any other."""
        self._known(shield.provider_resource_id or shield.identifier)
        await self._registered.register(self.shield_store, shield, self.config.shields)

    async def unregister_shield(self, identifier: str) -> None:
        """Nothing is held per registration."""

    @property
    def version(self) -> str:
        """Differs where the shields, their settings or their directions differ."""
        return self._policy.version

    @property
    def shield_ids(self) -> frozenset[str]:
        """The ids that are enforced here, the composite shield's among them."""
        return frozenset([self.config.composite_id, *self._policy.shields])

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with, or could before a reload."""
        return self._earlier_refusals | self._policy.refusals

    @property
    def before_model(self) -> ShieldPolicy:
        """Only the shields whose verdict a model's call waits for."""
        return self._policy.before_model

    @property
    def beside_model(self) -> ShieldPolicy:
        """Only the slow shields, whose verdict the first text that leaves waits for."""
        return self._policy.beside_model

    @property
    def rewriting(self) -> ShieldPolicy:
        """Only the shields that rewrite."""
        return self._policy.rewriting

    def choosing(self, names: Mapping[Direction, Sequence[str]]) -> ShieldPolicy:
        """Only the named shields, in directions that are named; raises where one is unknown.

        A later reload may not take away what was chosen once.
        """
        chosen = self._policy.choosing(names)
        if names not in self._chosen:
            self._chosen.append(names)
        return chosen

    def adding(self, shield_ids: Sequence[str]) -> ShieldPolicy:
        """These shields too, in the directions of their names; the composite one adds none."""
        return self._policy.adding(shield_ids)

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        return self._policy.screens(direction)

    async def ready(self) -> None:
        """Make sure that the shields were tested; raises a `ConfigurationError` where one fails."""
        await self._start_check.ensure()

    async def screen(
        self, direction: Direction, text: str, context: Context = NO_CONTEXT
    ) -> Screening:
        """Run every shield of the direction; a shield that errs blocks."""
        await self.ready()
        return await self._policy.screen(direction, text, context)

    def stream(
        self,
        direction: Direction,
        context: Context = NO_CONTEXT,
        *,
        release: Release = Release.HOLD,
        checkpoint_chars: int = 200,
    ) -> StreamScreening:
        """Screen a text while it arrives."""
        return self._policy.stream(
            direction, context, release=release, checkpoint_chars=checkpoint_chars
        )

    async def run_shield(self, request: RunShieldRequest) -> RunShieldResponse:
        """Return a violation where the last message is blocked (ERROR) or rewritten (INFO).

        The composite shield runs the policy for the role of the last message, any other id the one
        shield. INFO carries the rewritten text; stock callers act on ERROR and WARN only.
        """
        registered = await self.shield_store.get_shield(
            GetShieldRequest(identifier=request.shield_id)
        )
        if not request.messages:
            raise InvalidRequestError(
                f"Failed to run shield '{request.shield_id}': `messages` is empty, send one."
            )
        last = request.messages[-1]
        screening = await self._screen_as(
            registered.provider_resource_id or registered.identifier,
            direction_of_message(last),
            text_of_message(last),
            Context(
                history=tuple(questions_before(request.messages)),
                instructions=instructions_in(request.messages),
            ),
        )
        return RunShieldResponse(violation=_violation(screening))

    async def run_moderation(self, request: RunModerationRequest) -> ModerationObject:
        """Return for each input whether it is blocked, by which shields, and what to tell the user.

        A moderation does not say which way its text travels: the composite shield takes it for
        input, a single shield for the first direction that it watches.
        """
        shield_id = self._known(request.model or self.config.composite_id)
        direction = self._moderated_direction(shield_id)
        inputs = [request.input] if isinstance(request.input, str) else request.input
        return ModerationObject(
            id=f"modr-{uuid.uuid4()}",
            model=shield_id,
            results=[
                _moderated(await self._screen_as(shield_id, direction, text)) for text in inputs
            ],
        )

    async def _screen_as(
        self, shield_id: str, direction: Direction, text: str, context: Context = NO_CONTEXT
    ) -> Screening:
        await self.ready()
        if self._known(shield_id) == self.config.composite_id:
            return await self._policy.screen(direction, text, context)
        return await self._policy.screen_with(shield_id, direction, text, context)

    def _moderated_direction(self, shield_id: str) -> Direction:
        if shield_id == self.config.composite_id:
            return Direction.INPUT
        watched = direction_of(shield_id)
        return next(direction for direction in Direction if direction in watched)

    def _known(self, shield_id: str) -> str:
        """Return the id if it can be run."""
        known = [self.config.composite_id, *self.config.shields]
        if shield_id not in known:
            raise NotFoundError(
                f"Failed to route shield '{shield_id}': not configured in "
                f"inline::lightspeed-shields ({', '.join(known)})."
            )
        return shield_id


def configured_shields(
    config: LightspeedShieldsConfig, inference: Inference | None
) -> list[ConfiguredShield]:
    """Return the shields of a configuration, ready to run."""
    health = Health()
    models = models_of(inference)
    return [
        ConfiguredShield(shield_id, options, options.build(models), health=health)
        for shield_id, options in config.shields.items()
    ]


def _violation(screening: Screening) -> SafetyViolation | None:
    if (blocked := screening.blocked_by) is not None:
        return SafetyViolation(
            violation_level=ViolationLevel.ERROR,
            user_message=blocked.message,
            metadata=_about(blocked),
        )
    if rewritten := _rewriting(screening):
        return SafetyViolation(
            violation_level=ViolationLevel.INFO,
            metadata={
                "action": Action.REPLACE.value,
                "shields": [verdict.shield for verdict in rewritten],
                "text": screening.text,
            },
        )
    return None


def _moderated(screening: Screening) -> ModerationObjectResults:
    """Return a moderation's result; a text that is only rewritten is not flagged.

    Categories are the shields, and after them what a shield tells apart, as `shield/category`.
    """
    blocked = screening.blocked_by
    scores: dict[str, tuple[bool, float]] = {}
    for verdict in screening.verdicts:
        blocks = verdict.action is Action.BLOCK
        scores[verdict.shield] = (blocks, float(blocks) if verdict.score is None else verdict.score)
        scores |= {
            f"{verdict.shield}/{name}": (blocks, score)
            for name, score in verdict.categories.items()
        }
    rewritten = {v.shield: v.replaced for v in _rewriting(screening)}
    return ModerationObjectResults(
        flagged=blocked is not None,
        categories={name: blocks for name, (blocks, _) in scores.items()},
        category_applied_input_types={name: ["text"] for name in scores},
        category_scores={name: score for name, (_, score) in scores.items()},
        user_message=blocked.message if blocked else None,
        metadata=(_about(blocked) if blocked else {})
        | ({"replaced": rewritten} if rewritten else {}),
    )


def _rewriting(screening: Screening) -> list[Verdict]:
    return [verdict for verdict in screening.verdicts if verdict.action is Action.REPLACE]


def _about(blocked: Verdict) -> dict[str, str]:
    return {
        "shield": blocked.shield,
        "kind": blocked.kind,
        "direction": blocked.direction.value,
    }
