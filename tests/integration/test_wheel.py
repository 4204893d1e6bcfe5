"""The wheel alone, in a second, empty environment."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, build_small_index
from test_server import QUESTION, Server

UV = str(Path(sys.executable).with_name("uv"))


def test_a_wheel_in_an_empty_environment_runs(
    docs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)],
        cwd=ROOT,
        check=True,
    )
    [wheel] = dist.glob("*.whl")
    environment = tmp_path_factory.mktemp("env") / "venv"
    python = str(environment / "bin" / "python")
    subprocess.run([UV, "venv", "-q", "-p", sys.executable, str(environment)], check=True)
    install = [UV, "pip", "install", "-q", "-p", python]
    subprocess.run(
        [*install, str(wheel), "--constraint", str(constraints_without_hashes(dist))], check=True
    )

    server = Server(tmp_path_factory.mktemp("home"), bin_dir=environment / "bin")
    server.run(str(server.bin / "lightspeed"), "init")
    build_small_index(docs, server.home / "state" / "indexes" / "small")
    server.start()
    try:
        answer = httpx.post(
            f"{server.url}/v1/responses",
            json={"model": "lightspeed", "input": QUESTION},
            timeout=90,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["output"][-1]["content"][0]["annotations"]
    finally:
        server.stop()


def constraints_without_hashes(directory: Path) -> Path:
    """The pinned versions; the wheel itself has no hash there, so hashes can't be required."""
    pins = [
        line.split(" \\")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith((" ", "#"))
    ]
    file = directory / "constraints.txt"
    file.write_text("\n".join(pins) + "\n")
    return file
