"""What `shields_nemo.py` runs with a Python that has NeMo Guardrails; it writes JSON.

The rails are its own: custom actions that sleep, as input rails and as streaming output rails, in
front of a custom model that streams the canned answer.
"""

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from nemoguardrails import LLMRails, RailsConfig
from nemoguardrails.actions import action
from nemoguardrails.actions.rail_outcome import RailOutcome
from nemoguardrails.types import LLMResponse, LLMResponseChunk
from shields_answer import QUESTION, spoken

type Settings = dict[str, Any]  # Any: JSON


class CannedModel:
    """Satisfies `nemoguardrails.types.LLMModel`."""

    model_name = "canned"
    provider_name = "canned"
    provider_url = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _said(self) -> Any:
        given = self._settings
        return spoken(given["said"], given.get("pause_s", 0.0), given.get("first_s", 0.0))

    async def generate_async(self, prompt: Any, *, stop: Any = None, **_: Any) -> LLMResponse:
        """Return the whole answer."""
        return LLMResponse(content="".join([text async for text in self._said()]))

    async def stream_async(self, prompt: Any, *, stop: Any = None, **_: Any) -> Any:
        """Yield the answer."""
        async for text in self._said():
            yield LLMResponseChunk(delta_content=text)


class Checks:
    """The actions behind the rails; they count and take their time."""

    def __init__(self, delay_s: float, count: int = 1) -> None:
        self.took_s: list[float] = []
        self.names = [f"slow{n}" for n in range(count)]
        self._delay_s = delay_s

    def registered(self, rails: LLMRails) -> LLMRails:
        """Return the rails with the actions they call."""
        for name in self.names:
            rails.register_action(self._action(name), name)
        return rails

    def _action(self, name: str) -> Any:
        @action(name=name)
        async def check(text: str = "", **_: Any) -> RailOutcome:
            began = time.perf_counter()
            await asyncio.sleep(self._delay_s)
            self.took_s.append(time.perf_counter() - began)
            return RailOutcome.allow()

        return check

    def flows(self, variable: str, way: str) -> str:
        """Return one flow a check, in Colang 1.0."""
        return "\n".join(
            f"define subflow {name} {way}\n"
            f"  $response = execute {name}(text=${variable})\n"
            f"  if $response.is_blocked\n    bot refuse to respond\n    stop\n"
            for name in self.names
        )


def rails(settings: Settings, checks: Checks | None, ways: Settings) -> LLMRails:
    """Return an application with the checks as rails of the given ways."""
    colang = 'define bot refuse to respond\n  "Refused."\n\n'
    configured: Settings = {}
    if checks is not None:
        for way, options in ways.items():
            variable = {"input": "user_message", "output": "bot_message"}[way]
            colang += checks.flows(variable, way) + "\n"
            configured[way] = {"flows": [f"{name} {way}" for name in checks.names], **options}
    config = RailsConfig.from_content(
        colang_content=colang,
        yaml_content=json.dumps({"models": [], "passthrough": True, "rails": configured}),
    )
    app = LLMRails(config, llm=CannedModel(settings))
    return checks.registered(app) if checks is not None else app


async def streamed(app: LLMRails) -> Settings:
    """Return how long a streamed answer took, and what came."""
    first_s = None
    parts: list[str] = []
    began = time.perf_counter()
    async for text in app.stream_async(messages=[{"role": "user", "content": QUESTION}]):
        if first_s is None:
            first_s = time.perf_counter() - began
        parts.append(text)
    return {
        "total_s": time.perf_counter() - began,
        "first_s": first_s,
        "text": "".join(parts),
    }


async def slow_shield(settings: Settings) -> Settings:
    """Measure answers with one rail for both ways, and without any."""
    held = {"streaming": {"enabled": True, "stream_first": False}}
    first = {"streaming": {"enabled": True}}
    found: Settings = {}
    for name, ways in (
        ("plain", None),
        ("hold", {"input": {}, "output": held}),
        ("stream_first", {"input": {}, "output": first}),
    ):
        checks = Checks(settings["delay_s"]) if ways else None
        app = rails(settings, checks, ways or {})
        await streamed(app)
        rounds = []
        for _ in range(settings["rounds"]):
            before = len(checks.took_s) if checks else 0
            seen = await streamed(app)
            seen["checks"] = len(checks.took_s) - before if checks else 0
            seen["whole"] = seen.pop("text") == "".join(settings["said"])
            rounds.append(seen)
        found[name] = {
            "total_s": statistics.median(seen["total_s"] for seen in rounds),
            "first_s": statistics.median(seen["first_s"] for seen in rounds),
            "checks": max(seen["checks"] for seen in rounds),
            "whole": all(seen["whole"] for seen in rounds),
        }
    return found


async def several(settings: Settings) -> Settings:
    """Measure several input rails, one after the other and at one time."""
    found: Settings = {}
    for name, options in (("sequential", {}), ("parallel", {"parallel": True})):
        ratios = []
        for turn in range(settings["rounds"] + 1):
            checks = Checks(settings["delay_s"], settings["count"])
            app = rails(settings, checks, {"input": options})
            began = time.perf_counter()
            await app.generate_async(
                messages=[{"role": "user", "content": QUESTION}],
                options={"rails": ["input"]},
            )
            took_s = time.perf_counter() - began
            if len(checks.took_s) != settings["count"]:
                raise RuntimeError(f"{name}: {len(checks.took_s)} checks were made")
            if turn:
                ratios.append(took_s / max(checks.took_s))
        found[name] = statistics.median(ratios)
    return found


async def hidden(settings: Settings) -> Settings:
    """Measure the first text of a streamed answer with a slow input rail, and without any."""
    found: Settings = {}
    for name, checks in (("plain", None), ("input", Checks(settings["delay_s"]))):
        app = rails(settings, checks, {"input": {}})
        found[name] = statistics.median(
            [(await streamed(app))["first_s"] for _ in range(settings["rounds"])]
        )
    return found


MEASURES = {"slow_shield": slow_shield, "several": several, "hidden": hidden}


if __name__ == "__main__":
    asked = json.loads(sys.stdin.read())
    told = [asyncio.run(MEASURES[one["measure"]](one["settings"])) for one in asked]
    sys.stdout.write(json.dumps(told))
