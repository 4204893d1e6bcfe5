"""Documentation becomes an index, a question finds its passages, and nothing breaks either."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
from llama_stack_api import Api, OpenAIEmbeddingsRequestWithExtraBody
from typer.testing import CliRunner

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    LightspeedError,
    NotFoundError,
)
from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
from lightspeed_providers.embeddings.embeddings import LightspeedEmbeddingsImpl
from lightspeed_providers.product_rag import cli, get_provider_impl
from lightspeed_providers.product_rag.config import LightspeedRagConfig
from lightspeed_providers.product_rag.fusion import fuse
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.index.open import Index, open_index
from lightspeed_providers.product_rag.ingest import demo as demo_source
from lightspeed_providers.product_rag.ingest.address import doc_url
from lightspeed_providers.product_rag.ingest.build import (
    BuildResult,
    Documentation,
    build_index,
)
from lightspeed_providers.product_rag.ingest.chunk import Measure, pieces_of
from lightspeed_providers.product_rag.ingest.markdown import parse_markdown, parse_plain_text
from lightspeed_providers.product_rag.ingest.page import Block, Kind, Page, Section
from lightspeed_providers.product_rag.ingest.restructuredtext import parse_restructuredtext
from lightspeed_providers.product_rag.ingest.sphinx_markup import shown_text
from lightspeed_providers.product_rag.keywords import match_expression, names_identifier
from lightspeed_providers.product_rag.product_rag import LightspeedRagImpl
from lightspeed_providers.product_rag.retrieval import Retriever, SearchResult

BACKUPS = """
=======
Backups
=======

.. toctree::
   :maxdepth: 1

   never-shown

The pump keeps copies of its measurements. See :doc:`restore </restore>` and :ref:`restoring`.

.. _nightly:

Nightly backups
===============

Set :setting:`BACKUP_RETENTION_DAYS` to choose how many nightly copies are kept on the disk.
A :unheardof:`strange role` keeps its text, :class:`~pump.backup.Archive` shows its last name.

.. code-block:: python

    BACKUP_RETENTION_DAYS = 14

    def keep(days):
        return days <= BACKUP_RETENTION_DAYS

.. warning::

    A retention of zero deletes every copy at midnight.

.. versionadded:: 2.1

    Copies are compressed.

.. unheardof-directive:: with an argument

   Text inside a directive that nobody knows.

Where copies go
---------------

========== ===================
Place      Meaning
========== ===================
``local``  the disk of the pump
``remote`` an object store
========== ===================

retention
    How long a copy is kept before it is deleted.

.. module:: pump.backup

Programming
===========

.. class:: Archive(path, *, compressed=True)

    An archive of measurements that were taken by one pump, kept in one file on the disk, and
    opened for reading by every program that wants to compare today's pressure with the past.

    .. method:: restore(day)

        Puts back the measurements of one day. Later days stay as they are, and whatever was
        measured on that day by other pumps is left alone, so that nothing else is ever lost.

.. raw:: html

   <script>never()</script>

.. include:: /etc/passwd
"""

PRESSURE = """
# Pressure alarms

The pump rings when the pressure in the pipe leaves the range that you allow for it.

## Silence an alarm

Press the round button for three seconds. The bell stays silent until the pressure is normal again.

```sh
pumpctl alarm silence --minutes 30
```

| Code | Meaning |
| ---- | ------- |
| E-101 | pressure too low |
| E-102 | pressure too high |
"""

LUBRICATION = """Lubrication

