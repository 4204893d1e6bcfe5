"""The policy: which shields run, in which order, and what a failure means."""

import asyncio
import logging
import time

import pytest
from scripted_shields import RemoteOptions, Scripted, scripted_policy

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.core.verdicts import Action, Context, Direction, Screening
from lightspeed_providers.safety.routing import direction_of
from lightspeed_providers.safety.shields.base import Allow, Answer, Block, OnError, Replace

INPUT, OUTPUT, TOOL = Direction.INPUT, Direction.OUTPUT, Direction.TOOL


@pytest.mark.parametrize(
    ("shield_id", "directions"),
    [
        ("input_topic", {INPUT}),
        ("output_forbidden", {OUTPUT}),
        ("inout_redaction", {INPUT, OUTPUT}),
        ("tool_injection", {TOOL}),
        ("topic", {INPUT}),
        ("lightspeed", {INPUT}),
        ("inputs", {INPUT}),
        ("my_output_shield", {INPUT}),
        ("OUTPUT_x", {INPUT}),
        ("", {INPUT}),
    ],
)
def test_a_shields_name_says_what_it_watches(shield_id: str, directions: set[Direction]) -> None:
    assert direction_of(shield_id) == directions


async def test_replacing_shields_run_first_and_in_order() -> None:
    blocker = Scripted()
    first = Scripted(Replace("one", {"WORD": 1}), 0.02, replaces=True)
    second = Scripted(Replace("two", {"WORD": 2}), replaces=True)
    policy = scripted_policy(input_block=blocker, input_a=first, inout_b=second)
    screening = await policy.screen(INPUT, "zero")
    assert screening.text == "two"
    assert (first.seen, second.seen, blocker.seen) == (["zero"], ["one"], ["two"])
    assert [v.shield for v in screening.verdicts] == ["input_a", "inout_b", "input_block"]
    assert [v.replaced for v in screening.verdicts] == [{"WORD": 1}, {"WORD": 2}, {}]


async def test_a_replacing_shield_that_fails_stops_the_rest() -> None:
    after = Scripted()
    failing = Scripted(RuntimeError("secret"), replaces=True)
    screening = await scripted_policy(input_a=failing, input_b=after).screen(INPUT, "text")
    assert screening.blocked_by is not None
    assert screening.blocked_by.message == "No: input_a"
    assert after.seen == []


async def test_blocking_shields_run_at_one_time() -> None:
    slow = {f"input_{n}": Scripted(Allow(), 0.1) for n in range(6)}
    began = time.perf_counter()
    screening = await scripted_policy(**slow).screen(INPUT, "text")
    assert time.perf_counter() - began < 0.2
    assert [v.shield for v in screening.verdicts] == [*slow]


async def test_the_first_block_cancels_the_rest() -> None:
    slow, quick, done = Scripted(Allow(), 0.25), Scripted(Block(), 0.03), Scripted()
    policy = scripted_policy(input_slow=slow, input_quick=quick, input_done=done)
    began = time.perf_counter()
    screening = await policy.screen(INPUT, "text")
    assert time.perf_counter() - began < 0.15
    assert [v.shield for v in screening.verdicts] == ["input_quick", "input_done"]
    assert screening.blocked_by is not None
    assert screening.blocked_by.message == "No: input_quick"
    await asyncio.sleep(0)
    assert slow.cancelled


async def test_of_two_blocks_the_first_configured_counts() -> None:
    for _ in range(20):
        policy = scripted_policy(input_a=Scripted(Block()), input_b=Scripted(Block()))
        blocked = (await policy.screen(INPUT, "text")).blocked_by
        assert blocked is not None
        assert blocked.shield == "input_a"


async def test_who_gives_up_a_screening_ends_its_checks() -> None:
    shields = [Scripted(Allow(), 5), Scripted(Allow(), 5)]
    policy = scripted_policy(input_a=shields[0], input_b=shields[1])
    screening = asyncio.create_task(policy.screen(INPUT, "text"))
    await asyncio.sleep(0.02)
    screening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await screening
    await asyncio.sleep(0.01)
    assert all(shield.cancelled for shield in shields)


@pytest.mark.parametrize("garbage", [None, "block", Replace("x", {"WORD": 1}), Action.ALLOW, True])
async def test_garbage_blocks(garbage: object) -> None:
    screening = await scripted_policy(input_a=Scripted(garbage)).screen(INPUT, "text")
    assert screening.blocked_by is not None
    assert screening.blocked_by.error == f"unexpected answer of type {type(garbage).__name__}"
    assert screening.text == "text"


