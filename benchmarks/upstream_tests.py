"""Llama Stack's own tests of the Responses API, on the stock provider and on this product's.

    python benchmarks/upstream_tests.py PATH_TO_LLAMA_STACK_SOURCE [--setup gpt --setup azure]

PATH is an unpacked source of the installed version of Llama Stack, with its tests and their
recordings (`pip download --no-binary :all: --no-deps llama-stack==0.7.3`, then `tar xf`). Nothing
is copied from it and nothing is written into it. Each setup runs twice against a server of its own
that differs in the Responses provider only: the stock `inline::builtin`, and
`inline::lightspeed-responses` without profile, prompt and shields. The model's answers are
upstream's recordings, found by a hash of the whole request: a request to the model that differs
in one byte from the stock provider's is a failed test. (Where documents were searched,
order and titles of the passages found may differ: see upstream_replay.py.)

Every test runs with both clients: openai's and llama-stack-client's. The setup `users` is
upstream's matrix of Alice and Bob, with tokens; `unit` are its tests of the stock provider's
parts, on our side with this package loaded: what it changes in the host must not show. Tests that
fail on the stock provider too (no recording, no network, a package that is not installed) are
listed as such.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from upstream_differences import why
from upstream_replay import EMBEDDING_MODEL
from upstream_stacks import OURS, STOCK, configuration, served
from upstream_users import identity_service

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Setup:
    """What upstream runs together: one model's recordings, over some of its tests."""

    tests: tuple[str, ...]
    has_users: bool = False
    has_server: bool = True


def _suite(suite: str, setup: str) -> Setup:
    embedding = f"--embedding-model=sentence-transformers/{EMBEDDING_MODEL}"
    return Setup(("tests/integration", f"--suite={suite}", f"--setup={setup}", embedding))


SETUPS = {
    "gpt": _suite("responses", "gpt"),
    "azure": _suite("responses", "azure"),
    "gpt-reasoning": _suite("gpt-reasoning", "gpt-reasoning"),
    "bedrock": _suite("bedrock-responses", "bedrock"),
    "vllm": _suite("vllm-reasoning", "vllm"),
    "ollama-reasoning": _suite("ollama-reasoning", "ollama-reasoning"),
    "users": Setup(
        (
            "tests/integration/responses/test_responses_access_control.py",
            "tests/integration/conversations/test_openai_conversations.py",
            "--text-model=openai/gpt-4o",
        ),
        has_users=True,
    ),
    "unit": Setup(
        (
            "tests/unit/providers/responses",
            "tests/unit/providers/inline/responses",
            "tests/unit/core/routers/test_responses_router.py",
        ),
        has_server=False,
    ),
}
_KEYS = {
    "OPENAI_API_KEY": "replayed",
    "AZURE_API_KEY": "replayed",
    "AZURE_API_BASE": "https://azure.invalid/openai/v1",
    "AWS_BEARER_TOKEN_BEDROCK": "replayed",
    "TAVILY_SEARCH_API_KEY": "replayed",
    "VLLM_URL": "http://localhost:8000/v1",
    "OLLAMA_URL": "http://0.0.0.0:11434/v1",
}
"""Providers switch on where their key is set; none of them is called."""

_TOKENS = {"ALICE_TOKEN": "alice", "BOB_TOKEN": "bob"}
_LOADED = {STOCK: (), OURS: ("-p", "upstream_loaded")}


@dataclass(frozen=True)
class Outcome:
    """How one test ended, and why not better."""

    kind: str
    reason: str = ""


def main() -> None:
    """Run both sides and print the comparison."""
    asked = _arguments()
    rows = []
    for name in asked.setup or SETUPS:
        outcomes = {side: _run(side, name, asked) for side in (STOCK, OURS)}
        rows.append(_row(name, outcomes))
        _explain(name, outcomes)
    print(f"\n| setup | {STOCK} p/f/s | {OURS} p/f/s | worse | not on purpose | better |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the unpacked source tree of Llama Stack")
    parser.add_argument(
        "--setup", action="append", choices=sorted(SETUPS), help="upstream's setup; all by default"
    )
    parser.add_argument(
        "-k", dest="pattern", default="", help="only tests that match, as in pytest"
    )
    parser.add_argument(
        "--packages",
        type=Path,
        help="folder of packages that the tests need beside this environment's "
        "(`pip install --target FOLDER 'pytest<9' 'openai==2.5.0' pytest-asyncio "
        "pytest-timeout sqlite-vec`)",
    )
    parser.add_argument(
        "--state", type=Path, default=None, help="where logs and results stay; temporary by default"
    )
    asked = parser.parse_args()
    asked.source = asked.source.resolve()
    if not (asked.source / "tests" / "integration" / "responses").is_dir():
        parser.error(f"{asked.source} holds no tests/integration/responses: give the source tree.")
    asked.state = asked.state or Path(tempfile.mkdtemp(prefix="upstream-tests-"))
    return asked


