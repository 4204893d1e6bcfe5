"""What operators can count, trace and read of shields: everything but the texts."""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lightspeed_providers.core.verdicts import Action, Context, Direction, Verdict
from lightspeed_providers.safety import audit, metrics
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Models

SECRET = "zebrafish-4711 forbidden word"
ABOUT = {"shield": "input_words", "kind": "patterns", "direction": "input"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """A reader of the module's instruments; the process's own provider can only be set once."""
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("test")
    for name in ("checks", "failures", "violations"):
        instrument = getattr(metrics, name)
        monkeypatch.setattr(metrics, name, meter.create_counter(instrument._name))
    for name in ("duration", "held_characters"):
        instrument = getattr(metrics, name)
        monkeypatch.setattr(metrics, name, meter.create_histogram(instrument._name))
    return reader


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(metrics, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def policy(**options: Any) -> ShieldPolicy:
    config = LightspeedShieldsConfig.model_validate(
        {"shields": {"input_words": {"kind": "patterns", "phrases": ["forbidden word"], **options}}}
    )
    none = Models(lambda model: pytest.fail(model), lambda model: pytest.fail(model))
    return ShieldPolicy(
        [ConfiguredShield(name, o, o.build(none)) for name, o in config.shields.items()]
    )


async def test_verdicts_are_counted_by_shield_kind_direction_and_action(
    counted: InMemoryMetricReader,
) -> None:
    shields = policy()
    for text in (SECRET, "fine", "fine too"):
        await shields.screen(Direction.INPUT, text)
    told = points(counted)
    checks = {
        p.attributes["action"]: (p.value, p.attributes) for p in told["ls_shield_checks_total"]
    }
    assert checks["block"] == (1, ABOUT | {"action": "block"})
    assert checks["allow"] == (2, ABOUT | {"action": "allow"})
    [violations] = told["ls_llm_validation_errors_total"]
    assert (violations.value, violations.attributes) == (1, ABOUT)
    assert sum(p.count for p in told["ls_shield_check_duration_ms"]) == 3
    assert "ls_shield_failures_total" not in told
    assert "zebrafish" not in str(told)


async def test_failed_checks_are_counted_by_reason(
    counted: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    shields = policy(timeout_s=0.02, on_error="allow")
    shield = shields.shields["input_words"].shield

    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    async def raises(*_: object) -> None:
        raise RuntimeError(SECRET)

    async def talks(*_: object) -> str:
        return SECRET

    for broken in (hangs, raises, talks):
        monkeypatch.setattr(shield, "check", broken)
        await shields.screen(Direction.INPUT, SECRET)
    told = points(counted)
    reasons = {p.attributes["reason"]: p.value for p in told["ls_shield_failures_total"]}
    assert reasons == {"timeout": 1, "error": 1, "garbage": 1}
    assert "ls_llm_validation_errors_total" not in told
    assert "zebrafish" not in str(told)


def test_held_characters_are_a_histogram(counted: InMemoryMetricReader) -> None:
    for characters in (0, 12, 40):
        metrics.held(characters)
    [held] = points(counted)["ls_shield_held_characters"]
    assert (held.count, held.sum, held.max) == (3, 52, 40)


async def test_each_check_is_a_span_without_text(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    shields = policy()
    await shields.screen(Direction.INPUT, SECRET)

    async def raises(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(shields.shields["input_words"].shield, "check", raises)
    await shields.screen(Direction.INPUT, SECRET)
    found, failed = spans.get_finished_spans()
    assert found.name == "shield input_words"
    assert dict(found.attributes or {}) == ABOUT | {"action": "block"}
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.status.description == "RuntimeError"
    assert not found.events
    assert not failed.events
    assert "zebrafish" not in found.to_json() + failed.to_json()


async def test_a_cancelled_check_ends_its_span_without_text(spans: InMemorySpanExporter) -> None:
    with (
        pytest.raises(RuntimeError),
        metrics.traced("input_words", "patterns", Direction.INPUT),
    ):
        raise RuntimeError(SECRET)
    [span] = spans.get_finished_spans()
    assert "zebrafish" not in span.to_json()


def verdict(action: Action, **more: Any) -> Verdict:
    return Verdict(
        shield="input_words", kind="patterns", direction=Direction.INPUT, action=action, **more
    )


def test_the_audit_log_names_violations_and_failures_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "lightspeed_providers.safety.audit")
    context = Context(history=(SECRET,), instructions=SECRET, thread=SECRET, reference="turn_1")
    audit.record(verdict(Action.ALLOW), context)
    audit.record(verdict(Action.REPLACE, replaced={"EMAIL": 1}), context)
    audit.record(verdict(Action.BLOCK, message=SECRET, stage="model"), context)
    audit.record(verdict(Action.ALLOW, error="no answer within 5 s"), context)
    assert [record.getMessage() for record in caplog.records] == [
        "Shield violation shield='input_words' kind='patterns' direction='input' action='block' "
        "stage='model' reference='turn_1'",
        "Shield failed shield='input_words' kind='patterns' direction='input' action='allow' "
        "error='no answer within 5 s' reference='turn_1'",
    ]


def test_a_reference_from_outside_writes_no_line_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    audit.record(verdict(Action.BLOCK), Context(reference="a\nERROR forged\r\x1b[2J" + "x" * 999))
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 400


def test_counting_costs_next_to_nothing_where_nobody_reads() -> None:
    blocked = verdict(Action.BLOCK, error="x", took_ms=1)
    began = time.process_time()
    for _ in range(2000):
        with metrics.traced("input_words", "patterns", Direction.INPUT) as tell:
            tell(blocked)
        metrics.observe(blocked, "timeout")
    assert (time.process_time() - began) / 2000 < 20e-6
