"""Where the tail of a text could still become part of a match."""

import re

from lightspeed_providers.safety.shields.matching.linear import LinearPattern
from lightspeed_providers.safety.shields.matching.partial_syntax import piece_of

_CUT_CHARACTER = re.compile(rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z")
"""A character whose last bytes have not come yet."""

_NOTHING = r"\b\B"
_LARGEST = 100_000


class PartialPattern:
    """Finds open matches of one expression; raises ValueError where it can't be compiled.

    A search reads the text from its end and stops where no match can have begun, so that it takes
    as long as what is open, however long the text is.
    """

    def __init__(
        self, expression: str, *, ignore_case: bool = False, by_byte: bool = False
    ) -> None:
        LinearPattern(expression, ignore_case=ignore_case, by_byte=by_byte)
        piece = piece_of(expression, ignore_case=ignore_case, by_byte=by_byte)
        self.longest = piece.longest
        """Bytes of the longest match; None where there is no limit."""
        self._by_byte = by_byte
        self._open = LinearPattern(f"(?:{piece.beginning or _NOTHING})\\z", by_byte=by_byte)
        self.size = self._open.size
        """Steps of the expression that is searched for."""
        if self.size > _LARGEST:
            raise ValueError(
                f"too large to follow in a stream ({self.size} steps, at most {_LARGEST}): "
                "shorten its counted repetitions"
            )

    def open_from(self, data: bytes, start: int = 0) -> int:
        """Return the first place from `start` on where a match may begin that more text decides.

        That is where more text could make, lengthen or undo a match; `len(data)` where there is
        none. What stands before `start` is looked at only by `^` and `\\b`.
        """
        end = len(data)
        if not self._by_byte and (cut := _CUT_CHARACTER.search(data, max(start, end - 3))):
            data = data[: cut.start()]
        if self.longest is not None:
            start = max(start, len(data) - self.longest)
        span = self._open.next_span(data, start)
        return end if span is None else span[0]
