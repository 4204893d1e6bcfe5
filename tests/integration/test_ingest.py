"""Documentation becomes an index, only what changed is embedded, and nothing breaks either."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pump_manual import (
    BACKUPS,
    HASHED_WORDS,
    LUBRICATION,
    PRESSURE,
    Counting,
    HashedWords,
    about,
    build,
    build_really,
    manual,
    real_encoder,
    search,
    written,
)
from typer.testing import CliRunner

from lightspeed_providers.core.errors import ConfigurationError, LightspeedError
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.progress import shown_left
from lightspeed_providers.product_rag import cli
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.index.open import open_index
from lightspeed_providers.product_rag.index.packing import unpacked
from lightspeed_providers.product_rag.ingest import demo as demo_source
from lightspeed_providers.product_rag.ingest import reading as reading_module
from lightspeed_providers.product_rag.ingest.address import doc_url
from lightspeed_providers.product_rag.ingest.build import BuildResult
from lightspeed_providers.product_rag.ingest.markdown import parse_markdown, parse_plain_text
from lightspeed_providers.product_rag.ingest.page import Kind
from lightspeed_providers.product_rag.ingest.reading import Documentation
from lightspeed_providers.product_rag.ingest.restructuredtext import parse_restructuredtext
from lightspeed_providers.product_rag.ingest.sphinx_markup import shown_text
from lightspeed_providers.product_rag.retrieval import Retriever, SearchSettings


def contents(directory: Path) -> dict[str, str]:
    """The hash of every file by its name; the lock says nothing about an index."""
    files = (path for path in directory.iterdir() if path.name != ".lock")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def named_files(directory: Path) -> set[str]:
    """The files that an index consists of."""
    return {"manifest.json", *(file.name for file in read_manifest(directory).sealed)}


def passage_ids(directory: Path) -> dict[str, str]:
    """Every passage's id with its text."""
    with closing(open_index(directory, None)) as index, index.snapshot() as snapshot:
        rows = snapshot.connection.execute(
            "SELECT passage_id, content FROM places JOIN texts USING (position)"
        )
        return {passage_id: unpacked(content) for passage_id, content in rows}


# Parsing


def test_restructuredtext_reads_like_its_html() -> None:
    said = io.StringIO()
    with redirect_stderr(said):
        page = parse_restructuredtext(BACKUPS, "guide/backups")
    assert said.getvalue() == ""
    assert page.title == "Backups"
    text = "\n".join(block.text for section in page.sections for block in section.blocks)
    for shown in (
        "See restore and restoring.",
        "Set BACKUP_RETENTION_DAYS to choose",
        "A strange role keeps its text, Archive shows its last name.",
        "```python\nBACKUP_RETENTION_DAYS = 14\n\ndef keep(days):\n    return days <=",
        "Warning: A retention of zero",
        "New in version 2.1: Copies are compressed.",
        "with an argument",
        "Text inside a directive that nobody knows.",
        "| Place | Meaning |\n| --- | --- |\n| local | the disk of the pump |",
        "retention\n  How long a copy is kept",
        "Archive(path, *, compressed=True)",
    ):
        assert shown in text
    for left_out in ("never-shown", "<script>", "root:", "toctree", "unheardof"):
        assert left_out not in text
    places = {section.anchor: section.heading_path for section in page.sections}
    assert places["nightly-backups"] == ("Nightly backups",)
    assert places["where-copies-go"] == ("Nightly backups", "Where copies go")
    assert places["pump.backup.Archive"] == ("Programming", "Archive")
    assert places["pump.backup.Archive.restore"] == ("Programming", "Archive", "restore()")


def test_what_the_parser_stumbles_over_is_told_and_kept() -> None:
    text = "A\n===\n\none\n\n- item\n\n  Odd place\n  =========\n\n  two\n\n=====\nB\n\nthree\n"
    page = parse_restructuredtext(text, "odd")
    assert page.problems[0] == "line 9: Unexpected section title."
    shown = "\n".join(block.text for section in page.sections for block in section.blocks)
    assert [w for w in ("one", "item", "Odd place", "two", "B", "three") if w not in shown] == []


