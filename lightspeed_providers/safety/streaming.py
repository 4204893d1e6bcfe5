"""A text that is screened while it arrives.

Two stages. Shields that can scan (patterns, redaction, prompt leak) see every delta and hold back
only a tail that may still become part of a match: first those that rewrite, each on what the one
before lets go on, then those that block, all on the same text. What they let go on comes to the
shields that can only be asked: at checkpoints, with new text and a bounded overlap, while more text
is read. Nothing leaves before all of them have cleared it; where the profile says `stream_first`,
text leaves after the first stage and a block that comes later ends the stream.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from lightspeed_providers.core.verdicts import (
    Context,
    Direction,
    Release,
    Screening,
    Verdict,
)
from lightspeed_providers.safety import audit, metrics
from lightspeed_providers.safety.asked_stage import AskedStage
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.scanned_stage import ScannedStage
from lightspeed_providers.safety.tally import Tally

type Screen = Callable[[Sequence[ConfiguredShield], Direction, str, Context], Awaitable[Screening]]
"""Asks shields about a text; `policy.screened`."""

_IN_LOOP = 2_000
"""Characters that are scanned in less time than a thread takes to wake."""


class StreamScreening:
    """Screens one text; satisfies `core.verdicts.ScreenedStream`."""

    def __init__(
        self,
        shields: Sequence[ConfiguredShield],
        screen: Screen,
        direction: Direction,
        context: Context,
        *,
        release: Release,
        checkpoint_chars: int,
    ) -> None:
        self._context = context
        self._tally = Tally(shields, direction)
        self._scanned = ScannedStage(shields, direction, context, self._tally)
        asked = [s for s in shields if s.shield_id not in self._scanned.shield_ids]

        rewriting = [s for s in asked if s.shield.replaces]
        blocking = [s for s in asked if not s.shield.replaces]

        def asking(listed: Sequence[ConfiguredShield]) -> Callable[[str], Awaitable[Screening]]:
            return lambda text: screen(listed, direction, text, context)

        self._asked: list[AskedStage] = []
        if rewriting:  # whatever the release: what has left can't be rewritten
            self._asked.append(
                AskedStage(asking(rewriting), checkpoint_chars, replaces=True, holds=True)
            )
        if blocking:
            holds = release is Release.HOLD
            self._asked.append(
                AskedStage(asking(blocking), checkpoint_chars, replaces=False, holds=holds)
            )
        self._closed = False

    @property
    def blocked_by(self) -> Verdict | None:
        """The verdict that ended the stream; nothing more leaves then."""
        return self._tally.blocked_by

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict a shield, over all it has seen so far, in their order."""
        return self._tally.verdicts

    @property
    def checking(self) -> Sequence[asyncio.Future[Any]]:  # Any: nobody reads their results
        """The checks that run now; when one ends, more text may leave."""
        return [stage.running for stage in self._asked if stage.running is not None]

    async def push(self, text: str) -> str:
        """Take new text and return what may leave now."""
        if self.blocked_by is not None:
            return ""
        if len(text) <= _IN_LOOP:
            scanned = self._scanned.push(text)
        else:
            scanned = await asyncio.to_thread(self._scanned.push, text)
        metrics.held(self._scanned.held)
        return self._onwards(scanned)

    async def released(self) -> str:
        """Return what may leave since checks have ended."""
        return self._onwards("")

    async def end(self) -> str:
        """Wait for every check and return the rest; nothing more will come."""
        if self.blocked_by is not None:
            return ""
        left = [self._onwards(self._scanned.end())]
        for number, stage in enumerate(self._asked):
            if self.blocked_by is not None:
                break
            # Each stage ends after the one before it has given it everything.
            stage.flush()
            while stage.running is not None and self.blocked_by is None:
                await asyncio.wait([stage.running])
                left.append(self._onwards("", first=number))
        self._close()
        return "".join(left)

    async def aclose(self) -> None:
        """End the checks that still run."""
        for check in self.checking:
            check.cancel()
        self._close()

    def _onwards(self, text: str, first: int = 0) -> str:
        """Take text through the stages and return what comes out at the end.

        Text that a stage lets go on at once may still be blocked by a stage after it; then the
        whole of it stays.
        """
        for stage in self._asked[first:]:
            text = stage.push(text)
            for screening in stage.taken():
                self._tally.add(screening.verdicts)
            text += stage.let_go()
        if self.blocked_by is not None:
            return ""
        return text

    def _close(self) -> None:
        """Count and log what scanners found, once; what was asked is counted where it is asked."""
        if not self._closed:
            self._closed = True
            for verdict in self._tally.of_scanners:
                metrics.observe(verdict)
                audit.record(verdict, self._context)
