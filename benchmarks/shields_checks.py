"""What single checks and whole policies cost: measures of `shields_speed.py`."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from shields_answer import PIECE, QUESTION, pieces
from shields_report import Figure, Report
from shields_sides import SlowShield, StockSafety, slow
from shields_streaming import configured_of
from shields_texts import DATA, LENGTH, rows, texts

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Chat, Embed, Message, Models

SEVERAL = 6
SEVERAL_MS = 50.0
_REPEATED = 10
_BATCHES = 5
_EVERY = 3
"""Of the questions of a product; all of them take a minute."""


def several_question(rounds: int) -> dict[str, Any]:
    """Return what NeMo Guardrails is asked to measure for `several`."""
    settings = {
        "said": pieces(5),
        "delay_s": SEVERAL_MS / 1000,
        "count": SEVERAL,
        "rounds": rounds,
    }
    return {"measure": "several", "settings": settings}


async def several(rounds: int, nemo: dict[str, Any] | None) -> Report:
    """Compare several slow input shields to the slowest of them."""
    from llama_stack.providers.inline.responses.builtin.responses.utils import run_guardrails

    names = tuple(f"input_slow{n}" for n in range(SEVERAL))
    shields = [slow(name, SEVERAL_MS) for name in names]
    policy = ShieldPolicy(shields)
    safety = StockSafety(SEVERAL_MS, names)
    ours: list[float] = []
    stock: list[float] = []
    report = Report(f"{SEVERAL} input shields of {SEVERAL_MS:g} ms, against the slowest")
    for _ in range(rounds + 1):
        began = time.perf_counter()
        screening = await policy.screen(Direction.INPUT, QUESTION)
        took_s = time.perf_counter() - began
        report.expect(len(screening.verdicts) == SEVERAL, "a shield gave no verdict")
        ours.append(took_s / max(_latest(s) for s in shields))
        began = time.perf_counter()
        await run_guardrails(safety, QUESTION, list(names))
        stock.append((time.perf_counter() - began) / (SEVERAL_MS / 1000))
    report.figures = [
        Figure(
            "times the slowest",
            median(ours[1:]),
            at_most=1.1,
            stock=median(stock[1:]),
            nemo=nemo and nemo["parallel"],
        )
    ]
    if nemo:
        report.notes.append(
            f"NeMo with `parallel: true`; by default, one after the other: {nemo['sequential']:.2f}"
        )
    return report


def _latest(configured: ConfiguredShield) -> float:
    shield = configured.shield
    assert isinstance(shield, SlowShield)  # noqa: S101  # tells mypy; `slow` builds nothing else
    return shield.took_s[-1]


async def written() -> Report:
    """Time the demo policy's patterns and redaction on texts of several sorts."""
    demo = LightspeedShieldsConfig.sample_run_config()["shields"]
    kinds = ("patterns", "redaction")
    local = configured_of({n: s for n, s in demo.items() if s["kind"] in kinds})
    report = Report(f"CPU of the demo policy's local shields for {LENGTH:,} characters")
    for kind in kinds:
        for sort, text in texts().items():
            took = {s.shield_id: await _cpu_ms(s, text) for s in local if s.kind == kind}
            slowest = max(took, key=lambda name: took[name])
            report.figures.append(
                Figure(f"{kind}, {sort}", took[slowest], "ms", at_most=1, note=slowest)
            )
    for kind in kinds:
        for sort, text in texts().items():
            streamed = {
                s.shield_id: ms
                for s in local
                if s.kind == kind and (ms := _streamed_cpu_ms(s, text)) is not None
            }
            if streamed:
                slowest = max(streamed, key=lambda name: streamed[name])
                what = f"{kind}, {sort}, in deltas of {PIECE}"
                report.figures.append(Figure(what, streamed[slowest], "ms", note=slowest))
    return report


async def _cpu_ms(configured: ConfiguredShield, text: str) -> float:
    """Return the CPU time of a check in ms, the median of some batches."""
    took = []
    for _ in range(_BATCHES):
        began = time.process_time()
        for _ in range(_REPEATED):
            await configured.shield.check(text, Direction.INPUT, Context())
        took.append((time.process_time() - began) / _REPEATED * 1000)
    return median(took)


def _streamed_cpu_ms(configured: ConfiguredShield, text: str) -> float | None:
    """Return the CPU time of scanning the same in deltas; None where the shield does not scan."""
    took = []
    deltas = [text[n : n + PIECE] for n in range(0, len(text), PIECE)]
    for _ in range(_BATCHES):
        scanner = configured.shield.scanner(Direction.OUTPUT, Context())
        if scanner is None:
            return None
        began = time.process_time()
        for delta in deltas:
            scanner.push(delta)
        scanner.end()
        took.append((time.process_time() - began) * 1000)
    return median(took)


class _CountingChat:
    """Stands in for the model that a topic shield may ask about what is unclear."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        self.asked += 1
        return "yes"


async def topic() -> Report:
    """Time the topic shields of two products on questions of the tuning set."""
    demo = LightspeedShieldsConfig.sample_run_config()["shields"]["input_topic"]
    other = yaml.safe_load((DATA / "postgresql-topic.yaml").read_text())
    report = Report("Topic stage over the tuning questions, embedding model in this process")
    for product, options in (("django", demo), ("postgresql", other)):
        await _topic_of(product, {**options, "embedding_model": DEFAULT_EMBEDDING_MODEL}, report)
    return report


async def _topic_of(product: str, options: dict[str, Any], report: Report) -> None:
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    chat = _CountingChat()

    async def embed(texts: list[str]) -> NDArray[np.float32]:
        return await embedder.embed(texts)

    def embedding(model: str) -> Embed:
        return embed

    def chatting(model: str) -> Chat:
        return chat

    config = LightspeedShieldsConfig.model_validate({"shields": {"input_topic": options}})
    chosen = config.shields["input_topic"]
    shield = chosen.build(Models(embedding, chatting))
    began = time.perf_counter()
    await shield.check("How do I begin?", Direction.INPUT, Context())
    report.notes.append(f"{product}: ready after {time.perf_counter() - began:.1f} s")
    by_stage: dict[str, list[float]] = {}
    cpu_s = 0.0
    for row in rows(f"topic-{product}.tuning.jsonl")[::_EVERY]:
        context = Context(history=tuple(row.get("history", ())))
        asked, cpu = chat.asked, time.process_time()
        began = time.perf_counter()
        answer = await shield.check(row["text"], Direction.INPUT, context)
        took_ms = (time.perf_counter() - began) * 1000
        cpu_s += time.process_time() - cpu
        stage = "model" if chat.asked > asked else getattr(answer, "stage", None) or "unnamed"
        by_stage.setdefault(stage, []).append(took_ms)
    local_ms = [ms for stage, all_ in by_stage.items() if stage != "model" for ms in all_]
    count = sum(map(len, by_stage.values()))
    report.figures += [
        Figure(f"{product}, p50", float(np.percentile(local_ms, 50)), "ms", at_most=5),
        Figure(f"{product}, p95", float(np.percentile(local_ms, 95)), "ms"),
        Figure(f"{product}, CPU of all cores, mean", cpu_s / count * 1000, "ms"),
        Figure(f"{product}, asked a model", chat.asked / count * 100, "%", at_most=10),
    ]
    shares = ", ".join(
        f"{stage} {len(all_) / count:.0%} (p50 {median(all_):.1f} ms)"
        for stage, all_ in sorted(by_stage.items(), key=lambda item: -len(item[1]))
    )
    report.notes.append(f"{product}: {count} questions; decided by {shares}")
