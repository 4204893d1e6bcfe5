"""One choice of an answer that is screened while it arrives."""

import asyncio
from collections.abc import Sequence
from typing import Any

from lightspeed_providers.core.verdicts import ScreenedStream
from lightspeed_providers.responses.doors.answers import BlockedError, Output, Said
from lightspeed_providers.responses.to_model import WITHHELD


class ChoiceGate:
    """Lets out what the shields have cleared; raises a `BlockedError` once one blocks.

    Each field is one text from its first word to its last, so nothing can be split over what came
    between. Calls leave whole, at the end.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._streams: dict[str, ScreenedStream] = {}
        self._calls: dict[int, dict[str, Any]] = {}  # Any: JSON
        self._function_call: dict[str, Any] = {}  # Any: JSON
        self.has_role = False
        self.has_text = False
        """Whether text has left that a refusal has to follow."""
        self.is_closed = False
        self.is_refused = False

    @property
    def checking(self) -> Sequence[asyncio.Future[Any]]:  # Any: nobody reads their results
        """The checks that run now; when one ends, more may leave."""
        return [check for stream in self._streams.values() for check in stream.checking]

    async def push(self, said: Said) -> Said:
        """Take what a chunk adds and return what may leave now."""
        left = {}
        for field, text in said.texts.items():
            if field not in self._streams:
                self._streams[field] = self._output.stream()
            left[field] = await self._streams[field].push(text)
        for call in said.calls:
            self._take(call)
        if said.function_call:
            _add(self._function_call, said.function_call)
        return self._leaving(left)

    async def released(self) -> Said:
        """Return what may leave since checks have ended."""
        return self._leaving({f: await s.released() for f, s in self._streams.items()})

    async def ended(self) -> Said:
        """Wait for every check and return the rest; the model will say nothing more."""
        left = {}
        for field, stream in self._streams.items():
            left[field] = await stream.end()
            self._check(stream)
        calls = [self._calls[number] for number in sorted(self._calls)]
        rest = await self._output.cleared_calls(
            Said(calls=calls, function_call=self._function_call or None)
        )
        return Said(self._leaving(left).texts, rest.calls, rest.function_call)

    async def aclose(self) -> None:
        """End the checks that still run."""
        for stream in self._streams.values():
            await stream.aclose()

    def _leaving(self, left: dict[str, str]) -> Said:
        for stream in self._streams.values():
            self._check(stream)
        texts = {field: text for field, text in left.items() if text}
        self.has_text = self.has_text or "content" in texts or "text" in texts
        return Said(texts)

    def _check(self, stream: ScreenedStream) -> None:
        if stream.blocked_by is not None:
            raise BlockedError(stream.blocked_by.message or WITHHELD)

    def _take(self, piece: dict[str, Any]) -> None:  # Any: JSON
        number = piece.get("index")
        known = self._calls.setdefault(len(self._calls) if number is None else number, {})
        for name in ("index", "id", "type"):
            if piece.get(name) is not None and name not in known:
                known[name] = piece[name]
        for kind in ("function", "custom"):
            if piece.get(kind):
                _add(known.setdefault(kind, {}), piece[kind])


def _add(call: dict[str, Any], piece: dict[str, Any]) -> None:  # Any: JSON
    """Add a piece of a function's call to what has come of it."""
    if piece.get("name"):
        call["name"] = call.get("name") or piece["name"]
    for name in ("arguments", "input"):
        if isinstance(piece.get(name), str):
            call[name] = call.get(name, "") + piece[name]
