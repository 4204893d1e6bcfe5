"""What a shield learns at its first check, once for all who wait for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class LearntOnce[Learnt]:
    """A result that takes seconds: giving up does not stop it, a failure is tried again."""

    def __init__(self, learn: Callable[[], Coroutine[Any, Any, Learnt]]) -> None:
        self._learn = learn
        self._learning: asyncio.Task[Learnt] | None = None

    async def get(self) -> Learnt:
        """Return the result; raises what learning raises."""
        if self._learning is None or _is_lost(self._learning):
            self._learning = asyncio.create_task(self._learn())
            # Looking at a failure keeps asyncio from logging it with the text.
            self._learning.add_done_callback(_is_lost)
        return await asyncio.shield(self._learning)


def _is_lost(task: asyncio.Task[Any]) -> bool:
    """Tell a task that failed, or whose event loop is gone, from one that gives a result."""
    if task.done():
        return task.cancelled() or task.exception() is not None
    return task.get_loop() is not asyncio.get_running_loop()