Grease the bearing of the motor every six months with the food safe grease of the spare part kit.
"""


def documentation(root: Path) -> Documentation:
    root.mkdir(parents=True, exist_ok=True)
    (root / "guide").mkdir(exist_ok=True)
    (root / "guide" / "backups.rst").write_text(BACKUPS)
    (root / "guide" / "index.rst").write_text("Guide\n=====\n\nEverything about running a pump.\n")
    (root / "pressure.md").write_text(PRESSURE)
    (root / "lubrication.txt").write_text(LUBRICATION)
    (root / "broken.rst").write_bytes(b"Title\n=====\n\n\xff\xfe not UTF-8")
    (root / "picture.svg").write_text("<svg/>")
    return Documentation(
        source=root,
        product="Acme Pump",
        version="2.1",
        title="Acme Pump manual",
        url_template="https://docs.example.com/{version}/{path}/#{anchor}",
    )


def build(
    wanted: Documentation, directory: Path, *, force: bool = False, encoder: object = None
) -> BuildResult:
    def embedder() -> Embedder:
        return encoder or shared_embedder(DEFAULT_EMBEDDING_MODEL)  # type: ignore[return-value]

    return build_index(
        wanted,
        directory,
        model=DEFAULT_EMBEDDING_MODEL,
        encoder=embedder,
        report=lambda stage, done, total: None,
        force=force,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Documentation, Path, BuildResult]:
    folder = tmp_path_factory.mktemp("rag")
    wanted = documentation(folder / "docs")
    return wanted, folder / "index", build(wanted, folder / "index")


@pytest.fixture
def index(built: tuple[Documentation, Path, BuildResult], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built[1], tmp_path / "index"))


def search(directory: Path, query: str, **limits: float) -> SearchResult:
    opened = open_index(directory, DEFAULT_EMBEDDING_MODEL)
    vector = shared_embedder(DEFAULT_EMBEDDING_MODEL).encode([query[:2000]])[0]
    wanted: dict[str, float] = {"k": 5, "max_tokens": 2000, **limits}
    try:
        return Retriever(opened).search(query, vector, **wanted)  # type: ignore[arg-type]
    finally:
        opened.close()


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


# Cutting


def words_of(text: str) -> int:
    return len(text.split())


def page_of(*blocks: Block, path: tuple[str, ...] = ("Section",)) -> Page:
    return Page("p", "Title", (Section(path, "a", blocks),))


def test_no_code_block_is_cut_and_no_text_is_lost() -> None:
    code = Block("```\n" + "\n".join(f"x{n} = {n}" for n in range(150)) + "\n```", Kind.CODE)
    text = Block(" ".join(f"Sentence number {n} says a thing." for n in range(100)))
    pieces = pieces_of(page_of(text, Block("For example:"), code), Measure(254, words_of))
    contents = [piece.content for piece in pieces]
    assert sum(code.text in content for content in contents) == 1
    assert all(words_of(c) <= 180 for c in contents if code.text not in c)
    everything = " ".join(" ".join(contents).split())
    assert " ".join(text.text.split()) in everything


def test_the_sentence_that_announces_code_goes_with_it() -> None:
    code = Block("```\n" + "a = 1\n" * 40 + "```", Kind.CODE)
    blocks = (Block("word " * 90 + "end."), Block("For example:"), code)
    last = pieces_of(page_of(*blocks), Measure(254, words_of))[-1]
    assert last.content.startswith("For example:\n\n```")


def test_a_long_table_is_cut_between_rows_and_repeats_its_head() -> None:
    rows = [f"| setting {n} | what setting {n} does |" for n in range(60)]
    table = Block("\n".join(["| Name | Meaning |", "| --- | --- |", *rows]), Kind.TABLE)
    pieces = pieces_of(page_of(table), Measure(254, words_of))
    assert len(pieces) > 1
    assert all(piece.content.startswith("| Name | Meaning |\n| --- |") for piece in pieces)
    assert [r for p in pieces for r in p.content.split("\n")[2:]] == rows


def test_small_neighbours_are_joined() -> None:
    sections = tuple(Section(("Terms", f"Term {n}"), f"t{n}", (Block("Short."),)) for n in range(3))
    pieces = pieces_of(Page("p", "Title", sections), Measure(254, words_of))
    assert [piece.content for piece in pieces] == [
        "Term 0\nShort.\n\nTerm 1\nShort.\n\nTerm 2\nShort."
    ]
    assert (pieces[0].heading_path, pieces[0].anchor) == (("Terms",), "t0")


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


def test_a_build_tells_what_it_did(built: tuple[Documentation, Path, BuildResult]) -> None:
    _, directory, result = built
    assert result.pages == 4
    assert result.passages == read_manifest(directory).passages >= 6
    assert [name for name, _ in result.skipped] == ["broken"]
    assert "UTF-8" in result.skipped[0][1]
    assert result.left_out == ((".svg", 1),)
    assert sorted(p.suffix for p in directory.iterdir()) == [".faiss", ".json", ".sqlite"]


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
        f"  {wanted.url_template!r}, {wanted.title!r}, Path({str(directory)!r}))\n"
        "assert not {'torch', 'faiss', 'docutils'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_changed_pages_make_a_new_index_and_leave_nothing_of_the_old(tmp_path: Path) -> None:
    wanted = documentation(tmp_path / "docs")
    build(wanted, tmp_path / "index")
    first = {path.name for path in (tmp_path / "index").iterdir()}
    reader = open_index(tmp_path / "index", DEFAULT_EMBEDDING_MODEL)
    (tmp_path / "docs" / "lubrication.txt").write_text("Lubrication\n\nUse whale oil, weekly.")
    assert not build(wanted, tmp_path / "index").unchanged
    second = {path.name for path in (tmp_path / "index").iterdir()}
    assert first & second == {"manifest.json"}
    assert len(second) == 3
    assert "whale" in search(tmp_path / "index", "whale oil").passages[0].content
    # A reader of the old one goes on with it.
    assert len(reader.matching('"grease"', 5)) == 1
    reader.close()


class Breaking:
    """An encoder that dies halfway, as a user's Ctrl-C or a full memory does."""

    def start_loading(self) -> None:
        pass

    def encode(self, texts: object) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_build_leaves_the_old_index(index: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    wanted = documentation(tmp_path / "docs")
    with pytest.raises(KeyboardInterrupt):
        build(wanted, index, force=True, encoder=Breaking())
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before


def test_searches_go_on_while_the_index_is_replaced(index: Path, tmp_path: Path) -> None:
    wanted = documentation(tmp_path / "docs")
    stop = threading.Event()
    faults: list[BaseException] = []
    opened = 0

    def keep_opening() -> None:
        nonlocal opened
        while not stop.is_set():
            try:
                open_index(index, DEFAULT_EMBEDDING_MODEL).close()
                opened += 1
            except BaseException as fault:
                faults.append(fault)

    reader = threading.Thread(target=keep_opening)
    reader.start()
    for version in range(5):
        build(replace(wanted, version=f"3.{version}"), index)
    stop.set()
    reader.join()
    assert faults == []
    assert opened > 5
    assert read_manifest(index).version == "3.4"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": Path("/nowhere")}, "not a directory"),
        ({"url_template": "https://x/{page}"}, "{page}"),
    ],
)
def test_wrong_wishes_are_one_line(tmp_path: Path, change: dict[str, object], says: str) -> None:
    wanted = replace(documentation(tmp_path / "docs"), **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$") as caught:
        build(wanted, tmp_path / "index")
    assert says in str(caught.value)
    assert not (tmp_path / "index").exists()


def test_links_do_not_lead_out_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# Secret\n\nThe password is swordfish.")
    wanted = documentation(tmp_path / "docs")
    (tmp_path / "docs" / "link.md").symlink_to(tmp_path / "secret.md")
    build(wanted, tmp_path / "index")
    assert all("swordfish" not in p.content for p in search(tmp_path / "index", "secret").passages)


# Opening


def only(directory: Path, pattern: str) -> Path:
    return next(directory.glob(pattern))


def truncate(directory: Path) -> None:
    path = only(directory, "*.faiss")
    path.write_bytes(path.read_bytes()[:-100])


def change_a_byte(directory: Path) -> None:
    path = only(directory, "*.sqlite")
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def edit(key: str, value: object) -> object:
    def change(directory: Path) -> None:
        facts = json.loads((directory / "manifest.json").read_text())
        (directory / "manifest.json").write_text(json.dumps(facts | {key: value}))

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "bytes instead of"),
        (change_a_byte, "does not have the hash"),
        (lambda d: only(d, "*.sqlite").unlink(), "can't be read"),
        (lambda d: (d / "manifest.json").unlink(), "lightspeed ingest"),
        (lambda d: (d / "manifest.json").write_text("{"), "build it again"),
        (edit("format_version", 99), "format version 99"),
        (edit("dimension", 768), "768"),
        (edit("pages", "many"), "wrong at 'pages'"),
        (edit("embedding_model", "other/model"), "other/model"),
    ],
)
async def test_a_wrong_index_stops_the_start_with_one_line(
    index: Path, damage: object, says: str
) -> None:
    damage(index)  # type: ignore[operator]
    config = LightspeedRagConfig(index_dir=str(index))
    with pytest.raises(ConfigurationError, match=r"^[^\n]+$") as caught:
        await get_provider_impl(config, {Api.inference: None})
    assert says in str(caught.value)


