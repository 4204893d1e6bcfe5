"""Documents change in a large index without building it again, and a server sees it at once."""

import time
from pathlib import Path

import pytest
from pump_manual import HASHED_WORDS, Counting, HashedWords, about, asks, build, search, written
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag import cli
from lightspeed_providers.product_rag import current as current_module
from lightspeed_providers.product_rag.current import CurrentIndex
from lightspeed_providers.product_rag.index.inspect import differences, problems_of
from lightspeed_providers.product_rag.index.live import LiveWriter
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.ingest.build import BuildResult
from lightspeed_providers.product_rag.ingest.reading import Documentation
from lightspeed_providers.product_rag.ingest.update import update_index

PAGES = {
    "one.md": "# One\n\nThe first page is about pumps, and says how they are switched on.",
    "two.md": "# Two\n\nThe second page is about filters, and says when they are to be cleaned.",
    "three.md": "# Three\n\nThe third page is about hoses, and says which of them fit the pump.",
}


def update(
    documentation: Documentation, directory: Path, encoder: Counting | None = None
) -> BuildResult:
    return update_index(
        documentation,
        directory,
        model=HASHED_WORDS,
        encoder=lambda: encoder or HashedWords(),
        report=lambda stage, done, total: None,
    )


def test_only_what_differs_is_written_and_the_result_is_that_of_a_build(tmp_path: Path) -> None:
    wanted = about(written(tmp_path / "docs", PAGES))
    index, anew = tmp_path / "index", tmp_path / "anew"
    build(wanted, index)
    ask = asks(index)
    written(
        tmp_path / "docs",
        {"two.md": "# Two\n\nFilters are for ever.", "four.md": "# Four\n\nAlarms ring at night."},
    )
    (tmp_path / "docs" / "three.md").unlink()
    encoder = Counting(HashedWords())
    result = update(wanted, index, encoder)
    assert sorted(encoder.texts) == ["Four\nAlarms ring at night.", "Two\nFilters are for ever."]
    assert (result.pages, result.passages, result.embedded) == (3, 3, 2)
    assert (result.unchanged, result.is_live) == (False, True)
    build(wanted, anew)
    assert list(differences(index, anew)) == []
    assert list(problems_of(index)) == []
    found = search(index, "filters are for ever").passages[0]
    assert (found.title, found.content) == ("Two", "Filters are for ever.")
    assert "hoses" in ask("hoses fit the pump").passages[0].content, "opened before, still whole"

    assert update(wanted, index, encoder).unchanged
    assert len(encoder.texts) == 2
    with LiveWriter(index) as writer:
        writer.seal()
    assert read_manifest(index).passages_file == read_manifest(anew).passages_file


def test_another_version_is_added_beside_the_first(tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(about(written(tmp_path / "docs", PAGES)), index)
    newer = written(tmp_path / "newer", {"one.md": "# One\n\nPumps switch themselves on."})
    update(about(newer, version="3.0"), index)
    assert {release.version for release in read_manifest(index).releases} == {"2.1", "3.0"}
    assert search(index, "pumps switch on").passages[0].version == "3.0"
    assert search(index, "pumps in 2.1").passages[0].version == "2.1"


def test_a_server_sees_changes_in_place_and_the_sealed_index_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_module, "_LOOK_EVERY_S", 0.0)
    docs, index = written(tmp_path / "docs", PAGES), tmp_path / "index"
    build(about(docs), index)
    served = CurrentIndex(index, HASHED_WORDS)

    def contents() -> set[str]:
        with served.in_use() as opened, opened.snapshot() as snapshot:
            places = snapshot.stored(range(snapshot.count()))
            return {stored.passage.content for stored in places.values()}

    def sees(text: str) -> bool:
        deadline = time.monotonic() + 10
        while text not in contents():
            assert time.monotonic() < deadline, text
            time.sleep(0.01)
        return True

    written(docs, {"two.md": "# Two\n\nFilters are for ever."})
    update(about(docs), index)
    assert sees("Filters are for ever.")
    with served.in_use() as opened:
        live = opened
    written(docs, {"two.md": "# Two\n\nFilters are no more."})
    update(about(docs), index)
    assert "Filters are no more." in contents(), "the next search sees it"
    with served.in_use() as opened:
        assert opened is live, "nothing was opened again"
    with LiveWriter(index) as writer:
        writer.seal()
    assert sees("Filters are no more.")
    assert served.problem is None
    served.close()


def test_what_can_not_be_changed_is_one_line(tmp_path: Path) -> None:
    wanted = about(written(tmp_path / "docs", PAGES))
    with pytest.raises(ConfigurationError, match="No documentation index"):
        update(wanted, tmp_path / "none")
    build(wanted, tmp_path / "index")
    moved = about(tmp_path / "docs", url_template="https://elsewhere.example/{path}")
    with pytest.raises(ConfigurationError, match="build it again"):
        update(moved, tmp_path / "index")
    assert not read_manifest(tmp_path / "index").live


def test_the_command_changes_an_index_in_place(tmp_path: Path) -> None:
    docs = written(tmp_path / "docs", PAGES)
    whole = ["ingest", str(docs), "--product", "Acme", "--version", "1", "--out"]
    whole += [str(tmp_path / "index"), "--device", "auto"]
    assert CliRunner().invoke(cli.app, whole).exit_code == 0
    written(docs, {"two.md": "# Two\n\nFilters are for ever."})
    done = CliRunner().invoke(cli.app, [*whole, "--in-place"])
    assert done.exit_code == 0, done.output
    assert "Index changed in place: 3 pages, 3 passages" in done.output
    assert "1 texts embedded" in done.output
    assert CliRunner().invoke(cli.app, [*whole, "--in-place", "--force"]).exit_code == 2
