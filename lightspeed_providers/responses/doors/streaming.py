"""Answers that are screened while they arrive."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from lightspeed_providers.responses.doors.answers import BlockedError, Output, Said
from lightspeed_providers.responses.doors.asking import Asked
from lightspeed_providers.responses.doors.choice import ChoiceGate
from lightspeed_providers.responses.doors.kind import Kind
from lightspeed_providers.responses.doors.upstream import Chunk, Upstream

_NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


async def screened_chunks(
    upstream: Upstream,
    kind: Kind,
    may_ask: Asked[Any],  # Any: a request of the kind
    output: Output,
) -> AsyncGenerator[Chunk]:
    """Yield what the shields let out; the model stops when nobody reads on, or all is refused."""
    answer = _Answer(upstream, kind, may_ask.request, output)
    try:
        if may_ask.refusal is None and may_ask.late is not None:
            upstream.begin()
        refusal = await may_ask.settled()
        if refusal is not None:
            for chunk in answer.refused(refusal):
                yield chunk
            return
        if not output.screens:
            while (came := await upstream.next()) is not None:
                yield came
            return
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        await upstream.aclose()
        await answer.aclose()


class _Answer:
    """The choices of one answer."""

    def __init__(self, upstream: Upstream, kind: Kind, request: Any, output: Output) -> None:
        self._upstream = upstream
        self._kind = kind
        self._request = request
        self._output = output
        self._like: Chunk = kind.begin(request)
        self._gates: dict[int, ChoiceGate] = {}
        self._usage: Any = None  # Any: the host's usage or an SDK's

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """Yield what may leave, until the model has said all or every choice is refused."""
        while not self._is_over:
            if not await self._upstream.ready_beside(self._checking):
                for index, gate in self._open:
                    async for chunk in self._let_out(index, gate, gate.released):
                        yield chunk
                continue
            came = await self._upstream.next()
            if came is None:
                break
            async for chunk in self._of(came):
                yield chunk
        for index, gate in self._open:
            async for chunk in self._end(index, gate):
                yield chunk
        if self._usage is None and self._is_over and self._wants_usage:
            self._usage = _NO_USAGE  # the model was stopped before it said what it had cost
        if self._usage is not None:
            yield self._kind.usage_chunk(self._like, self._usage)

    def refused(self, refusal: str) -> Iterator[Chunk]:
        """Yield the answer to a request that is refused."""
        for index in self._kind.refused_choices(self._request):
            yield from self._refusal(index, ChoiceGate(self._output), refusal)
        if self._wants_usage:
            yield self._kind.usage_chunk(self._like, _NO_USAGE)

    async def aclose(self) -> None:
        """End the checks that still run."""
        for gate in self._gates.values():
            await gate.aclose()

    @property
    def _checking(self) -> Sequence[asyncio.Future[Any]]:  # Any: nobody reads their results
        return [check for _, gate in self._open for check in gate.checking]

    @property
    def _open(self) -> list[tuple[int, ChoiceGate]]:
        return [(n, gate) for n, gate in sorted(self._gates.items()) if not gate.is_closed]

    @property
    def _is_over(self) -> bool:
        """Whether every choice is refused, so that the model may stop."""
        refused = [gate for gate in self._gates.values() if gate.is_refused]
        return len(refused) >= self._kind.choices(self._request)

    @property
    def _wants_usage(self) -> bool:
        return bool((self._request.stream_options or {}).get("include_usage"))

    async def _of(self, came: Chunk) -> AsyncIterator[Chunk]:
        self._like = came
        leaving = [c for choice in came.choices or [] async for c in self._of_choice(choice)]
        usage = getattr(came, "usage", None)
        if usage is not None and leaving:
            leaving[-1] = self._kind.with_usage(leaving[-1], usage)
        elif usage is not None:
            self._usage = usage
        for chunk in leaving:
            yield chunk

    async def _of_choice(self, choice: Any) -> AsyncIterator[Chunk]:  # Any: as in `kind`
        gate = self._gates.setdefault(choice.index, ChoiceGate(self._output))
        if gate.is_closed:
            return
        for chunk in self._role(choice.index, gate):
            yield chunk
        said = self._kind.delta(choice)
        async for chunk in self._let_out(choice.index, gate, lambda: gate.push(said)):
            yield chunk
        if choice.finish_reason and not gate.is_closed:
            async for chunk in self._end(choice.index, gate, choice.finish_reason):
                yield chunk

    async def _end(
        self, index: int, gate: ChoiceGate, finish_reason: str | None = None
    ) -> AsyncIterator[Chunk]:
        async for chunk in self._let_out(index, gate, gate.ended):
            yield chunk
        if not gate.is_closed:
            gate.is_closed = True
            if finish_reason is not None:
                yield self._kind.chunk(self._like, index, finish_reason=finish_reason)

    async def _let_out(
        self, index: int, gate: ChoiceGate, step: Callable[[], Awaitable[Said]]
    ) -> AsyncIterator[Chunk]:
        try:
            said = await step()
        except BlockedError as blocked:
            for chunk in self._refusal(index, gate, str(blocked)):
                yield chunk
            return
        if said.texts or said.calls or said.function_call:
            yield self._kind.chunk(self._like, index, said)

    def _role(self, index: int, gate: ChoiceGate) -> Iterator[Chunk]:
        chunk = None if gate.has_role else self._kind.role_chunk(self._like, index)
        gate.has_role = True
        if chunk is not None:
            yield chunk

    def _refusal(self, index: int, gate: ChoiceGate, refusal: str) -> Iterator[Chunk]:
        """Yield the refusal as it follows text that already left."""
        gate.is_closed = gate.is_refused = True
        yield from self._role(index, gate)
        text = f"\n\n{refusal}" if gate.has_text else refusal
        yield self._kind.chunk(self._like, index, Said({self._kind.field: text}))
        yield self._kind.chunk(self._like, index, finish_reason="content_filter")
