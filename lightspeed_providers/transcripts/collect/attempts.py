"""When a request is made again."""

from collections.abc import Callable, Mapping
from datetime import datetime

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from lightspeed_providers.core.retry_after import retry_after_of

from .stop import Stop

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
_LONGEST_RETRY_AFTER_S = 86_400.0


class NotAcceptedError(Exception):
    """The server did not take an archive; the message holds nothing that it wrote."""


class RefusedError(NotAcceptedError):
    """The same request would be refused again."""

    def __init__(self, message: str, *, others_too: bool) -> None:
        super().__init__(message)
        self.others_too = others_too


class AwayError(NotAcceptedError):
    """The same request may be accepted later."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def repeated(
    request: Callable[[], None],
    *,
    attempts: int,
    longest_wait_s: float,
    stop: Stop,
    told: Callable[[str, float], None],
) -> None:
    """Make the request until it is accepted; raise the last fault where that is not to be.

    A server that asks for more patience than `longest_wait_s` gets it from the caller.
    """

    def worth_it(fault: BaseException) -> bool:
        return isinstance(fault, AwayError) and fault.retry_after_s <= longest_wait_s

    def wait(state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        asked = fault.retry_after_s if isinstance(fault, AwayError) else 0.0
        return max(asked, backoff(state))

    def tell(state: RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        told(str(fault), state.next_action.sleep if state.next_action else 0.0)

    def sleep(seconds: float) -> None:
        stop.wait(seconds)

    def unless_stopped() -> None:
        if stop.is_set():
            raise AwayError("it was stopped before the server accepted")
        request()

    jitter = wait_random(0, FIRST_WAIT_S)
    backoff = wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + jitter
    enough = stop_after_attempt(attempts)
    Retrying(
        retry=retry_if_exception(worth_it),
        wait=wait,
        stop=lambda state: stop.is_set() or enough(state),
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )(unless_stopped)


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that the server asks for, as a number or a date; 0 where it says nothing clear."""
    return retry_after_of(headers, now, longest_s=_LONGEST_RETRY_AFTER_S) or 0.0
