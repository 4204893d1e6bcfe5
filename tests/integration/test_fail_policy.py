"""One fail policy: every way in which a shield can fail, and what becomes of the text.

The table has each fault, each `on_error`, streamed and whole, alone and beside others.
"""

import asyncio
import itertools
from typing import Any

import httpx
import pytest
from scripted_shields import Scripted, scripted_policy

from lightspeed_providers.core.verdicts import Action, Direction, Screening, Verdict
from lightspeed_providers.safety.shields.base import Allow, OnError

OUTPUT = Direction.OUTPUT
TEXT = "An answer of one sentence. And another one."


def too_many_requests() -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://moderation.example/v1/moderations")
    response = httpx.Response(429, request=request, headers={"Retry-After": "7"})
    return httpx.HTTPStatusError("429 for my secret text", request=request, response=response)


FAULTS: dict[str, tuple[Any, float, str]] = {
    "timeout": (Allow(), 30, "no answer within 0.05 s"),
    "exception": (RuntimeError("my secret text"), 0, "RuntimeError"),
    "garbage": ("allow", 0, "unexpected answer of type str"),
    "429": (too_many_requests(), 0, "HTTPStatusError"),
    "disconnect": (httpx.RemoteProtocolError("peer closed"), 0, "RemoteProtocolError"),
}
CASES = list(itertools.product(FAULTS, OnError, ["streaming", "whole"], ["one", "several"]))


@pytest.mark.parametrize(("fault", "on_error", "way", "number"), CASES)
async def test_a_failure_does_what_is_configured(
    fault: str, on_error: OnError, way: str, number: str
) -> None:
    answer, seconds, error = FAULTS[fault]
    failing = Scripted(answer, seconds, on_error=on_error, timeout_s=0.05)
    others = {"output_first": Scripted(), "inout_last": Scripted()} if number == "several" else {}
    policy = scripted_policy(**others, output_failing=failing)
    if way == "whole":
        screening = await policy.screen(OUTPUT, TEXT)
        text = "" if screening.blocked_by else screening.text
    else:
        stream = policy.stream(OUTPUT)
        parts = [await stream.push(piece) for piece in TEXT.split(" ") for piece in (piece, " ")]
        text = "".join([*parts, await stream.end()])
        screening = Screening(text=text, verdicts=stream.verdicts)
    verdict = next(v for v in screening.verdicts if v.shield == "output_failing")
    assert verdict.error == error
    if on_error is OnError.BLOCK:
        assert verdict.action is Action.BLOCK
        assert (text, verdict.message) == ("", "No: output_failing")
    else:
        assert verdict.action is Action.ALLOW
        assert text.rstrip() == TEXT
        assert screening.blocked_by is None
    assert "secret" not in str(screening.verdicts)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failing_shield_that_lets_pass_does_not_save_what_another_blocks(
    fault: str,
) -> None:
    answer, seconds, _ = FAULTS[fault]
    failing = Scripted(answer, seconds, on_error=OnError.ALLOW, timeout_s=0.05)
    from lightspeed_providers.safety.shields.base import Block

    policy = scripted_policy(output_failing=failing, output_blocks=Scripted(Block(), 0.01))
    blocked = (await policy.screen(OUTPUT, TEXT)).blocked_by
    assert isinstance(blocked, Verdict)
    assert blocked.shield == "output_blocks"


async def test_a_client_that_goes_away_leaves_no_check_behind() -> None:
    shields = [Scripted(Allow(), 5), Scripted(Allow(), 5)]
    stream = scripted_policy(output_a=shields[0], output_b=shields[1]).stream(OUTPUT)
    await stream.push("One sentence. Another")
    ending = asyncio.create_task(stream.end())
    await asyncio.sleep(0.02)
    ending.cancel()
    await stream.aclose()
    await asyncio.sleep(0.01)
    assert all(shield.cancelled for shield in shields)
