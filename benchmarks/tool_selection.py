"""How often the tool that a question needs is among those that are offered.

    .venv/bin/python benchmarks/tool_selection.py
    .venv/bin/python benchmarks/tool_selection.py --tools benchmarks/tools/operations.yaml

Prints, for several numbers of kept tools, the share of questions with at least one of their tools
and with all of them, what choosing costs, and the questions that are missed at fifteen. Tools are
ranked by cosine alone; the likeness below which all are offered was chosen on these questions.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.tables import Table, open_console, print_tables
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.tool_selection import ToolSelection
from lightspeed_providers.responses.tool_selection_config import ToolSelectionConfig

OFFERED = (3, 5, 10, 15, 20, 30)


class Embedding:
    """Embeddings as the host's inference gives them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def openai_embeddings(self, params: Any) -> Any:  # Any: the host's request and answer
        """Return the vectors of texts."""
        vectors = await self._embedder.embed(params.input)
        return SimpleNamespace(data=[SimpleNamespace(embedding=v.tolist()) for v in vectors])


async def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--tools", type=Path, default=Path(__file__).parent / "tools" / "operations.yaml"
    )
    data = yaml.safe_load(arguments.parse_args().tools.read_text())
    tools = [
        {"type": "function", "function": {"name": name, "description": text, "parameters": {}}}
        for name, text in data["tools"].items()
    ]
    embedder = shared_embedder(DEFAULT_EMBEDDING_MODEL, "auto")
    selection = ToolSelection(Embedding(embedder))  # type: ignore[arg-type]  # what is asked of it
    await embedder.embed(["The model is loaded before anything is measured."])
    rows, missed, took = [], [], []
    for keep in OFFERED:
        one = every = offered = 0
        for question, wanted in data["questions"]:
            began = time.perf_counter()
            names = await _offered(selection, tools, question, keep)
            took.append((time.perf_counter() - began) * 1000)
            offered += len(names)
            one += bool(names.intersection(wanted))
            every += names.issuperset(wanted)
            if keep == 15 and not names.intersection(wanted):
                missed.append(question)
        count = len(data["questions"])
        rows.append(
            (str(keep), f"{offered / count:.1f}", f"{one / count:.1%}", f"{every / count:.1%}")
        )
    first, again = took[1 : len(data["questions"])], took[len(data["questions"]) :]
    title = f"{len(tools)} tools, {len(data['questions'])} questions"
    cost = (
        f"choosing: p50 {np.median(first):.1f} ms, {np.median(again):.2f} ms for a known question"
    )
    shares = Table(
        title, ("keep", "offered on average", "one of its tools", "all of them"), tuple(rows), cost
    )
    print_tables([shares], open_console())
    for question in missed:
        print(f"missed at 15: {question}")


async def _offered(
    selection: ToolSelection, tools: list[dict[str, Any]], question: str, keep: int
) -> frozenset[str]:
    rules = ProfileConfig(tool_selection=ToolSelectionConfig(above=2, keep=keep))
    turn: Any = SimpleNamespace(
        rules=rules, names_tools=False, chosen_tools=None, question=question, history=(), turn_id=""
    )
    params: Any = SimpleNamespace(tools=tools, tool_choice="auto", messages=())
    offered = await selection.offered(params, turn)
    return frozenset(t["function"]["name"] for t in offered or tools)


if __name__ == "__main__":
    asyncio.run(main())
