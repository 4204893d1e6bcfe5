"""The part of a stream's screening that asks: at checkpoints, beside the reading."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from lightspeed_providers.core.verdicts import Screening
from lightspeed_providers.safety.checkpoints import Checkpoints

OVERLAP = 200
"""Characters before a segment that its check sees again."""

type _Checked = tuple[Screening, str]


class AskedStage:
    """Checks one segment after the other; what becomes complete meanwhile is checked at once."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Screening]],
        checkpoint_chars: int,
        *,
        replaces: bool,
        holds: bool,
    ) -> None:
        self._ask = ask
        self._replaces = replaces
        self._holds = holds
        self._checkpoints = Checkpoints(checkpoint_chars, only_at_sentence_ends=replaces)
        self._waiting = ""
        self._seen = ""
        self._cleared: list[str] = []
        self.running: asyncio.Task[_Checked] | None = None

    def push(self, text: str) -> str:
        """Take new text; return it where it need not wait for its check."""
        self._waiting += "".join(self._checkpoints.push(text))
        self._go_on()
        return "" if self._holds else text

    def flush(self) -> None:
        """Let everything that came be checked; nothing more will come."""
        self._waiting += self._checkpoints.flush()
        self._go_on()

    def taken(self) -> Iterator[Screening]:
        """Yield what a check that has ended says, and begin the next."""
        if self.running is None or not self.running.done():
            return
        screening, text = self.running.result()
        self.running = None
        if screening.blocked_by is None:
            self._seen = (self._seen + text)[-OVERLAP:]
            if self._holds:
                self._cleared.append(text)
            self._go_on()
        yield screening

    def let_go(self) -> str:
        """Return the text that has been cleared."""
        cleared, self._cleared = "".join(self._cleared), []
        return cleared

    def _go_on(self) -> None:
        if self.running is None and self._waiting:
            segment, self._waiting = self._waiting, ""
            self.running = asyncio.create_task(self._check(segment))

    async def _check(self, segment: str) -> _Checked:
        """Return the verdict on a segment, and the segment as the shields leave it."""
        before = self._seen
        screening = await self._ask(before + segment)
        if not self._replaces:
            return screening, segment
        if screening.blocked_by is None and not screening.text.startswith(before):
            # A replacement reached into text that has left; only the new part can be rewritten.
            screening, before = await self._ask(segment), ""
        return screening, screening.text[len(before) :]
