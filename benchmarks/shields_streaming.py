"""What shields cost a streamed answer: measures of `shields_speed.py`."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from shields_answer import PIECE, pieces
from shields_report import Figure, Report
from shields_sides import (
    CHECKPOINT_CHARS,
    CannedInference,
    Heard,
    Sides,
    SlowShield,
    StockSafety,
    answered,
    gated,
    heard,
    no_models,
    open_turn,
    slow,
)
from shields_texts import texts

from lightspeed_providers.core.verdicts import Context, Direction, Release
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields import SHIELDS

CHUNKS = 200
PAUSE_S = 0.005
SLOW_MS = 5.0
INSTRUCTIONS = (
    "You are the assistant for the Django web framework. Answer the question from the "
    "documentation passages given with it, shortly and exactly."
)


def slow_question(pause_s: float, rounds: int) -> dict[str, Any]:
    """Return what NeMo Guardrails is asked to measure for `slow_shield`."""
    said = pieces(CHUNKS)
    settings = {"said": said, "pause_s": pause_s, "delay_s": SLOW_MS / 1000, "rounds": rounds}
    return {"measure": "slow_shield", "settings": settings}


async def slow_shield(
    sides: Sides, pause_s: float, rounds: int, nemo: dict[str, Any] | None
) -> Report:
    """Compare answers with one slow shield for both ways to the same answers without."""
    said = pieces(CHUNKS)
    inference = CannedInference(said, pause_s)
    configured, at_gate = slow("inout_slow", SLOW_MS), slow("output_slow", SLOW_MS)
    shield = configured.shield
    assert isinstance(shield, SlowShield)  # noqa: S101  # tells mypy; `slow` builds nothing else
    safety = StockSafety(SLOW_MS)
    ours, ours_plain = await sides.ours(inference, [configured]), await sides.ours(inference, [])
    stock = await sides.stock(inference, safety)
    asks = {
        "ours plain": lambda: answered(ours_plain),
        "ours": lambda: answered(ours),
        "stock plain": lambda: answered(stock),
        "stock": lambda: answered(stock, ["slow"]),
        "gate plain": lambda: inference.openai_chat_completion(None),
        "gate": lambda: gated(inference, ShieldPolicy([at_gate]), open_turn()),
    }
    pace = f"{pause_s * 1000:g} ms apart" if pause_s else "without pauses"
    report = Report(f"A {CHUNKS}-chunk answer, {pace}, with one {SLOW_MS:g} ms shield")
    seen: dict[str, list[Heard]] = {name: [] for name in asks}
    checks: dict[str, int] = {}
    for number in range(rounds + 1):  # the first one warms up
        for name, ask in asks.items():
            shield.took_s.clear()
            safety.checks = 0
            once = await heard(ask())
            report.expect(once.text == "".join(said), f"{name}: the answer is not whole")
            if number:
                seen[name].append(once)
                checks[name] = max(
                    checks.get(name, 0), len(shield.took_s) if name == "ours" else safety.checks
                )
    total = {name: median(once.total_s for once in all_) for name, all_ in seen.items()}
    first = {name: median(once.first_s or 0 for once in all_) for name, all_ in seen.items()}
    report.figures = [
        Figure(
            "checks",
            checks["ours"],
            at_most=12,
            stock=checks["stock"],
            nemo=nemo and nemo["hold"]["checks"],
        ),
        Figure(
            "time, against the same without the shield",
            total["ours"] / total["ours plain"],
            at_most=1.03 if pause_s else None,
            stock=total["stock"] / total["stock plain"],
            nemo=nemo and nemo["hold"]["total_s"] / nemo["plain"]["total_s"],
        ),
        Figure(
            "time, against the stock without any",
            total["ours"] / total["stock plain"],
            at_most=1.03 if pause_s else None,
        ),
        Figure(
            "added in all",
            (total["ours"] - total["ours plain"]) * 1000,
            "ms",
            stock=(total["stock"] - total["stock plain"]) * 1000,
            nemo=nemo and (nemo["hold"]["total_s"] - nemo["plain"]["total_s"]) * 1000,
        ),
        Figure(
            "first text",
            first["ours"] * 1000,
            "ms",
            stock=first["stock"] * 1000,
            nemo=nemo and nemo["hold"]["first_s"] * 1000,
        ),
    ]
    if pause_s:
        ratio = total["gate"] / total["gate plain"]
        report.figures.append(Figure("gate alone, against its upstream", ratio, at_most=1.03))
    report.notes.append(
        "ours checks first at the first sentence's end, so its first text is that sentence; stock "
        "checks every delta, and NeMo every 200 with what it holds"
    )
    if nemo:
        shown = nemo["stream_first"]
        report.notes.append(
            f"NeMo in its default `stream_first`, which shows text before its check: "
            f"{shown['checks']} checks, {shown['total_s'] / nemo['plain']['total_s']:.2f} times "
            f"the time, first text after {shown['first_s'] * 1000:.0f} ms"
        )
        report.expect(all(one["whole"] for one in nemo.values()), "NeMo: the answer is not whole")
    return report


def six_shields() -> list[ConfiguredShield]:
    """Return six local output shields as an operator would configure them."""
    demo = LightspeedShieldsConfig.sample_run_config()["shields"]
    expressions = [
        *demo["input_forbidden"]["expressions"],
        *demo["output_forbidden"]["expressions"],
    ]
    patterns = {"kind": "patterns", "expressions": expressions}
    wanted: dict[str, Any] = {
        "output_overrides": patterns,
        "output_competitors": {**patterns, "phrases": ["acme web kit", "other framework ltd"]},
        "output_forbidden": {**patterns, "phrases": ["<|im_start|>", "<|im_end|>"]},
        "output_redaction": {"kind": "redaction"},
        "output_secrets": {"kind": "redaction"},
        "output_leak": {"kind": "prompt_leak"} if "prompt_leak" in SHIELDS else patterns,
    }
    return configured_of(wanted)


def configured_of(shields: dict[str, Any]) -> list[ConfiguredShield]:
    """Return shields that ask no model, ready to run."""
    config = LightspeedShieldsConfig.model_validate({"shields": shields})
    return [
        ConfiguredShield(name, options, options.build(no_models()))
        for name, options in config.shields.items()
    ]


async def six_output(rounds: int) -> Report:
    """Time what six local output shields put between a delta and the text it makes releasable."""
    said = pieces(500, planted=True)
    shields = six_shields()
    policy = ShieldPolicy(shields)
    inference = CannedInference(said, 0.001)
    kinds = [configured.kind for configured in shields]
    report = Report(f"Six local output shields on `hold` ({', '.join(kinds)})")
    scanning = sum(
        s.shield.scanner(Direction.OUTPUT, Context(instructions=INSTRUCTIONS)) is not None
        for s in shields
    )
    report.notes.append(f"{scanning} of {len(shields)} scan every delta; others are asked")
    expected = await _releasable(policy, said)
    held = {s.shield_id: _held(s) for s in {s.kind: s for s in shields}.values()}
    holding = max(held, key=lambda name: np.percentile(held[name], 99))
    rounds_seen: list[Heard] = []
    cpu_s = 0.0
    for number in range(rounds + 1):
        turn = open_turn(INSTRUCTIONS)
        began = time.process_time()
        once = await heard(gated(inference, policy, turn), inference)
        cpu_s += time.process_time() - began if number else 0.0
        report.expect(turn.refusal is None, "a shield blocks the answer")
        report.expect("petrova" not in once.text, "an e-mail address has left")
        if scanning == len(shields):
            report.expect(once.left == expected, "text left with a later delta than it could have")
        rounds_seen.append(once)
    late = np.concatenate([once.late_ms for once in rounds_seen[1:]])
    cpu = np.concatenate([once.late_cpu_ms for once in rounds_seen[1:]])
    first = [once.late_ms[0] for once in rounds_seen[1:]]
    report.figures = [
        Figure("delta to text, first text (median)", median(first), "ms", at_most=2),
        Figure("delta to text, p50", float(np.percentile(late, 50)), "ms", at_most=2),
        Figure("delta to text, p99", float(np.percentile(late, 99)), "ms", at_most=2),
        Figure("the same in CPU time, p99", float(np.percentile(cpu, 99)), "ms", at_most=2),
        Figure("CPU a delta, upstream and all", cpu_s / rounds / len(said) * 1e6, "us"),
        Figure("held back, p50", float(np.percentile(held[holding], 50)), "characters"),
        Figure(
            "held back, p99",
            float(np.percentile(held[holding], 99)),
            "characters",
            at_most=64,
            note=f"{holding}, over prose, code, other scripts and personal data",
        ),
    ]
    return report


async def _releasable(policy: ShieldPolicy, said: Sequence[str]) -> list[tuple[int, int]]:
    """Return how much has left with which delta, read off the policy itself."""
    context = Context(instructions=INSTRUCTIONS)
    stream = policy.stream(
        Direction.OUTPUT, context, release=Release.HOLD, checkpoint_chars=CHECKPOINT_CHARS
    )
    left: list[tuple[int, int]] = []
    gone = 0
    for number, text in enumerate(said, 1):
        if out := await stream.push(text):
            gone += len(out)
            left.append((number, gone))
    if rest := await stream.end():
        left.append((len(said), gone + len(rest)))
    return left


def _held(configured: ConfiguredShield) -> list[int]:
    """Return how much of a text a shield's scanner held back after each delta."""
    held: list[int] = []
    for text in texts().values():
        scanner = configured.shield.scanner(Direction.OUTPUT, Context(instructions=INSTRUCTIONS))
        if scanner is None:
            return [0]
        for start in range(0, len(text), PIECE):
            scanner.push(text[start : start + PIECE])
            held.append(len(scanner.held))
    return held


