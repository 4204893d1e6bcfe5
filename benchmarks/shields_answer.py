"""The canned answer that every side of the shields' benchmarks streams, at the same times.

It needs nothing but Python, because another interpreter reads it too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import cycle, islice

QUESTION = "How do I create a superuser, and how do I give it a password later?"
PIECE = 4
"""Characters of a delta, as most models' tokens have."""

_SENTENCES = (
    "Run the command createsuperuser of manage.py and answer what it asks. ",
    "It wants a name, an e-mail address and a password that is typed twice. ",
    "Later the command changepassword gives the account another password, and the admin site "
    "has a form that does the same. ",
    "Both follow the validators that the settings list under AUTH_PASSWORD_VALIDATORS. ",
    "A password is never stored as it was typed: only its hash is. ",
)


_PLANTED = "Else write to ana.petrova@mail.example, or from 203.0.113.77 to the same address. "


def pieces(count: int, *, size: int = PIECE, planted: bool = False) -> list[str]:
    """Return an answer in so many deltas, with personal data now and then where it is wanted."""
    wanted = count * size
    whole = "".join(_SENTENCES) + (_PLANTED if planted else "")
    text = "".join(islice(cycle(whole), wanted))
    return [text[n : n + size] for n in range(0, wanted, size)]


async def spoken(said: Sequence[str], pause_s: float, first_s: float = 0.0) -> AsyncIterator[str]:
    """Say each piece when it is due: a model goes on whether anybody has read the last or not."""
    began = time.perf_counter() + first_s
    for number, text in enumerate(said):
        wait_s = began + number * pause_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield text
