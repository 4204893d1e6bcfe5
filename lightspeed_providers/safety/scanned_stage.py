"""The part of a stream's screening that scans: every delta, without waiting for anything."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.checking import ConfiguredShield, on_failure, verdict_of
from lightspeed_providers.safety.shields.base import (
    Allow,
    Answer,
    Block,
    Replace,
    Scanned,
    Scanner,
)
from lightspeed_providers.safety.tally import Tally


@dataclass
class _Reader:
    """A shield's scanner, and how much of its text it has let go on."""

    configured: ConfiguredShield
    scanner: Scanner
    let_go: int = 0
    gone: bool = False


class ScannedStage:
    """Rewrites one scanner after the other, then lets go what every blocking one has cleared."""

    def __init__(
        self,
        shields: Sequence[ConfiguredShield],
        direction: Direction,
        context: Context,
        tally: Tally,
    ) -> None:
        self._direction = direction
        self._tally = tally
        readers = [
            _Reader(configured, scanner)
            for configured in shields
            if (scanner := configured.shield.scanner(direction, context)) is not None
        ]
        self.shield_ids = frozenset(reader.configured.shield_id for reader in readers)
        self._rewriting = [r for r in readers if r.configured.shield.replaces]
        self._blocking = [r for r in readers if not r.configured.shield.replaces]
        self._rewritten = ""
        self._let_go = 0

    @property
    def held(self) -> int:
        """How many characters wait for what may come after them."""
        return sum(len(r.scanner.held) for r in self._rewriting) + len(self._rewritten)

    def push(self, text: str) -> str:
        """Take new text and return what may go on."""
        for reader in self._rewriting:
            text = self._step(reader, text)
        return self._cleared(text)

    def end(self) -> str:
        """Return what may go on of the rest."""
        text = ""
        for reader in self._rewriting:
            text = self._step(reader, text) + self._step(reader, None)
        return self._cleared(text) + self._cleared(None)

    def _cleared(self, text: str | None) -> str:
        """Return how far every blocking scanner lets the text go on; None ends it."""
        self._rewritten += text or ""
        for reader in self._blocking:
            reader.let_go += len(self._step(reader, text))
        if self._tally.blocked_by is not None:
            return ""
        counts = [reader.let_go for reader in self._blocking]
        arrived = self._let_go + len(self._rewritten)
        clear = min(counts, default=arrived) - self._let_go
        cleared, self._rewritten = self._rewritten[:clear], self._rewritten[clear:]
        self._let_go += clear
        return cleared

    def _step(self, reader: _Reader, text: str | None) -> str:
        """Return what one scanner lets go on of new text, or at its end; note its verdict."""
        if self._tally.blocked_by is not None:
            return ""
        if reader.gone:
            return text or ""
        held = reader.scanner.held
        began = time.perf_counter()
        error = None
        try:
            scanned = reader.scanner.end() if text is None else reader.scanner.push(text)
            if not isinstance(scanned, (Scanned, Block)):
                raise TypeError(f"unexpected answer of type {type(scanned).__name__}")
        except Exception as fault:  # whatever a shield raises, its text may hold the user's
            error = type(fault).__name__
            reader.gone = True
            failed = on_failure(reader.configured)
            scanned = failed if isinstance(failed, Block) else Scanned(held + (text or ""))
        self._tally.looked(reader.configured.shield_id, time.perf_counter() - began)
        if isinstance(scanned, Block):
            self._note(reader, scanned, error)
            return ""
        if scanned.replaced or error:
            self._note(
                reader, Replace("", scanned.replaced) if scanned.replaced else Allow(), error
            )
        return scanned.text

    def _note(self, reader: _Reader, answer: Answer, error: str | None) -> None:
        self._tally.add([verdict_of(reader.configured, self._direction, answer, 0, error)])