def hidden_question(rounds: int) -> dict[str, Any]:
    """Return what NeMo Guardrails is asked to measure for `hidden`."""
    settings = {"said": pieces(5), "delay_s": 0.3, "first_s": 0.5, "rounds": rounds}
    return {"measure": "hidden", "settings": settings}


async def hidden(sides: Sides, rounds: int, nemo: dict[str, Any] | None) -> Report:
    """Compare the first text with a slow input shield beside the model to the first without."""
    said = pieces(5)
    inference = CannedInference(said, PAUSE_S, first_s=0.5)
    report = Report("A 300 ms input shield beside a model whose first token takes 500 ms")
    configured = slow("input_slow", 300, beside_model=True)
    ours = {
        "plain": await sides.ours(inference, []),
        "input": await sides.ours(inference, [configured]),
    }
    stock = await sides.stock(inference, StockSafety(300))
    first: dict[str, list[float]] = {"plain": [], "input": [], "stock": [], "stock plain": []}
    for _ in range(rounds):
        for name, impl in ours.items():
            once = await heard(answered(impl))
            report.expect(once.text == "".join(said), "ours: the answer is not whole")
            first[name].append(once.first_s or 0)
        first["stock plain"].append((await heard(answered(stock))).first_s or 0)
    first["stock"].append((await heard(answered(stock, ["slow"]))).first_s or 0)
    added = {name: median(all_) * 1000 for name, all_ in first.items()}
    report.figures = [
        Figure(
            "added to the first text",
            added["input"] - added["plain"],
            "ms",
            at_most=5,
            stock=added["stock"] - added["stock plain"],
            nemo=nemo and (nemo["input"] - nemo["plain"]) * 1000,
        )
    ]
    if nemo:
        report.notes.append(
            "NeMo's `speculative_generation` does the same for whole answers, not for streams"
        )
    await _nothing_before_the_verdict(sides, inference, report)
    return report


async def _nothing_before_the_verdict(
    sides: Sides, inference: CannedInference, report: Report
) -> None:
    """Look at verdicts before and after the first token, that allow and that block."""
    early = 0
    for delay_ms in (300.0, 700.0):
        for blocks in (False, True):
            configured = slow("input_slow", delay_ms, beside_model=True, blocks=blocks)
            impl = await sides.ours(inference, [configured])
            began = time.perf_counter()
            once = await heard(answered(impl))
            shield = configured.shield
            assert isinstance(shield, SlowShield)  # noqa: S101
            if once.first_at is None or once.first_at < shield.ended_at:
                early += 1
            if blocks:
                report.expect(once.text == "Refused.", "something else than the refusal has left")
                report.notes.append(
                    f"blocked after {delay_ms:g} ms: the refusal, and nothing else, left after "
                    f"{((once.first_at or 0) - began) * 1000:.0f} ms"
                )
    report.figures.append(Figure("answers that began before their verdict", early, at_most=0))
    report.expect(early == 0, "text left before the verdict")