@pytest.mark.parametrize(
    ("role", "text", "shown"),
    [
        ("class", "~django.db.models.Model", "Model"),
        ("class", "!Model", "Model"),
        ("py:meth", "save", "save()"),
        ("func", "reverse()", "reverse()"),
        ("ref", "the title <label>", "the title"),
        ("ref", "a title\nover lines\n<label>", "a title over lines"),
        ("ticket", "123", "#123"),
        ("menuselection", "File --> Open", "File --> Open"),
    ],
)
def test_roles_show_what_a_reader_sees(role: str, text: str, shown: str) -> None:
    assert shown_text(role, text) == shown


def test_markdown_keeps_code_and_tables() -> None:
    page = parse_markdown("---\nauthor: me\n---\n" + PRESSURE, "pressure")
    assert page.title == "Pressure alarms"
    assert [(s.heading_path, s.anchor) for s in page.sections] == [
        ((), "pressure-alarms"),
        (("Silence an alarm",), "silence-an-alarm"),
    ]
    kinds = {block.kind: block.text for block in page.sections[1].blocks}
    assert kinds[Kind.CODE] == "```sh\npumpctl alarm silence --minutes 30\n```"
    assert kinds[Kind.TABLE].endswith("| E-102 | pressure too high |")


def test_plain_text_is_called_by_its_first_line() -> None:
    assert parse_plain_text(LUBRICATION, "lubrication").title == "Lubrication"
    assert parse_plain_text("only one paragraph", "a/notes").title == "notes"
    assert parse_plain_text("", "empty").sections == ()


@pytest.mark.parametrize(
    ("template", "path", "url"),
    [
        ("https://x/{version}/{path}/#{anchor}", "db/index", "https://x/2/db/#a"),
        ("https://x/{version}/{path}/#{anchor}", "index", "https://x/2/#a"),
        ("https://x/{path}.html#{anchor}", "db/index", "https://x/db/index.html#a"),
        ("https://x/{product}/{path}", "with space", "https://x/P/with%20space"),
    ],
)
def test_addresses(template: str, path: str, url: str) -> None:
    assert doc_url(template, path=path, anchor="a", version="2", product="P") == url


# Building


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Documentation, Path, BuildResult]:
    folder = tmp_path_factory.mktemp("rag")
    wanted = manual(folder / "docs")
    return wanted, folder / "index", build_really(wanted, folder / "index")


@pytest.fixture
def docs(tmp_path: Path) -> Documentation:
    return manual(tmp_path / "docs")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_a_build_tells_what_it_did(built: tuple[Documentation, Path, BuildResult]) -> None:
    _, directory, result = built
    assert result.pages == 4
    assert result.passages == result.embedded == read_manifest(directory).passages >= 6
    assert result.tokens > 100
    assert [name for name, _ in result.skipped] == ["broken"]
    assert "not text" in result.skipped[0][1]
    assert result.left_out == ((".svg", 1),)
    assert contents(directory).keys() == named_files(directory)


def test_the_manifest_says_what_the_index_holds(
    built: tuple[Documentation, Path, BuildResult],
) -> None:
    manifest = read_manifest(built[1])
    (release,) = manifest.releases
    assert (release.product, release.version, release.language) == ("Acme Pump", "2.1", "en")
    assert (release.pages, release.passages) == (4, manifest.passages)
    assert (manifest.embedding_model, manifest.dimension) == (DEFAULT_EMBEDDING_MODEL, 384)
    assert manifest.name == "Acme Pump 2.1"


