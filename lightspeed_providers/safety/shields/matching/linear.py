"""Regular expressions that take time linear in the text (RE2 syntax), over UTF-8 bytes."""

from collections.abc import Iterator
from functools import lru_cache

import re2  # type: ignore[import-untyped]  # ships no type information

_MEMORY = 64 << 20


class LinearPattern:
    """A compiled expression; raises ValueError where it can't be compiled."""

    def __init__(
        self,
        expression: str,
        *,
        ignore_case: bool = False,
        by_byte: bool = False,
        longest: bool = False,
    ) -> None:
        self._compiled = _compiled(expression, ignore_case, by_byte, longest)

    @property
    def size(self) -> int:
        """Steps of the compiled expression, in the direction that has more of them."""
        return int(max(self._compiled.programsize, self._compiled.reverseprogramsize))

    def found_in(self, data: bytes) -> bool:
        """Tell whether the text holds a match."""
        return self._compiled.search(data) is not None

    def next_span(self, data: bytes, start: int, end: int | None = None) -> tuple[int, int] | None:
        """Return where the next match from `start` lies, of those that are over at `end`.

        Assertions such as `\\b` look at what stands beyond both.
        """
        match = self._compiled.search(data, start, end)
        return None if match is None else match.span()

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield where matches lie that do not overlap, from the left."""
        for match in self._compiled.finditer(data):
            yield match.span()


def literal(text: str) -> str:
    """Return an expression that matches the text as it is."""
    return str(re2.escape(text))


@lru_cache(maxsize=256)
def _compiled(expression: str, ignore_case: bool, by_byte: bool, longest: bool) -> "re2._Regexp":
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.never_capture = True
    options.longest_match = longest
    options.log_errors = False
    options.max_mem = _MEMORY
    if by_byte:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(expression.encode(), options)
    except re2.error as fault:
        reason = fault.args[0] if fault.args else "invalid"
        raise ValueError(
            reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        ) from fault
