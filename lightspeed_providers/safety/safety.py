"""The face of the shields: Llama Stack's Safety API."""

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_stack.log import get_logger
from llama_stack_api import (
    Api,
    GetShieldRequest,
    HealthResponse,
    HealthStatus,
    Inference,
    ModerationObject,
    ModerationObjectResults,
    OpenAIEmbeddingsRequestWithExtraBody,
    RunModerationRequest,
    RunShieldRequest,
    RunShieldResponse,
    Safety,
    SafetyViolation,
    Shield,
    ShieldsProtocolPrivate,
    ShieldStore,
    ViolationLevel,
)
from numpy.typing import NDArray

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
)
from lightspeed_providers.core.verdicts import Action, Direction, Screening, Verdict
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.messages import (
    direction_of_message,
    questions_before,
    text_of_message,
)
from lightspeed_providers.safety.policy import ConfiguredShield, ShieldPolicy
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.shields.base import Embedder

log = get_logger(name=__name__, category="safety")

_BATCH = 2048
"""The most texts that an embeddings request takes."""


class LightspeedShieldsImpl(Safety, ShieldsProtocolPrivate):
    """Screens texts with the configured shields; also a `core.verdicts.ShieldRunner`."""

    shield_store: ShieldStore

    def __init__(self, config: LightspeedShieldsConfig, deps: dict[Api, Any]) -> None:
        self.config = config
        self._policy = ShieldPolicy(configured_shields(config, deps.get(Api.inference)))

    async def initialize(self) -> None:
        """Say which shields run where."""
        for direction in Direction:
            watching = ", ".join(self._policy.watching(direction)) or "none"
            log.info("Shields by direction", direction=direction.value, shields=watching)

    async def shutdown(self) -> None:
        """Nothing is held open."""

    async def health(self) -> HealthResponse:
        """Return OK unless some shield's latest check failed."""
        if failing := self._policy.failing:
            faults = "; ".join(f"{shield}: {reason}" for shield, reason in sorted(failing.items()))
            return HealthResponse(status=HealthStatus.ERROR, message=f"Failing shields: {faults}")
        return HealthResponse(
            status=HealthStatus.OK, message=f"{len(self.config.shields)} shields configured"
        )

    async def register_shield(self, shield: Shield) -> None:
        """Take a shield that is configured, or the composite one; refuse any other."""
        self._known(shield.provider_resource_id or shield.identifier)

    async def unregister_shield(self, identifier: str) -> None:
        """Nothing is held per registration."""

    @property
    def refusals(self) -> frozenset[str]:
        """Every message that a blocked text can be answered with."""
        return self._policy.refusals

    def screens(self, direction: Direction) -> bool:
        """Whether any shield watches this direction."""
        return self._policy.screens(direction)

    async def screen(
        self, direction: Direction, text: str, *, history: Sequence[str] = ()
    ) -> Screening:
        """Run every shield of the direction; a shield that errs blocks."""
        return await self._policy.screen(direction, text, history=history)

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
            history=questions_before(request.messages),
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
        self, shield_id: str, direction: Direction, text: str, history: Sequence[str] = ()
    ) -> Screening:
        if self._known(shield_id) == self.config.composite_id:
            return await self._policy.screen(direction, text, history=history)
        return await self._policy.screen_with(shield_id, direction, text, history=history)

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
    needing = [name for name, options in config.shields.items() if options.needs_embeddings]
    if needing and inference is None:
        raise ConfigurationError(
            f"Shields {', '.join(needing)} compare embeddings and there is no inference API: "
            "add an inference provider, or remove these shields."
        )
    embedder = None if inference is None else embedder_of(inference)
    return [
        ConfiguredShield(
            shield_id=shield_id,
            kind=options.kind,
            shield=options.build(embedder),
            refusal=options.refusal,
            timeout_s=options.timeout_s,
            on_error=options.on_error,
        )
        for shield_id, options in config.shields.items()
    ]


def embedder_of(inference: Inference) -> Embedder:
    """Return what embeds with a model of the inference API."""

    def with_model(model: str) -> "_InferenceEmbed":
        return _InferenceEmbed(inference, model)

    return with_model


class _InferenceEmbed:
    """Embeds through Llama Stack."""

    def __init__(self, inference: Inference, model: str) -> None:
        self._inference = inference
        self._model = model

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        rows: list[list[float]] = []
        for start in range(0, len(texts), _BATCH):
            answer = await self._inference.openai_embeddings(
                OpenAIEmbeddingsRequestWithExtraBody(
                    model=self._model, input=texts[start : start + _BATCH]
                )
            )
            rows += [
                item.embedding
                for item in sorted(answer.data, key=lambda item: item.index)
                if not isinstance(item.embedding, str)
            ]
        return np.asarray(rows, dtype=np.float32)


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
    """Return a moderation's result; a text that is only rewritten is not flagged."""
    blocked = screening.blocked_by
    blocking = {v.shield: v.action is Action.BLOCK for v in screening.verdicts}
    rewritten = {v.shield: v.replaced for v in _rewriting(screening)}
    return ModerationObjectResults(
        flagged=blocked is not None,
        categories=blocking,
        category_applied_input_types={shield: ["text"] for shield in blocking},
        category_scores={shield: float(blocks) for shield, blocks in blocking.items()},
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
