"""What a client sent, as the shields leave it."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from llama_stack_api import CreateResponseRequest

from lightspeed_providers.core.verdicts import Action, Direction, Screening, ShieldRunner, Verdict
from lightspeed_providers.responses.client_texts import rewritten_settings
from lightspeed_providers.responses.deadlines import within
from lightspeed_providers.responses.open_turn import OpenTurn
from lightspeed_providers.responses.request_texts import (
    InputText,
    input_texts,
    joined_parts,
    with_texts,
)
from lightspeed_providers.responses.stored_prompts import rewritten_variables
from lightspeed_providers.responses.to_model import ClearedTexts

HISTORY = 4
"""How many earlier questions a shield may need to judge a follow-up."""


class InputGuard:
    """Screens requests before the model is asked; a block is noted in the turn."""

    def __init__(self, cleared: ClearedTexts) -> None:
        self._cleared = cleared

    async def guarded(
        self, request: CreateResponseRequest, turn: OpenTurn, runner: ShieldRunner
    ) -> CreateResponseRequest:
        """Return the request with replacements made; slow shields go on beside the model."""
        rewritten: dict[InputText, str] = {}
        for text, screening in await _screen_all(input_texts(request), turn, runner.before_model):
            turn.judged(screening.verdicts)
            if screening.text != text.text:
                rewritten[text] = screening.text
        cleared = with_texts(request, rewritten)
        cleared = await self._without_personal_data(cleared, turn, runner)
        if turn.refusal is not None:
            return cleared
        passing = input_texts(cleared)
        for _, screening in await _screen_all(joined_parts(passing), turn, runner.before_model):
            turn.judged(tuple(v for v in screening.verdicts if v.action is Action.BLOCK))
        if turn.refusal is not None:
            return cleared
        for text in passing:
            self._cleared.note(runner, _direction_of(text), text.text)
        late = runner.beside_model
        if any(late.screens(direction) for direction in Direction):
            verdicts = _verdicts(passing, turn, late)
            late_by = turn.rules.deadlines.shields_late
            turn.late_verdicts = asyncio.create_task(within(verdicts, turn.shields_until, late_by))
        return cleared

    async def _without_personal_data(
        self, request: CreateResponseRequest, turn: OpenTurn, runner: ShieldRunner
    ) -> CreateResponseRequest:
        """Return the request with the client's own prompt and settings rewritten.

        A text file among the variables of a stored prompt is no prompt: every shield sees it.
        """
        if not runner.screens(Direction.INPUT):
            return request

        async def screened_by(shields: ShieldRunner, text: str) -> str:
            screening = await shields.screen(Direction.INPUT, text, turn.context)
            turn.judged(tuple(v for v in screening.verdicts if v.action is not Action.ALLOW))
            return screening.text

        rewrite = partial(screened_by, runner.rewriting)

        clients = [await rewrite(text) if text else text for text in turn.prompting.client]
        turn.prompting = replace(turn.prompting, client=tuple(clients))
        turn.prompt = turn.prompting.effective
        screen = partial(screened_by, runner)
        variables = await rewritten_variables(request.prompt, rewrite, screen)
        update: dict[str, Any] = {"prompt": variables}
        if request.instructions:
            update["instructions"] = clients[-1]
        return await rewritten_settings(request.model_copy(update=update), rewrite)

    async def passage(self, text: str, turn: OpenTurn, runner: ShieldRunner) -> Screening:
        """Return a passage as the tool shields leave it; one that they know is not asked about."""
        if self._cleared.holds(runner, Direction.TOOL, text):
            return Screening(text=text)
        screening = await runner.screen(Direction.TOOL, text, turn.context)
        if screening.blocked_by is None and screening.text == text:
            self._cleared.note(runner, Direction.TOOL, text)
        return screening


def _direction_of(text: InputText) -> Direction:
    """Return how a client's text is screened.

    What a user wrote is input; everything else that a client sends (tool outputs, other roles)
    is screened as text from outside.
    """
    return Direction.INPUT if text.role == "user" else Direction.TOOL


async def _screen_all(
    texts: list[InputText], turn: OpenTurn, runner: ShieldRunner
) -> list[tuple[InputText, Screening]]:
    """Return each text with what the shields of its direction say."""
    results = []
    for text in texts:
        direction = _direction_of(text)
        if runner.screens(direction) and text.text.strip():
            history = turn.history if direction is Direction.INPUT else ()
            context = turn.context_with(history)
            results.append((text, await runner.screen(direction, text.text, context)))
    return results


async def _verdicts(texts: list[InputText], turn: OpenTurn, runner: ShieldRunner) -> list[Verdict]:
    return [v for _, s in await _screen_all(texts, turn, runner) for v in s.verdicts]
