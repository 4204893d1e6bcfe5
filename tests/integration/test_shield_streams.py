"""Streams: what leaves when, how often shields are asked, and how a block ends them."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from scripted_shields import Scanning, Scripted, scripted_policy

from lightspeed_providers.core.verdicts import Action, Direction, Release
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Allow, Answer, Block, OnError, Replace
from lightspeed_providers.safety.streaming import StreamScreening

OUTPUT = Direction.OUTPUT
PROSE = (
    "A model is a class. Its attributes are fields of a table! Do they need a migration? "
    "Yes, whenever they change, so run makemigrations and then migrate. "
) * 12


async def read(
    stream: StreamScreening, chunks: Sequence[str], pause: float = 0
) -> AsyncIterator[str]:
    """Feed a stream as a gate does, and yield what leaves as it leaves."""
    for chunk in chunks:
        arriving = asyncio.create_task(asyncio.sleep(pause, chunk))
        while not arriving.done():
            await asyncio.wait({arriving, *stream.checking}, return_when=asyncio.FIRST_COMPLETED)
            if out := await stream.released():
                yield out
        if stream.blocked_by is not None:
            break
        if out := await stream.push(chunk):
            yield out
    if out := await stream.end():
        yield out


async def text_of(stream: StreamScreening, chunks: Sequence[str], pause: float = 0) -> str:
    return "".join([out async for out in read(stream, chunks, pause)])


def cut(text: str, size: int = 5) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


def on_hold(policy: ShieldPolicy, checkpoint_chars: int = 200) -> StreamScreening:
    return policy.stream(OUTPUT, checkpoint_chars=checkpoint_chars)


async def test_without_shields_text_leaves_as_it_comes() -> None:
    stream = on_hold(scripted_policy(input_a=Scripted()))
    assert [out async for out in read(stream, cut(PROSE))] == cut(PROSE)
    assert stream.verdicts == ()


@pytest.mark.parametrize("size", [1, 5, 40, 5_000])
@pytest.mark.parametrize("pause", [0, 0.0005])
async def test_checks_are_few_and_see_everything(size: int, pause: float) -> None:
    shield = Scripted(Allow(), 0.002)
    stream = on_hold(scripted_policy(output_a=shield))
    chunks = cut(PROSE[:1200], size)
    assert await text_of(stream, chunks, pause) == PROSE[:1200]
    assert len(shield.seen) <= math.ceil(1200 / 200) + 1
    assert all(len(text) <= 200 + 400 + size for text in shield.seen) or pause == 0
    for sentence in PROSE[:1200].split("! "):
        assert any(sentence[:150] in seen for seen in shield.seen), sentence
    [verdict] = stream.verdicts
    assert (verdict.action, verdict.checks) == (Action.ALLOW, len(shield.seen))


async def test_work_is_linear_in_the_answer() -> None:
    shield = Scripted(Allow())
    stream = on_hold(scripted_policy(output_a=shield))
    await text_of(stream, cut(PROSE * 10), 0)
    assert sum(map(len, shield.seen)) <= 2.2 * len(PROSE * 10)


async def test_text_leaves_when_its_check_ends_though_no_more_comes() -> None:
    stream = on_hold(scripted_policy(output_a=Scripted(Allow(), 0.02)))
    await stream.push("A first sentence. And then")
    assert stream.checking
    began = time.perf_counter()
    await asyncio.wait(stream.checking)
    assert await stream.released() == "A first sentence. "
    assert time.perf_counter() - began < 0.1
    await stream.aclose()


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_what_is_blocked_never_leaves_and_what_left_stands(size: int) -> None:
    text = "First a safe sentence. Then words that are forbidden here. More words follow."
    asked = Scripted(lambda text: Block() if "forbidden" in text else Allow())
    for shield in (Scanning(), asked):
        stream = on_hold(scripted_policy(output_a=shield))
        left = await text_of(stream, cut(text, size), 0.001)
        assert text.startswith(left)
        assert "forbidden" not in left
        assert stream.blocked_by is not None
        assert stream.blocked_by.message == "No: output_a"
        if size < 50:
            assert left.startswith("First a safe sentence.")
        assert await stream.push("more") == await stream.released() == await stream.end() == ""


async def test_scanners_hold_back_only_what_may_become_a_match() -> None:
    stream = on_hold(scripted_policy(output_a=Scanning(), output_b=Scanning()))
    assert await stream.push("This is for") == "This is "
    assert await stream.push("ever") == "forever"
    assert await stream.push(" forbidde") == " "
    assert await stream.end() == "forbidde"
    assert [v.action for v in stream.verdicts] == [Action.ALLOW, Action.ALLOW]


async def test_six_scanners_hold_back_no_more_than_one() -> None:
    stream = on_hold(scripted_policy(**{f"output_{n}": Scanning() for n in range(6)}))
    assert await stream.push("This is for") == "This is "


async def test_the_first_configured_scanner_that_blocks_counts() -> None:
    stream = on_hold(scripted_policy(output_a=Scanning(), output_b=Scanning()))
    assert await stream.push("it is forbidden") == ""
    assert stream.blocked_by is not None
    assert stream.blocked_by.shield == "output_a"


async def test_asked_shields_see_what_scanners_let_go_on() -> None:
    asked = Scripted(Allow())
    policy = scripted_policy(output_asked=asked, output_scan=Scanning())
    left = await text_of(on_hold(policy), cut("A sentence. Then it is forbidden. More."), 0.001)
    assert left == "A sentence. "
    assert all("forb" not in text for text in asked.seen)


async def test_a_replacement_works_across_checkpoints() -> None:
    def shout(text: str) -> Answer:
        return Replace(text.replace("word", "WORD"), {"WORD": text.count("word")})

    shield = Scripted(lambda text: shout(text) if "word" in text else Allow(), replaces=True)
    text = "One word here. " * 60
    for size in (1, 4, 33, 1000):
        stream = on_hold(scripted_policy(output_a=shield), 80)
        assert await text_of(stream, cut(text, size)) == text.replace("word", "WORD")
        [verdict] = stream.verdicts
        assert verdict.action is Action.REPLACE


async def test_blocking_shields_see_what_replacing_ones_made() -> None:
    rewriting = Scripted(lambda text: Replace(text.upper(), {"ALL": 1}), replaces=True)
    blocking = Scripted(Allow())
    stream = on_hold(scripted_policy(output_b=blocking, output_a=rewriting))
    assert (
        await text_of(stream, cut("some words. and more words.")) == "SOME WORDS. AND MORE WORDS."
    )
    assert all(text == text.upper() for text in blocking.seen)
    assert [v.shield for v in stream.verdicts] == ["output_b", "output_a"]


async def test_stream_first_lets_text_leave_before_it_is_checked() -> None:
    shield = Scripted(lambda text: Block() if "wrong" in text else Allow(), 0.02)
    policy = scripted_policy(output_a=shield, output_scan=Scanning())
    stream = policy.stream(OUTPUT, release=Release.STREAM_FIRST, checkpoint_chars=80)
    assert await stream.push("This is wrong. And") == "This is wrong. And"
    await asyncio.wait(stream.checking)
    assert await stream.released() == ""
    assert stream.blocked_by is not None
    stream = policy.stream(OUTPUT, release=Release.STREAM_FIRST, checkpoint_chars=80)
    assert await stream.push("What is forb") == "What is "
    assert await stream.push("idden stays") == ""
    assert stream.blocked_by is not None


async def test_stream_first_waits_for_the_last_verdict_before_the_end() -> None:
    shield = Scripted(lambda text: Block() if "wrong" in text else Allow(), 0.02)
    stream = scripted_policy(output_a=shield).stream(
        OUTPUT, release=Release.STREAM_FIRST, checkpoint_chars=80
    )
    assert await text_of(stream, ["All of it is wrong"]) == "All of it is wrong"
    assert stream.blocked_by is not None


async def test_stream_first_holds_what_is_to_be_rewritten() -> None:
    rewriting = Scripted(lambda text: Replace(text.upper(), {"ALL": 1}), replaces=True)
    stream = scripted_policy(output_a=rewriting).stream(
        OUTPUT, release=Release.STREAM_FIRST, checkpoint_chars=80
    )
    assert await stream.push("some words") == ""
    assert await stream.end() == "SOME WORDS"


async def test_who_leaves_ends_the_checks_and_is_audited(caplog: pytest.LogCaptureFixture) -> None:
    slow = Scripted(Allow(), 5)
    stream = on_hold(scripted_policy(output_a=slow, output_scan=Scanning()))
    await stream.push("A sentence. And more. And")
    await asyncio.sleep(0.01)
    assert stream.checking
    await stream.aclose()
    await asyncio.sleep(0.01)
    assert slow.cancelled
    assert [v.shield for v in stream.verdicts] == ["output_scan"]
    other = on_hold(scripted_policy(output_scan=Scanning()))
    await other.push("it is forbidden")
    await other.aclose()
    assert "output_scan" in caplog.text
    assert "forbidden" not in caplog.text


@pytest.mark.parametrize("on_error", OnError)
async def test_a_scanner_that_fails_follows_on_error(on_error: OnError) -> None:
    failing = Scanning(RuntimeError("the user's text"), on_error=on_error)
    stream = on_hold(scripted_policy(output_a=failing, output_b=Scanning()))
    left = await text_of(stream, cut("Some harmless words."))
    verdict = stream.verdicts[0]
    assert verdict.error == "RuntimeError"
    if on_error is OnError.ALLOW:
        assert left == "Some harmless words."
        assert verdict.action is Action.ALLOW
    else:
        assert left == ""
        assert stream.blocked_by is not None
        assert stream.blocked_by.message == "No: output_a"


async def test_any_chunking_gives_the_same_text() -> None:
    chance = random.Random(3)
    asked = Scripted(Allow())
    policy = scripted_policy(output_a=asked, output_scan=Scanning())
    text = "for forb forbid forbidde fine. 1 2 3 4111 1111 words\n\n" * 8
    for _ in range(100):
        cuts = sorted(chance.sample(range(1, len(text)), chance.randint(1, 60)))
        chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert await text_of(on_hold(policy, chance.choice([40, 80, 200])), chunks) == text
