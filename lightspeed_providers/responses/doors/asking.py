"""A request as the shields leave it, before the model is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lightspeed_providers.core.verdicts import Context, Direction, Screening, ShieldRunner
from lightspeed_providers.responses.doors.places import Text, joined
from lightspeed_providers.responses.input_guard import HISTORY
from lightspeed_providers.responses.to_model import WITHHELD, ClearedTexts


class Readable[Request](Protocol):
    """Knows where a request has its texts."""

    def with_texts(self, request: Request, rewritten: Mapping[Text, str]) -> Request:
        """Return the request with some texts rewritten; the given one stays as it is."""
        ...


@dataclass
class Asked[Request]:
    """A request that the model may be asked, unless it is refused."""

    request: Request
    context: Context
    refusal: str | None = None
    late: Callable[[], Awaitable[str | None]] | None = None
    """Asks the slow shields and returns the refusal, if any; nothing leaves before."""

    async def settled(self) -> str | None:
        """Wait for the slow shields and return the refusal, None where the request passes."""
        if self.refusal is None and self.late is not None:
            self.refusal = await self.late()
        return self.refusal


async def asked[Request](
    request: Request,
    texts: Sequence[Text],
    reads: Readable[Request],
    runner: ShieldRunner,
    cleared: ClearedTexts,
    context: Context,
) -> Asked[Request]:
    """Return the request with replacements made, or the refusal of the first shield that blocks.

    What was said before and is known to pass is not asked about again.
    """
    context = replace(context, instructions=_prompt(texts))
    before, rewritten = runner.before_model, dict[Text, str]()

    def is_known(text: Text) -> bool:
        return (
            not text.asked
            and text.direction is not None
            and cleared.holds(runner, text.direction, text.text)
        )

    unknown = [t for t in texts if t.direction is not None and not is_known(t)]
    for text in unknown:
        screening = await _screened(before, text, texts, context)
        if screening.blocked_by is not None:
            return Asked(request, context, refusal=refusal_of(screening))
        if screening.text != text.text:
            rewritten[text] = screening.text
    for text, screening in await _settings(texts, runner.rewriting, cleared, context):
        if screening.blocked_by is not None:
            return Asked(request, context, refusal=refusal_of(screening))
        rewritten[text] = screening.text
    passing = [replace(t, text=rewritten.get(t, t.text)) for t in texts]
    context = replace(context, instructions=_prompt(passing))
    wholes = [whole for whole in joined(passing) if not is_known(whole)]
    for whole in wholes:
        screening = await _screened(before, whole, passing, context)
        if screening.blocked_by is not None:
            return Asked(request, context, refusal=refusal_of(screening))
    new = [p for t, p in zip(texts, passing, strict=True) if t in unknown] + wholes

    async def late() -> str | None:
        screenings = await asyncio.gather(
            *(_screened(runner.beside_model, text, passing, context) for text in new)
        )
        refusal = next((refusal_of(s) for s in screenings if s.blocked_by is not None), None)
        if refusal is None:
            _note(new, runner, cleared)
        return refusal

    request = reads.with_texts(request, rewritten) if rewritten else request
    if any(runner.beside_model.screens(direction) for direction in Direction):
        return Asked(request, context, late=late)
    _note(new, runner, cleared)
    return Asked(request, context)


def refusal_of(screening: Screening) -> str:
    """Return what to tell the user of a blocked text."""
    blocked = screening.blocked_by
    return (blocked.message if blocked is not None else None) or WITHHELD


async def _screened(
    runner: ShieldRunner, text: Text, texts: Sequence[Text], context: Context
) -> Screening:
    if text.direction is None or not text.text.strip() or not runner.screens(text.direction):
        return Screening(text=text.text)
    if text.direction is Direction.INPUT:
        context = replace(context, history=_questions_before(text, texts))
    return await runner.screen(text.direction, text.text, context)


async def _settings(
    texts: Iterable[Text], runner: ShieldRunner, cleared: ClearedTexts, context: Context
) -> list[tuple[Text, Screening]]:
    """Return the client's own settings that the shields rewrite, or fail to."""
    if not runner.screens(Direction.INPUT):
        return []
    changed = []
    for text in texts:
        if text.direction is not None or not text.text.strip():
            continue
        if cleared.holds(runner, Direction.INPUT, text.text):
            continue  # a client sends the same tools with every request
        screening = await runner.screen(Direction.INPUT, text.text, context)
        if screening.blocked_by is not None or screening.text != text.text:
            changed.append((text, screening))
        else:
            cleared.note(runner, Direction.INPUT, text.text)
    return changed


def _questions_before(text: Text, texts: Sequence[Text]) -> tuple[str, ...]:
    earlier: dict[int, list[str]] = {}
    for other in texts:
        if (
            other.direction is Direction.INPUT
            and not other.asked
            and other.group is not None
            and text.group is not None
            and other.group < text.group
        ):
            earlier.setdefault(other.group, []).append(other.text)
    return tuple("\n".join(parts) for parts in earlier.values())[-HISTORY:]


def _prompt(texts: Iterable[Text]) -> str:
    return "\n".join(t.text for t in texts if t.prompt)


def _note(texts: Iterable[Text], runner: ShieldRunner, cleared: ClearedTexts) -> None:
    for text in texts:
        if text.direction is not None:
            cleared.note(runner, text.direction, text.text)