def test_opening_does_not_import_torch(index: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from lightspeed_providers.product_rag.index.open import open_index\n"
        f"open_index(Path({str(index)!r}), {DEFAULT_EMBEDDING_MODEL!r})\n"
        "assert not {'torch', 'llama_stack', 'llama_stack_api'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_write_protected_index_opens(index: Path) -> None:
    for path in (*index.iterdir(), index):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert search(index, "pressure").passages
    finally:
        index.chmod(0o755)


# Searching


@pytest.mark.parametrize(
    ("query", "anchor"),
    [
        ("How do I make the bell stop ringing?", "silence-an-alarm"),
        ("BACKUP_RETENTION_DAYS", "nightly-backups"),
        ("E-102", "silence-an-alarm"),
        ("Archive.restore", "pump.backup.Archive.restore"),
        ("how often must the motor be greased", ""),
    ],
)
def test_questions_find_their_passage(
    built: tuple[Documentation, Path, BuildResult], query: str, anchor: str
) -> None:
    best = search(built[1], query).passages[0]
    assert best.doc_url.partition("#")[2] == anchor
    assert best.doc_url.startswith("https://docs.example.com/2.1/")
    assert (best.product, best.version) == ("Acme Pump", "2.1")
    assert best.score > 0.5


HOSTILE = [
    '"',
    "'; DROP TABLE passages; --",
    "NEAR(pressure, 3) AND NOT (title:alarm*)",
    "pressure OR AND NOT ^* : { } - +",
    "content : pressure",
    "\x00pressure\x01\x1f",
    "\ud800 lone surrogate",
    "?!.,;:()[]",
    "压力 αβγ žluťoučký",
    "pressure " * 12_000,
    "a" * 100_000,
    "*",
    "col:" * 500,
]


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_no_query_breaks_the_search(
    built: tuple[Documentation, Path, BuildResult], query: str
) -> None:
    opened = open_index(built[1], DEFAULT_EMBEDDING_MODEL)
    vector = shared_embedder(DEFAULT_EMBEDDING_MODEL).encode(["pressure"])[0]
    found = Retriever(opened).search(query, vector, k=3, max_tokens=2000)
    assert len(found.passages) == 3
    assert found.errors == ()
    assert found.took_ms < 1000
    opened.close()


@pytest.mark.parametrize("query", ["", "  \n\t", "\x00"])
def test_an_empty_query_is_refused(
    built: tuple[Documentation, Path, BuildResult], query: str
) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        search(built[1], query)


def test_nothing_is_found_under_the_threshold(
    built: tuple[Documentation, Path, BuildResult],
) -> None:
    off_topic = search(built[1], "Who won the election?", min_cosine=0.4)
    on_topic = search(built[1], "Which pressure alarms are there?", min_cosine=0.4)
    assert off_topic.passages == ()
    assert off_topic.best_cosine < 0.4 < on_topic.best_cosine
    assert on_topic.passages


def test_the_budget_bounds_the_passages(built: tuple[Documentation, Path, BuildResult]) -> None:
    everything = search(built[1], "pump", k=5)
    bounded = search(built[1], "pump", k=5, max_tokens=100)
    assert 1 <= len(bounded.passages) < len(everything.passages)
    assert len(search(built[1], "pump", max_tokens=1).passages) == 1


def test_texts_that_say_the_same_come_once(tmp_path: Path) -> None:
    wanted = documentation(tmp_path / "docs")
    shutil.copy(tmp_path / "docs" / "lubrication.txt", tmp_path / "docs" / "copy.txt")
    build(wanted, tmp_path / "index")
    contents = [p.content for p in search(tmp_path / "index", "grease the bearing").passages]
    assert sum("Grease the bearing" in content for content in contents) == 1


def test_many_threads_share_an_index(built: tuple[Documentation, Path, BuildResult]) -> None:
    opened = open_index(built[1], DEFAULT_EMBEDDING_MODEL)
    vector = shared_embedder(DEFAULT_EMBEDDING_MODEL).encode(["silence the alarm"])[0]
    retriever = Retriever(opened)

    def ask(_: int) -> tuple[str, ...]:
        found = retriever.search("silence the alarm", vector, k=3, max_tokens=2000)
        return tuple(passage.passage_id for passage in found.passages)

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(200)))) == 1
    opened.close()


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("How do I use it?", '"how" OR "do" OR "i" OR "use" OR "it"'),
        ("the SECURE_HSTS setting", '"secure_hsts" OR "setting"'),
        ('say "AND" (or) NOT', '"say" OR "not"'),
        ("django.db.models", '"django.db.models"'),
        ("?!*", None),
    ],
)
def test_match_expressions(text: str, expression: str | None) -> None:
    assert match_expression(text) == expression


