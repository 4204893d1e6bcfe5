"""One reading of the text that a scanner holds, and how much of it may go on."""

from collections.abc import Iterator

from lightspeed_providers.safety.shields.matching.partial_form import HeldForm
from lightspeed_providers.safety.shields.matching.rules import Rules
from lightspeed_providers.safety.shields.matching.unwrap import LEET, ROT13

_MOST_HELD = 8_192
_KEPT = 4_096
"""Bytes of normal form: beyond the former, all but the latter goes on."""


class Reading:
    """Looks for forbidden matches in a form of what is held."""

    def __init__(self, rules: Rules, form: HeldForm, *, unwraps: bool) -> None:
        self.form = form
        self._rules = rules
        self._unwraps = unwraps

    def twin(self) -> "Reading":
        """Return what has read the same so far and sees capitals by their looks from now on."""
        return Reading(self._rules, self.form.twin(), unwraps=self._unwraps)

    def breaks(self) -> bool:
        """Tell whether what was read holds a forbidden match, if nothing more comes."""
        start = self.form.start
        return any(self._rules.broken_by(data, start) is not None for data in self._spellings())

    def may_go(self, held: str) -> int | None:
        """Return how many of the held characters no match can need; None where there is one."""
        start, end = self.form.start, len(self.form.data)
        hold = end
        for data in self._spellings():
            if (begin := self._rules.broken_by(data, start)) is not None:
                if self._is_final(data):
                    return None
                hold = min(hold, begin)
            hold = min(hold, self._rules.open_from(data, start))
            if hold < end:
                hold = min(hold, self._rules.around(data, start, hold))
        return self.form.characters_before(end - _KEPT if end - hold > _MOST_HELD else hold, held)

    def _is_final(self, data: bytes) -> bool:
        """Tell whether there is a match that no more text can undo."""
        start = self.form.start
        begin = self._rules.broken_by(data, start, max(len(data) - 1, start))
        return begin is not None and begin < self._rules.allowed_from(data, start)

    def _spellings(self) -> Iterator[bytes]:
        data = self.form.data
        yield data
        if self._unwraps:
            yield data.translate(ROT13)
            if (lettered := data.translate(LEET)) != data:
                yield lettered