async def test_a_shield_that_cancels_itself_blocks() -> None:
    screening = await scripted_policy(input_a=Scripted(asyncio.CancelledError())).screen(INPUT, "x")
    assert screening.blocked_by is not None


async def test_a_shield_that_ignores_its_cancellation_holds_nobody_up() -> None:
    class Stubborn(Scripted):
        async def check(self, text: str, direction: Direction, context: Context) -> Answer:
            for _ in range(50):
                try:
                    await asyncio.sleep(0.02)
                except asyncio.CancelledError:
                    continue
            return Allow()

    began = time.perf_counter()
    screening = await scripted_policy(input_a=Stubborn(Allow())).screen(INPUT, "text")
    assert screening.blocked_by is not None
    assert time.perf_counter() - began < 0.6


async def test_failures_are_logged_by_name_only(caplog: pytest.LogCaptureFixture) -> None:
    policy = scripted_policy(input_a=Scripted(ValueError("my card is 4111")))
    with caplog.at_level(logging.DEBUG):
        screening = await policy.screen(INPUT, "my card is 4111")
    assert "Shield failed shield='input_a'" in caplog.text
    assert "4111" not in caplog.text
    assert "4111" not in str(screening.verdicts)
    assert policy.failing == {"input_a": "ValueError"}


async def test_a_policy_knows_its_directions_and_refusals() -> None:
    policy = scripted_policy(input_a=Scripted(), inout_b=Scripted())
    assert [policy.screens(d) for d in (INPUT, OUTPUT, TOOL)] == [True, True, False]
    assert policy.watching(OUTPUT) == ("inout_b",)
    assert policy.refusals == {"No: input_a", "No: inout_b"}
    assert await policy.screen(TOOL, "text") == Screening(text="text")


async def test_a_profile_chooses_shields_and_their_order() -> None:
    policy = scripted_policy(input_a=Scripted(), input_b=Scripted(), output_c=Scripted())
    chosen = policy.choosing({INPUT: ("output_c", "input_a"), TOOL: ("input_b",)})
    assert [chosen.watching(d) for d in (INPUT, OUTPUT, TOOL)] == [
        ("output_c", "input_a"),
        ("output_c",),
        ("input_b",),
    ]
    assert not policy.choosing({INPUT: ()}).screens(INPUT)
    with pytest.raises(
        ConfigurationError,
        match=r"Failed to route shield 'input_x' for output: not in shields \(input_a, input_b, o",
    ):
        policy.choosing({OUTPUT: ("input_x",)})


async def test_a_caller_adds_shields_and_removes_none() -> None:
    policy = scripted_policy(input_a=Scripted(), output_b=Scripted()).choosing({INPUT: ()})
    added = policy.adding(["input_a", "lightspeed", "unknown", "output_b"])
    assert (added.watching(INPUT), added.watching(OUTPUT)) == (("input_a",), ("output_b",))


async def test_slow_shields_are_asked_beside_the_model() -> None:
    slow, quick = Scripted(beside_model=True), Scripted()
    rewriting = Scripted(replaces=True, beside_model=True)
    policy = scripted_policy(input_slow=slow, input_quick=quick, input_rewriting=rewriting)
    assert policy.before_model.watching(INPUT) == ("input_quick", "input_rewriting")
    assert policy.beside_model.watching(INPUT) == ("input_slow",)
    assert policy.refusals == policy.beside_model.refusals


async def test_a_remote_shield_that_keeps_failing_is_left_alone_for_a_while() -> None:
    shield = Scripted(ConnectionError())
    shield.options = RemoteOptions(on_error=OnError.ALLOW)
    policy = scripted_policy(input_remote=shield)
    errors = [(await policy.screen(INPUT, "text")).verdicts[0].error for _ in range(8)]
    assert errors[:5] == ["ConnectionError"] * 5
    assert all(error and error.startswith("left alone for 30 s") for error in errors[5:])
    assert len(shield.seen) == 5


async def test_an_answer_closes_the_breaker_again() -> None:
    shield = Scripted(ConnectionError())
    shield.options = RemoteOptions()
    policy = scripted_policy(input_remote=shield)
    for _ in range(4):
        await policy.screen(INPUT, "text")
    shield.answer = Allow()
    await policy.screen(INPUT, "text")
    shield.answer = ConnectionError()
    for _ in range(4):
        assert (await policy.screen(INPUT, "text")).verdicts[0].error == "ConnectionError"


async def test_versions_differ_where_what_is_enforced_differs() -> None:
    policy, other = (scripted_policy(input_a=Scripted()) for _ in range(2))
    assert policy.version == policy.choosing({}).version
    assert len({policy.version, other.version, policy.choosing({INPUT: ()}).version}) == 3