@pytest.mark.parametrize(
    ("text", "names_one"),
    [
        ("what is select_related", True),
        ("the --fake flag", True),
        ("django.db", True),
        ("use ForeignKey", True),
        ("How do I log in, e.g. with a password?", False),
    ],
)
def test_identifiers_are_noticed(text: str, names_one: bool) -> None:
    assert names_identifier(text) is names_one


def test_fusion_trusts_the_side_that_stands_out() -> None:
    dense = {n: 0.5 - n / 1000 for n in range(50)}
    words = {40: 12.0} | {n: 1.0 + n / 100 for n in range(10, 20)}
    assert next(iter(fuse(dense, words, exact=False))) == 40
    assert next(iter(fuse(dense, {40: 12.0, 3: 1.0}, exact=True))) == 40
    flat = dict.fromkeys(range(10, 50), 1.0)
    assert next(iter(fuse(dense | {5: 0.9}, flat, exact=False))) == 5
    assert list(fuse(dense, {}, exact=True))[:2] == [0, 1]
    assert fuse({}, {}, exact=False) == {}


# The tool


@pytest.fixture
async def tool(built: tuple[Documentation, Path, BuildResult]) -> LightspeedRagImpl:
    inference = LightspeedEmbeddingsImpl(LightspeedEmbeddingsConfig())
    config = LightspeedRagConfig(index_dir=str(built[1]))
    return await get_provider_impl(config, {Api.inference: inference})