def test_the_same_again_builds_nothing_without_torch(
    built: tuple[Documentation, Path, BuildResult],
) -> None:
    wanted, directory, _ = built
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from lightspeed_providers.product_rag.cli import ingest\n"
        f"ingest(Path({str(wanted.source)!r}), {wanted.product!r}, {wanted.version!r},\n"
        f"  {wanted.url_template!r}, {wanted.title!r}, out=Path({str(directory)!r}))\n"
        "assert not {'torch', 'faiss', 'docutils'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_changed_pages_make_a_new_index_and_leave_nothing_of_the_old(
    docs: Documentation, index: Path
) -> None:
    build(docs, index)
    first = set(contents(index))
    with closing(open_index(index, HASHED_WORDS)) as reader:
        (docs.source / "lubrication.txt").write_text("Lubrication\n\nUse whale oil, weekly.")
        assert not build(docs, index).unchanged
        second = set(contents(index))
        assert first & second == {"manifest.json"}
        assert second == named_files(index)
        assert "whale" in search(index, "whale oil").passages[0].content
        vector = HashedWords().encode(["grease the bearing"])[0]
        old = Retriever(reader).search("grease the bearing", vector, SearchSettings())
        assert "food safe grease" in old.passages[0].content  # a reader goes on with the old one


def test_an_interrupted_build_leaves_the_old_index(docs: Documentation, index: Path) -> None:
    build(docs, index)
    before = contents(index)
    (docs.source / "new.md").write_text("# New\n\nSomething that was not there.")
    with pytest.raises(KeyboardInterrupt):
        build(docs, index, Counting(HashedWords(), breaks_at_call=1))
    assert contents(index) == before
    assert search(index, "grease").passages