def _run(side: str, name: str, asked: argparse.Namespace) -> dict[str, Outcome]:
    """Return how each of the setup's tests ended on a side."""
    setup = SETUPS[name]
    asked.state.mkdir(parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix=f"{name}-{side}-", dir=asked.state.resolve()))
    environment = _environment(asked) | (_TOKENS if setup.has_users else {})
    if not setup.has_server:
        return _tested([*setup.tests, *_LOADED[side]], state, environment, asked)
    with identity_service() if setup.has_users else nullcontext() as authentication:
        config = configuration(side, authentication)
        with served(config, state, environment) as address:
            at = (f"--stack-config={address}", "--inference-mode=replay")
            return _tested([*setup.tests, *at], state, environment, asked)


def _environment(asked: argparse.Namespace) -> dict[str, str]:
    places = (asked.packages, Path(__file__).parent, asked.source)
    return {
        **_KEYS,
        "LLAMA_STACK_TEST_INFERENCE_MODE": "replay",
        "LLAMA_STACK_TEST_RECORDING_DIR": str(asked.source / "tests" / "integration" / "common"),
        "LLAMA_STACK_TEST_STACK_CONFIG_TYPE": "server",
        "LLAMA_STACK_TEST_MCP_HOST": "localhost",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(str(place.resolve()) for place in places if place),
    }


def _tested(
    arguments: Sequence[str], state: Path, environment: Mapping[str, str], asked: argparse.Namespace
) -> dict[str, Outcome]:
    results = state / "results.xml"
    options = [
        f"--junitxml={results}",
        "-p",
        "no:cacheprovider",
        *(["-k", asked.pattern] * bool(asked.pattern)),
    ]
    with (state / "tests.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, *options],
            cwd=asked.source,
            env={**os.environ, **environment, "SQLITE_STORE_DIR": str(state)},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,  # failed tests are what is counted
        )
    if not results.is_file():
        raise SystemExit(f"pytest stopped before the tests: read {state / 'tests.log'}.")
    return _read(results)


def _read(results: Path) -> dict[str, Outcome]:
    outcomes = {}
    for case in ElementTree.parse(results).iter("testcase"):  # noqa: S314  # pytest wrote it
        ended = {child.tag: child.get("message") or "" for child in case}
        kind, reason = PASSED, ""
        for tag, name in (("skipped", SKIPPED), ("failure", FAILED), ("error", FAILED)):
            if tag in ended:
                kind, reason = name, " ".join(ended[tag].split())
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = Outcome(kind, reason)
    return outcomes


def _row(name: str, outcomes: Mapping[str, Mapping[str, Outcome]]) -> str:
    counts = [Counter(o.kind for o in outcomes[side].values()) for side in (STOCK, OURS)]
    cells = [f"{c[PASSED]}/{c[FAILED]}/{c[SKIPPED]}" for c in counts]
    worse, better = _changed(outcomes, PASSED, FAILED), _changed(outcomes, FAILED, PASSED)
    unexplained = [test for test in worse if why(test) is None]
    columns = [name, *cells, str(len(worse)), str(len(unexplained)), str(len(better))]
    return f"| {' | '.join(columns)} |"


def _changed(outcomes: Mapping[str, Mapping[str, Outcome]], before: str, after: str) -> list[str]:
    stock, ours = outcomes[STOCK], outcomes[OURS]
    none = Outcome("missing")
    return [
        test
        for test, outcome in stock.items()
        if outcome.kind == before and (ours.get(test, none).kind in (after, "missing"))
    ]


def _explain(name: str, outcomes: Mapping[str, Mapping[str, Outcome]]) -> None:
    for words, before, after in (("WORSE", PASSED, FAILED), ("better", FAILED, PASSED)):
        for test in _changed(outcomes, before, after):
            told = OURS if after == FAILED else STOCK
            reason = why(test) if after == FAILED else None
            said = f"on purpose: {reason}" if reason else outcomes[told][test].reason[:300]
            print(f"{name}: {words}: {test}\n    {said}")
    for kind in (FAILED, SKIPPED):
        reasons = Counter(o.reason[:110] for o in outcomes[STOCK].values() if o.kind == kind)
        for reason, count in reasons.most_common():
            print(f"{name}: {kind} on the stock provider: {count} x {reason}")


if __name__ == "__main__":
    main()