async def test_the_tool_is_listed_with_its_arguments(tool: LightspeedRagImpl) -> None:
    listed = (await tool.list_runtime_tools("lightspeed")).data
    assert [(t.toolgroup_id, t.name) for t in listed] == [("lightspeed", "search_product_docs")]
    assert "Acme Pump 2.1" in (listed[0].description or "")
    assert listed[0].input_schema is not None
    assert listed[0].input_schema["required"] == ["query"]
    assert set(listed[0].input_schema["properties"]) == {
        "query",
        "max_results",
        "product",
        "version",
    }
    assert (await tool.health())["status"] == "OK"


async def test_the_tool_answers_for_a_model_and_for_code(tool: LightspeedRagImpl) -> None:
    arguments = {"query": "How do I silence an alarm?", "max_results": 2, "version": "2.1.7"}
    result = await tool.invoke_tool("search_product_docs", arguments)
    assert isinstance(result.content, str)
    assert result.content.startswith("[1] Pressure alarms › Silence an alarm\n")
    assert "\n\n[2] " in result.content
    assert result.metadata is not None
    passages = [Passage.model_validate(p) for p in result.metadata["passages"]]
    assert len(passages) == 2
    assert passages[0].doc_url == "https://docs.example.com/2.1/pressure/#silence-an-alarm"
    assert result.metadata["best_cosine"] > 0.5
    assert result.metadata["took_ms"] > 0
    assert json.dumps(result.metadata)


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "says"),
    [
        ("other_tool", {"query": "x"}, NotFoundError, "other_tool"),
        ("search_product_docs", {}, InvalidRequestError, "'query'"),
        ("search_product_docs", {"query": 7}, InvalidRequestError, "'query'"),
        ("search_product_docs", {"query": " "}, InvalidRequestError, "empty"),
        ("search_product_docs", {"query": "x", "max_results": 0}, InvalidRequestError, "'max_"),
        ("search_product_docs", {"query": "x", "max_results": 10**4}, InvalidRequestError, "'max_"),
        ("search_product_docs", {"query": "x", "colour": 1}, InvalidRequestError, "'colour'"),
        ("search_product_docs", {"query": "x", "product": "Foo"}, InvalidRequestError, "Foo"),
        ("search_product_docs", {"query": "x", "version": "3"}, InvalidRequestError, "2.1"),
    ],
)
async def test_wrong_calls_are_told_what_is_wrong(
    tool: LightspeedRagImpl, name: str, arguments: dict[str, object], kind: type, says: str
) -> None:
    with pytest.raises(kind, match=r"^[^\n]+$") as caught:
        await tool.invoke_tool(name, arguments)
    assert says in str(caught.value)