def test_searches_go_on_while_the_index_is_replaced(docs: Documentation, index: Path) -> None:
    build(docs, index)
    stop = threading.Event()
    faults: list[BaseException] = []
    opened = 0

    def keep_opening() -> None:
        nonlocal opened
        while not stop.is_set():
            try:
                open_index(index, HASHED_WORDS).close()
                opened += 1
            except BaseException as fault:
                faults.append(fault)

    reader = threading.Thread(target=keep_opening)
    reader.start()
    for version in range(5):
        build(replace(docs, version=f"3.{version}"), index)
    stop.set()
    reader.join()
    assert faults == []
    assert opened > 5
    assert [release.version for release in read_manifest(index).releases] == ["3.4"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": Path("/nowhere")}, "/nowhere"),
        ({"url_template": "https://x/{page}"}, "{page}"),
    ],
)
def test_wrong_wishes_are_one_line(
    docs: Documentation, index: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$") as caught:
        build(replace(docs, **change), index)
    assert says in str(caught.value)
    assert not index.exists()


def test_links_do_not_lead_out_of_the_source(
    docs: Documentation, index: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("# Secret\n\nThe password is swordfish.")
    (docs.source / "link.md").symlink_to(tmp_path / "secret.md")
    build(docs, index)
    assert all("swordfish" not in text for text in passage_ids(index).values())


def test_a_language_is_told_and_kept(docs: Documentation, index: Path) -> None:
    build(replace(docs, language="de"), index)
    assert read_manifest(index).name == "Acme Pump 2.1 (de)"
    assert {passage.language for passage in search(index, "grease", k=9).passages} == {"de"}


def test_a_pages_own_attribute_goes_before_its_documentations(tmp_path: Path, index: Path) -> None:
    pages = {
        "a.md": "---\naudience: admin\n---\n# A\n\nFor those who run it.",
        "b.md": "---\naudience: zealot\n---\n# B\n\nFor the others who use it.",
        "c.md": "# C\n\nFor everybody else there is.",
    }
    said = (("audience", "user"), ("edition", "free"))
    build(about(written(tmp_path / "docs", pages), attributes=said), index)
    found = {p.title: p.attributes for p in search(index, "for", k=9).passages}
    assert found == {
        "A": {"audience": "admin", "edition": "free"},
        "B": {"audience": "zealot", "edition": "free"},
        "C": {"audience": "user", "edition": "free"},
    }


# Building again


PAGES = {
    "one.md": "# One\n\nThe first page is about valves, and says how they are opened by hand.",
    "two.md": "# Two\n\nThe second page is about filters, and says when they are to be cleaned.",
    "three.md": "# Three\n\nThe third page is about hoses, and says which of them fit the pump.",
    "four.md": "# Four\n\nThe fourth page is about alarms, and says what every one of them means.",
}


def test_only_changed_passages_are_embedded(tmp_path: Path, index: Path) -> None:
    wanted = about(written(tmp_path / "docs", PAGES))
    model = DEFAULT_EMBEDDING_MODEL
    first = Counting(real_encoder())
    assert build(wanted, index, first, model=model).embedded == len(first.texts) == 4
    before = passage_ids(index)
    written(tmp_path / "docs", {"two.md": "# Two\n\nFilters need no cleaning any more."})
    second = Counting(real_encoder())
    assert build(wanted, index, second, model=model).embedded == 1
    assert second.texts == ["Two\nFilters need no cleaning any more."]
    after = passage_ids(index)
    assert len(before.items() & after.items()) == 3
    third = Counting(real_encoder())
    assert build(wanted, index, third, model=model, force=True).embedded == 0
    assert third.texts == []
    assert passage_ids(index) == after


def test_a_page_that_was_removed_is_gone(tmp_path: Path, index: Path) -> None:
    wanted = about(written(tmp_path / "docs", PAGES))
    build(wanted, index)
    (tmp_path / "docs" / "three.md").unlink()
    encoder = Counting(HashedWords())
    assert build(wanted, index, encoder).pages == 3
    assert encoder.texts == []
    assert all("hoses" not in text for text in passage_ids(index).values())
    assert all("hoses" not in p.content for p in search(index, "hoses fit the pump").passages)


def test_an_unrelated_edit_changes_no_passage_id(tmp_path: Path, index: Path) -> None:
    sections = [f"## Part {n}\n\n{' '.join(f'w{n}x{m}' for m in range(40))}." for n in range(9)]
    source = written(tmp_path / "docs", PAGES | {"long.md": "# Long\n\n" + "\n\n".join(sections)})
    build(about(source), index)
    before = passage_ids(index)
    sections.insert(3, "## New\n\n" + " ".join(f"new{m}" for m in range(40)) + ".")
    sections[7] = sections[7].replace("x39", "x39 and more")
    written(source, {"long.md": "# Long\n\n" + "\n\n".join(sections), "zero.md": "# Zero\n\nNo."})
    build(about(source), index)
    after = passage_ids(index)
    assert len(before.items() - after.items()) == 1
    assert len(after.items() - before.items()) == 3


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = written(tmp_path / "docs", PAGES | {"guide/backups.rst": BACKUPS})
    for name in ("first", "second"):
        build_really(about(source), tmp_path / name)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_the_order_of_releases_changes_no_byte(tmp_path: Path) -> None:
    for name, versions in {"up": ("1.0", "2.0"), "down": ("2.0", "1.0")}.items():
        for version in versions:
            build(manual(tmp_path / version, version), tmp_path / name, add=True)
    up, down = contents(tmp_path / "up"), contents(tmp_path / "down")
    assert up.keys() == down.keys()
    assert up == down


def test_pages_read_in_processes_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "docs", PAGES | {"guide/backups.rst": BACKUPS})
    build(about(source), tmp_path / "here")
    monkeypatch.setattr(reading_module, "_FEW_FILES", 0)
    build(about(source), tmp_path / "apart")
    assert contents(tmp_path / "here") == contents(tmp_path / "apart")


@pytest.mark.parametrize(
    "change",
    [
        {"url_template": "https://new.example.com/{path}"},
        {"title": "Another title"},
        {"attributes": (("audience", "admin"),)},
        {"version": "2.2"},
        {"product": "Bcme Pump"},
        {"exclude": frozenset({"pressure.md"})},
    ],
)
def test_what_is_said_of_pages_is_new_without_embedding_them_again(
    docs: Documentation, index: Path, change: dict[str, Any]
) -> None:
    build(docs, index)
    encoder = Counting(HashedWords())
    result = build(replace(docs, **change), index, encoder)
    assert not result.unchanged
    assert encoder.texts == []


def test_the_same_text_twice_under_a_heading_is_one_passage(tmp_path: Path, index: Path) -> None:
    text = " ".join(f"word{n}" for n in range(170)) + "."
    source = written(tmp_path / "docs", {"a.md": f"# A\n\n{text}\n\n{text}\n\n## B\n\n{text}"})
    result = build(about(source), index)
    assert result.passages == len(passage_ids(index))
    assert len({passage.doc_url for passage in search(index, text, k=9).passages}) == 1


def test_nothing_is_added_to_an_index_of_another_model(docs: Documentation, index: Path) -> None:
    build(docs, index)
    before = contents(index)
    newer = replace(docs, version="3.0")
    with pytest.raises(ConfigurationError, match=rf"^[^\n]*'{HASHED_WORDS}'[^\n]*$"):
        build(newer, index, model="other words", add=True)
    assert contents(index) == before
    assert build(newer, index, model="other words").passages == 7


@pytest.mark.parametrize("damage", ["manifest.json", "vectors", "passages_file"])
def test_nothing_is_added_to_a_damaged_index(docs: Documentation, index: Path, damage: str) -> None:
    build(docs, index)
    manifest = read_manifest(index)
    if damage == "manifest.json":
        (index / damage).write_text("{")
    else:
        (index / getattr(manifest, damage).name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$"):
        build(replace(docs, version="3.0"), index, add=True)
    build(replace(docs, version="3.0"), index)
    assert read_manifest(index).name == "Acme Pump 3.0"


def many(root: Path, passages: int) -> Documentation:
    """Pages whose texts take several batches to embed."""
    sections = [
        f"## Part {n}\n\n" + " ".join(f"w{n}x{m}" for m in range(35)) for n in range(passages)
    ]
    return about(written(root, {"many.md": "# Many\n\n" + "\n\n".join(sections)}))


def test_an_interrupted_build_goes_on_where_it_was(tmp_path: Path, index: Path) -> None:
    wanted = many(tmp_path / "docs", passages=600)
    broken = Counting(HashedWords(), breaks_at_call=3)
    with pytest.raises(KeyboardInterrupt):
        build(wanted, index, broken)
    going_on = Counting(HashedWords())
    result = build(wanted, index, going_on)
    assert result.passages == 600
    assert result.embedded == len(going_on.texts) == 600 - len(broken.texts)
    assert not set(going_on.texts) & set(broken.texts)
    fresh = tmp_path / "fresh"
    build(wanted, fresh)
    assert contents(index) == contents(fresh)


KILLED = """
import sys, time
from pathlib import Path
from pump_manual import HashedWords, about, build

class Halting(HashedWords):
    calls = 0
    def encode(self, texts):
        self.calls += 1
        if self.calls == 2:
            print("half way", flush=True)
            time.sleep(60)
        return super().encode(texts)

build(about(Path(sys.argv[1])), Path(sys.argv[2]), Halting())
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, index: Path) -> None:
    wanted = many(tmp_path / "docs", passages=400)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(wanted.source), str(index)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half way\n"
        child.send_signal(signal.SIGKILL)
    with pytest.raises(ConfigurationError, match="No documentation index"):
        read_manifest(index)
    encoder = Counting(HashedWords())
    assert build(wanted, index, encoder).passages == 400
    assert 0 < len(encoder.texts) <= 400 - 256
    assert contents(index).keys() == named_files(index)


def test_a_failed_file_stops_a_strict_build_and_leaves_the_old_index(
    docs: Documentation, index: Path
) -> None:
    build(docs, index)
    before = contents(index)
    (docs.source / "worse.md").write_bytes(b"\x00\x01\x02")
    encoder = Counting(HashedWords())
    with pytest.raises(ConfigurationError, match=r"^'broken' and 1 more can't be read .*--strict"):
        build(docs, index, encoder, strict=True)
    assert contents(index) == before
    assert encoder.texts == []


def test_a_source_that_gives_no_text_is_refused(tmp_path: Path, index: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "only.md").write_bytes(b"\x00\x01\x02")
    with pytest.raises(ConfigurationError, match=r"^[^\n]*gives no text: 'only' is"):
        build(about(tmp_path / "docs"), index)


# The commands


class Shell:
    """Runs the commands in this process, with the model that the other tests have loaded."""

    def __init__(self, docs: Path, index: Path) -> None:
        self._arguments = ["ingest", str(docs), "--product", "Acme Pump", "--out", str(index)]

    def ingest(self, *arguments: str, version: str = "2.1") -> Any:  # Any: click's result
        return CliRunner().invoke(
            cli.app, [*self._arguments, "--version", version, "--device", "auto", *arguments]
        )


@pytest.fixture
def shell(tmp_path: Path, index: Path) -> Shell:
    return Shell(written(tmp_path / "docs", PAGES), index)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ingest", "--help"], 0),
        (["ingest"], 2),
        (["ingest", "docs", "--product", "P"], 2),
        (["ingest", "docs", "--product", " ", "--version", "1"], 2),
        (["ingest", "docs", "--product", "P", "--version", " "], 2),
        (["ingest", ".", "--product", "P", "--version", "1", "--attribute", "audience"], 2),
        (["ingest", ".", "--product", "P", "--version", "1", "--attribute", "=admin"], 2),
        (["demo", "--nonsense"], 2),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli.app, arguments).exit_code == code


def test_ingest_builds_beside_what_it_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    manual(tmp_path / "docs")
    arguments = ["ingest", str(tmp_path / "docs"), "--product", "Acme Pump", "--version", "2.1"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "broken: not text" in done.stderr
    assert "Files that are not read: 1 .svg" in done.stderr
    index = tmp_path / "state" / "indexes" / "acme-pump"
    assert read_manifest(index).name == "Acme Pump 2.1"


def test_the_last_line_says_what_was_done(shell: Shell, index: Path) -> None:
    built = shell.ingest()
    assert built.exit_code == 0, built.output
    line = built.stdout.strip().split("\n")[-1]
    assert line.startswith("Index built: 4 pages, 4 passages, ")
    assert ", 4 texts embedded, 0 files skipped, " in line
    assert line.endswith(f" s, in {index}")
    assert shell.ingest().stdout.startswith("Index is up to date: 4 pages, 4 passages, ")
    assert ", 0 texts embedded, " in shell.ingest("--force").stdout


def test_add_keeps_what_is_there_and_without_it_the_index_is_replaced(
    shell: Shell, index: Path
) -> None:
    shell.ingest(version="1.0")
    added = shell.ingest("--add", version="2.0")
    assert ", 0 texts embedded, " in added.stdout
    assert read_manifest(index).name == "Acme Pump 1.0, Acme Pump 2.0"
    assert shell.ingest("--add", version="1.0").stdout.startswith("Index is up to date: 8 pages")
    shell.ingest(version="2.0")
    assert read_manifest(index).name == "Acme Pump 2.0"


def test_add_replaces_the_same_release(shell: Shell, index: Path, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        shell.ingest("--add", version=version)
    (tmp_path / "docs" / "three.md").unlink()
    assert shell.ingest("--add", version="2.0").exit_code == 0
    pages = {release.version: release.pages for release in read_manifest(index).releases}
    assert pages == {"1.0": 4, "2.0": 3}


def test_language_and_attributes_are_the_passages(shell: Shell, index: Path) -> None:
    done = shell.ingest(
        "--language", "de", "--attribute", "audience=admin", "--attribute", "formula=a=b"
    )
    assert done.exit_code == 0, done.output
    best = search(index, "valves").passages[0]
    assert best.language == "de"
    assert best.attributes == {"audience": "admin", "formula": "a=b"}


def test_strict_fails_in_one_line(shell: Shell, index: Path, tmp_path: Path) -> None:
    (tmp_path / "docs" / "broken.md").write_bytes(b"\x00\x01")
    assert shell.ingest().exit_code == 0
    before = contents(index)
    done = shell.ingest("--strict", "--force")
    assert done.exit_code == 1
    assert isinstance(done.exception, LightspeedError)
    assert str(done.exception).startswith("'broken' can't be read (not text")
    assert contents(index) == before


def test_nothing_usable_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    arguments = ["ingest", str(tmp_path), "--product", "P", "--version", "1"]
    arguments += ["--out", str(tmp_path / "index")]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, LightspeedError)
    assert "no files that end in .rst" in str(done.exception)


@pytest.mark.parametrize(
    ("product", "directory"),
    [
        ("Acme Pump", "acme-pump"),
        ("../../etc", "etc"),
        ("C++ & Co.", "c-co"),
        ("水泵", "水泵"),
        ("..", None),
        ("/", None),
    ],
)
def test_a_products_index_stays_in_the_state_directory(product: str, directory: str | None) -> None:
    if directory is None:
        with pytest.raises(ConfigurationError, match="--out"):
            cli._directory_name(product)
        return
    assert cli._directory_name(product) == directory


# The demo product


def packed(folder: Path, members: dict[str, str]) -> Path:
    archive = folder / demo_source._ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return archive


def test_only_pages_are_unpacked_and_only_below_the_target(tmp_path: Path) -> None:
    base = f"django-{demo_source._VERSION}"
    archive = packed(
        tmp_path,
        {
            f"{base}/docs/intro.txt": "Intro",
            f"{base}/docs/conf.py": "code",
            f"{base}/LICENSE": "BSD",
            f"{base}/setup.py": "code",
        },
    )
    demo_source._unpack(archive, tmp_path / base)
    files = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / base).rglob("*.*")}
    assert files == {f"{base}/docs/intro.txt"}
    assert (tmp_path / base / "LICENSE").read_text() == "BSD"
    wicked = packed(tmp_path, {f"{base}/docs/../../../escaped.txt": "gotcha"})
    with pytest.raises(tarfile.TarError):
        demo_source._unpack(wicked, tmp_path / base)
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_without_a_network_the_demo_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    started = time.monotonic()
    with pytest.raises(LightspeedError, match=r"^[^\n]+$") as caught:
        demo_source.demo_documentation(tmp_path / "sources")
    assert "no connection to the package index" in str(caught.value)
    assert time.monotonic() - started < 30
    assert list((tmp_path / "sources").iterdir()) == []


def test_old_release_notes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    for name in ("1.11.txt", "4.1.txt", "4.2.3.txt", "5.2.txt", "index.txt"):
        (tmp_path / "releases" / name).write_text("x")
    assert demo_source._old_release_notes(tmp_path) == {"releases/1.11.txt", "releases/4.1.txt"}


@pytest.mark.parametrize(
    ("done", "total", "seconds", "shown"),
    [
        (1, 100, 0.1, ""),
        (50, 200, 2.0, ", 25/s, 0 min 6 s left"),
        (100, 7300, 10.0, ", 10/s, 12 min 0 s left"),
        (200, 200, 8.0, ""),
    ],
)
def test_a_long_build_says_its_rate_and_the_time_left(
    done: int, total: int, seconds: float, shown: str
) -> None:
    assert shown_left(done, total, seconds) == shown
