"""`lightspeed init` writes what is missing, and never over what a user wrote."""

from pathlib import Path

import pytest

from lightspeed_providers.cli.init import EXTERNAL_APIS_DIR, write_user_files
from lightspeed_providers.core.errors import ConfigurationError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIGHTSPEED_STATE_DIR", raising=False)
    return tmp_path


def test_a_second_run_changes_nothing() -> None:
    assert [line.split()[0] for line in write_user_files()] == ["written", "written"]
    assert [line.split()[0] for line in write_user_files()] == ["present", "present"]


def test_an_edited_file_is_kept() -> None:
    list(write_user_files())
    edited = Path(EXTERNAL_APIS_DIR).expanduser() / "transcripts.yaml"
    edited.write_text("name: mine\n")
    assert [line.split()[0] for line in write_user_files()] == ["present", "kept"]
    assert edited.read_text() == "name: mine\n"


def test_a_place_that_cannot_be_written_is_named(home: Path) -> None:
    (home / ".llama").touch()
    with pytest.raises(ConfigurationError, match=r"\.llama") as fault:
        list(write_user_files())
    assert str(fault.value).count("\n") == 0