class FakeInference:
    """A fake: embeds with another model, of 3 dimensions."""

    async def openai_embeddings(self, params: OpenAIEmbeddingsRequestWithExtraBody) -> object:
        from llama_stack_api import OpenAIEmbeddingData, OpenAIEmbeddingsResponse
        from llama_stack_api import OpenAIEmbeddingUsage as Usage

        data = [OpenAIEmbeddingData(embedding=[1.0, 0.0, 0.0], index=0)]
        usage = Usage(prompt_tokens=1, total_tokens=1)
        return OpenAIEmbeddingsResponse(data=data, model=params.model, usage=usage)


async def test_a_model_of_other_dimensions_is_named(index: Path) -> None:
    config = LightspeedRagConfig(index_dir=str(index))
    tool = await get_provider_impl(config, {Api.inference: FakeInference()})
    with pytest.raises(ConfigurationError, match="3 dimensions and the index has 384"):
        await tool.invoke_tool("search_product_docs", {"query": "x"})
    await tool.shutdown()
    assert (await tool.health())["status"] == "Error"


# The commands


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ingest", "--help"], 0),
        (["ingest"], 2),
        (["ingest", "docs", "--product", " ", "--version", "1"], 2),
        (["demo", "--nonsense"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int) -> None:
    assert CliRunner().invoke(cli.app, arguments).exit_code == code


def test_ingest_builds_beside_what_it_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSPEED_STATE_DIR", str(tmp_path / "state"))
    documentation(tmp_path / "docs")
    arguments = ["ingest", str(tmp_path / "docs"), "--product", "Acme Pump", "--version", "2.1"]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert "4 pages" in done.stdout
    assert "broken: not UTF-8" in done.stderr
    assert "Files that are not read: 1 .svg" in done.stderr
    assert read_manifest(tmp_path / "state" / "indexes" / "acme-pump").product == "Acme Pump"


def test_nothing_usable_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    arguments = ["ingest", str(tmp_path), "--product", "P", "--version", "1"]
    arguments += ["--out", str(tmp_path / "index")]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, LightspeedError)
    assert "no files that end in .rst" in str(done.exception)


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


def test_an_index_is_not_shared_by_accident(built: tuple[Documentation, Path, BuildResult]) -> None:
    opened = open_index(built[1], f"some-provider/{DEFAULT_EMBEDDING_MODEL}")
    assert isinstance(opened, Index)
    opened.close()
