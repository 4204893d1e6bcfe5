"""Calls that take turns at the model: those that wait are computed together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import numpy as np

from lightspeed_providers.core.encoding import Piece, Vectors
from lightspeed_providers.core.errors import UnavailableError


class _Call:
    """The pieces of one caller, longest first so that a batch has little padding."""

    def __init__(self, pieces: Sequence[Piece], dimension: int) -> None:
        self.order = sorted(range(len(pieces)), key=lambda n: len(pieces[n].tokens), reverse=True)
        self.pieces = [pieces[n] for n in self.order]
        self.rows: Vectors = np.empty((len(pieces), dimension), dtype=np.float32)
        self.next = 0
        self.answer: Future[Vectors] = Future()

    @property
    def left(self) -> int:
        return len(self.pieces) - self.next


@dataclass(slots=True)
class _Batch:
    """What one turn computes: of which calls, and which of their pieces."""

    budget: int
    parts: list[tuple[_Call, slice]] = field(default_factory=list)
    texts: int = 0
    longest: int = 0

    def take_from(self, call: _Call) -> bool:
        """Take what fits; False if nothing did. The first text always fits."""
        longest = max(self.longest, len(call.pieces[call.next].tokens), 1)
        fitting = max(self.budget // longest - self.texts, 0 if self.texts else 1)
        if fitting == 0:
            return False
        stop = call.next + min(fitting, call.left)
        self.parts.append((call, slice(call.next, stop)))
        self.texts += stop - call.next
        self.longest = longest
        call.next = stop
        return True


class Turns:
    """A bounded queue before the model: one turn at a time, each of at most `budget` tokens.

    A call that needs several turns goes to the end of the queue after each of them. A call that is
    cancelled while it waits costs nothing, and a fault reaches only the call that it belongs to.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Piece]], Vectors],
        executor: Executor,
        *,
        dimension: int,
        budget: int,
        most_waiting: int,
    ) -> None:
        self._compute = compute
        self._executor = executor
        self._dimension = dimension
        self._budget = budget
        self._most_waiting = most_waiting
        self._waiting: deque[_Call] = deque()
        self._running = False
        self._lock = threading.Lock()

    def submit(self, pieces: Sequence[Piece]) -> "Future[Vectors]":
        """Return the rows to come, in the order of the pieces."""
        call = _Call(pieces, self._dimension)
        if not pieces:
            call.answer.set_result(call.rows)
            return call.answer
        with self._lock:
            self._admit(call)
            self._waiting.append(call)
            if not self._running:
                self._running = True
                self._schedule()
        return call.answer

    def _admit(self, call: _Call) -> None:
        waiting = sum(other.left for other in self._waiting if not other.answer.done())
        if waiting and waiting + call.left > self._most_waiting:
            raise UnavailableError(
                f"Too many texts wait to be embedded ({waiting} of {self._most_waiting}): "
                "try again in a moment."
            )

    def _schedule(self) -> None:
        try:
            self._executor.submit(self._turn)
        except RuntimeError:  # the interpreter ends
            self._running = False
            while self._waiting:
                _fail(self._waiting.popleft(), UnavailableError("The server is shutting down."))

    def _turn(self) -> None:
        batch = self._next_batch()
        if batch.parts:
            self._answer(batch.parts)
        with self._lock:
            if self._waiting:
                self._schedule()
            else:
                self._running = False

    def _next_batch(self) -> _Batch:
        batch = _Batch(self._budget)
        with self._lock:
            while self._waiting:
                call = self._waiting[0]
                if not call.answer.done() and not batch.take_from(call):
                    break
                self._waiting.popleft()
                if call.left and not call.answer.done():
                    self._waiting.append(call)
                    break
        return batch

    def _answer(self, parts: list[tuple[_Call, slice]]) -> None:
        try:
            rows = self._compute([piece for call, part in parts for piece in call.pieces[part]])
        except Exception as fault:  # whatever it is, the callers get it
            if len(parts) == 1:
                _fail(parts[0][0], fault)
            else:
                for one in parts:
                    self._answer([one])
            return
        start = 0
        for call, part in parts:
            size = part.stop - part.start
            call.rows[call.order[part]] = rows[start : start + size]
            start += size
            if part.stop == len(call.pieces) and call.answer.set_running_or_notify_cancel():
                call.answer.set_result(call.rows)


def _fail(call: _Call, fault: Exception) -> None:
    if not call.answer.done() and call.answer.set_running_or_notify_cancel():
        call.answer.set_exception(fault)
