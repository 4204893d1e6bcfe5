"""An index is changed in place, merged, checked and broken; what is searched is always right."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from index_documents import (
    DIMENSION,
    MODEL,
    build,
    document,
    hashed_vectors,
    pages,
    release,
    vectors_of,
)
from typer.testing import CliRunner

from lightspeed_providers.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    LightspeedError,
    UnavailableError,
)
from lightspeed_providers.product_rag.index.assemble import documents_of
from lightspeed_providers.product_rag.index.cli import app
from lightspeed_providers.product_rag.index.content import Document
from lightspeed_providers.product_rag.index.inspect import differences, problems_of
from lightspeed_providers.product_rag.index.live import LiveWriter
from lightspeed_providers.product_rag.index.lock import sole_writer
from lightspeed_providers.product_rag.index.manifest import MANIFEST, read_manifest
from lightspeed_providers.product_rag.index.merge import merge, without_release
from lightspeed_providers.product_rag.index.open import Index, open_index
from lightspeed_providers.product_rag.index.packing import unpacked
from lightspeed_providers.product_rag.index.prefer import Prefer
from lightspeed_providers.product_rag.index.snapshot import Snapshot
from lightspeed_providers.product_rag.retrieval import Retriever, SearchSettings

HERE = Path(__file__).parent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    build(tmp_path / "acme")
    return tmp_path / "acme"


def quiet(stage: str, done: int, total: int) -> None:
    pass


def add(writer: LiveWriter, *documents: Document) -> None:
    for one in documents:
        writer.replace(release(), one, vectors_of(one))


def contents(directory: Path) -> set[str]:
    """Every text of an index as its own vector finds it, which it must be found by."""
    index = open_index(directory, MODEL)
    try:
        return read(index)
    finally:
        index.close()


def matching(snapshot: Snapshot, word: str, groups: frozenset[int] = frozenset()) -> list[int]:
    """The positions whose words and labels these are, dead ones included if any were left."""
    labels = " OR ".join(f"g{group}" for group in groups)
    asked = f'content : "{word}"' + (f" AND labels : ({labels})" if groups else "")
    rows = snapshot.connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (asked,))
    return [row[0] for row in rows]


def read(index: Index) -> set[str]:
    with index.snapshot() as snapshot:
        stored = snapshot.connection.execute("SELECT position, content FROM texts").fetchall()
        rows = [(position, unpacked(content)) for position, content in stored]
        for position, content in rows:
            vector = snapshot.vectors_at([position])[0]
            found = snapshot.nearest(vector, 3)
            assert found[position] == pytest.approx(1, abs=2e-3), content
            assert position in matching(snapshot, content.split()[0])
        everything = snapshot.nearest(hashed_vectors(["anything"])[0], 10_000)
        assert everything.keys() == {position for position, _ in rows}
        return {content for _, content in rows}


def texts(*documents: Document) -> set[str]:
    return {place.content for one in documents for place in one.places}


def visible(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name != ".lock"}


def named(directory: Path) -> set[str]:
    manifest = read_manifest(directory)
    return {MANIFEST, *(file.name for file in manifest.sealed)}


# --- changes in place


def test_an_open_reader_sees_each_change_at_its_next_snapshot(directory: Path) -> None:
    first, second = document("new", ["alpha one", "beta two"]), document("new", ["gamma three"])
    with LiveWriter(directory) as writer:
        add(writer, first)
        index = open_index(directory, MODEL)
        assert read(index) == texts(*pages(8), first)
        with index.snapshot() as before:
            add(writer, second)
            assert matching(before, "alpha")
            assert not matching(before, "gamma")
        assert read(index) == texts(*pages(8), second)
        assert writer.remove("acme/1.0/page3")
        assert not writer.remove("acme/1.0/page3")
        assert read(index) == texts(*pages(8), second) - texts(pages(8)[3])
        index.close()
    assert list(problems_of(directory)) == []


def test_what_was_added_and_removed_in_place_is_found_by_words(directory: Path) -> None:
    with LiveWriter(directory) as writer:
        add(writer, document("new", ["zebra crossing", "another thing"]))
        writer.remove("acme/1.0/page3")
        index = open_index(directory, MODEL)

        def found(query: str) -> list[str]:
            settings = SearchSettings(k=3, mode="keyword")
            result = Retriever(index).search(query, hashed_vectors([query])[0], settings)
            return [passage.content for passage in result.passages]

        assert found("zebra") == ["zebra crossing"]
        assert found("word2x1") == ["word2x1 shared"]
        assert found("word3x1") == []
        writer.remove("acme/1.0/new")
        assert found("zebra") == []
        index.close()


def test_a_reader_of_the_sealed_index_goes_on_untouched(directory: Path) -> None:
    index = open_index(directory, MODEL)
    with LiveWriter(directory) as writer:
        add(writer, document("new", ["alpha one"]))
        writer.remove("acme/1.0/page1")
        assert read(index) == texts(*pages(8))
        writer.seal()
    assert read(index) == texts(*pages(8))
    index.close()


def test_another_process_sees_the_changes(directory: Path) -> None:
    asked = (
        "import sys; from test_index import contents; from pathlib import Path;"
        "print(len(contents(Path(sys.argv[1]))))"
    )
    with LiveWriter(directory) as writer:
        add(writer, document("new", ["alpha one", "beta two"]))
        ran = subprocess.run(
            [sys.executable, "-c", asked, str(directory)],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(ran.stdout) == 26


def test_sealing_gives_the_bytes_of_a_fresh_build(tmp_path: Path, directory: Path) -> None:
    new = document("page8", ["alpha one", "beta two"])
    with LiveWriter(directory) as writer:
        add(writer, document("page8", ["old text", "older text"]), new)
        add(writer, document("page2", ["will go away"]), pages(8)[2])
        assert visible(directory) > named(directory)
        writer.seal()
    fresh = tmp_path / "fresh"
    build(fresh, {release(fingerprint=""): [*pages(8), new]})
    assert visible(directory) == visible(fresh) == named(fresh)
    assert (directory / MANIFEST).read_bytes() == (fresh / MANIFEST).read_bytes()


def test_sealing_embeds_nothing_and_changing_goes_on_after_it(directory: Path) -> None:
    one, two = document("one", ["alpha one"]), document("two", ["beta two"])
    with LiveWriter(directory) as writer:
        add(writer, one)
        assert not writer.seal().live
        add(writer, two)
    assert contents(directory) == texts(*pages(8), one, two)
    with LiveWriter(directory) as writer:
        manifest = writer.seal()
    assert manifest.texts == 26
    assert visible(directory) == named(directory)


def test_a_shared_text_stays_while_it_stands_anywhere(tmp_path: Path) -> None:
    old, new = release(version="1.0"), release(version="2.0")
    build(tmp_path, {old: pages(3, old), new: pages(3, new)})
    assert read_manifest(tmp_path).texts == 9
    with LiveWriter(tmp_path) as writer:
        writer.remove("acme/1.0/page0")
        index = open_index(tmp_path, MODEL)
        with index.snapshot() as snapshot:
            of_old = frozenset(g.number for g in snapshot.groups if g.version == "1.0")
            position = matching(snapshot, "word0x0")[0]
            assert snapshot.stored([position])[position].passage.version == "2.0"
            assert not matching(snapshot, "word0x0", of_old)
            assert not snapshot.stored([position], of_old)
        assert len(read(index)) == 9
        writer.remove("acme/2.0/page0")
        assert len(read(index)) == 6
        index.close()
    assert list(problems_of(tmp_path)) == []


def test_filters_stay_right_beside_changes(directory: Path) -> None:
    other = release(version="2.0")
    with LiveWriter(directory) as writer:
        add(writer, document("warm", ["warm up"]))
        index = open_index(directory, MODEL)
        for number in range(20):
            one = document(f"n{number}", [f"added{number} text"], other)
            writer.replace(other, one, vectors_of(one))
            if number >= 10:
                writer.remove(f"acme/2.0/n{number - 10}")
            with index.snapshot() as snapshot:
                groups = frozenset(g.number for g in snapshot.groups if g.version == "2.0")
                found = snapshot.nearest(vectors_of(one)[0], 100, snapshot.allow(groups))
                held = snapshot.stored(list(found), groups)
            left = {f"added{n} text" for n in range(max(0, number - 9), number + 1)}
            assert {one.passage.content for one in held.values()} == left
        index.close()
    assert {r.name for r in read_manifest(directory).releases} == {"Acme 1.0", "Acme 2.0"}


def test_a_changed_release_is_no_longer_what_was_built(directory: Path) -> None:
    with LiveWriter(directory) as writer:
        writer.remove("acme/1.0/page0")
        writer.seal()
    assert [r.fingerprint for r in read_manifest(directory).releases] == [""]


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (np.ones((2, DIMENSION), dtype=np.float32), "length 1"),
        (np.full((2, DIMENSION), np.nan, dtype=np.float32), "length 1"),
        (np.ones((1, DIMENSION), dtype=np.float32), "2 vectors"),
        (np.ones((2, 3), dtype=np.float32), "dimensions"),
    ],
)
def test_wrong_vectors_change_nothing(
    directory: Path, vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", told: str
) -> None:
    with LiveWriter(directory) as writer, pytest.raises(InvalidRequestError, match=told):
        writer.replace(release(), document("new", ["a", "b"]), vectors)
    assert visible(directory) == named(directory)


def test_a_document_of_another_language_is_refused(directory: Path) -> None:
    german = replace(document("neu", ["alpha"]), language="de")
    with LiveWriter(directory) as writer, pytest.raises(InvalidRequestError, match="language"):
        add(writer, german)


def test_a_second_writer_is_told_who_is_first(directory: Path) -> None:
    with sole_writer(directory):
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=f"process {os.getpid()}"):
            LiveWriter(directory, timeout_s=0.1).__enter__()
        assert time.monotonic() - started < 2


def test_searches_beside_changes_find_nothing_wrong(directory: Path) -> None:
    wrong: list[str] = []
    stopped = threading.Event()

    def search(index: Index) -> None:
        chance = random.Random(0)
        while not stopped.is_set():
            name = f"c{chance.randrange(6)}"
            for version in range(3):
                text = f"{name}v{version} changing"
                with index.snapshot() as snapshot:
                    found = matching(snapshot, text.split()[0])
                    for position, held in snapshot.stored(found).items():
                        cosine = snapshot.cosines(vectors_at(name, text), [position])[position]
                        if held.passage.content != text or cosine < 0.99:
                            wrong.append(held.passage.content)
                    if len(snapshot.stored(found)) != len(found):
                        wrong.append(f"{text} has no passage")

    def vectors_at(name: str, text: str) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        return vectors_of(document(name, [text]))[0]

    with LiveWriter(directory) as writer:
        add(writer, document("c0", ["c0v0 changing"]))
        index = open_index(directory, MODEL)
        threads = [threading.Thread(target=search, args=(index,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        chance = random.Random(1)
        for _ in range(150):
            name = f"c{chance.randrange(6)}"
            if chance.random() < 0.3:
                writer.remove(f"acme/1.0/{name}")
            else:
                add(writer, document(name, [f"{name}v{chance.randrange(3)} changing"]))
        stopped.set()
        for thread in threads:
            thread.join()
        index.close()
    assert wrong == []


# --- merging and looking


def test_merging_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one, two = release("Acme"), release("Bolt")
    build(tmp_path / "a", {one: pages(4, one)})
    build(tmp_path / "b", {two: pages(6, two)})
    both = [tmp_path / "a", tmp_path / "b"]
    merge(both, tmp_path / "ab", report=quiet)
    merge(both[::-1], tmp_path / "ba", report=quiet)
    build(tmp_path / "fresh", {one: pages(4, one), two: pages(6, two)})
    manifests = {(tmp_path / name / MANIFEST).read_bytes() for name in ("ab", "ba", "fresh")}
    assert len(manifests) == 1
    assert list(problems_of(tmp_path / "ab")) == []
    without_release(tmp_path / "ab", "bolt", "1.0", "en", report=quiet)
    assert not list(differences(tmp_path / "a", tmp_path / "ab"))


def test_merging_what_does_not_fit_is_refused(tmp_path: Path, directory: Path) -> None:
    changed, other = tmp_path / "changed", tmp_path / "other"
    build(changed, {release(): pages(7)})
    out = tmp_path / "out"
    with pytest.raises(ConfigurationError, match="both hold Acme"):
        merge([directory, changed], out, report=quiet)
    shutil.copytree(directory, other)
    facts = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps(facts | {"embedding_model": "elsewhere"}))
    with pytest.raises(ConfigurationError, match="elsewhere"):
        merge([directory, other], out, report=quiet)
    assert not out.exists()
    assert merge([directory, changed], out, prefer=Prefer.LAST, report=quiet).pages == 7
    assert merge([directory, changed], out, prefer=Prefer.FIRST, report=quiet).pages == 8
    assert merge([directory, directory], out, report=quiet).pages == 8


def test_a_difference_names_what_was_added_removed_and_changed(
    tmp_path: Path, directory: Path
) -> None:
    changed = document("page1", ["word1x0 shared", "word1x1 shared", "another third"])
    build(tmp_path / "b", {release(): [*pages(7)[:1], changed, *pages(7)[2:], *pages(9)[8:]]})
    documents, passages = differences(directory, tmp_path / "b")
    assert documents.added == ("acme/1.0/page8",)
    assert documents.removed == ("acme/1.0/page7",)
    assert documents.changed == ("acme/1.0/page1",)
    assert (len(passages.added), len(passages.removed)) == (4, 4)


def test_the_commands_tell_and_exit_by_what_they_find(tmp_path: Path, directory: Path) -> None:
    run = CliRunner().invoke
    assert "Acme" in run(app, ["info", str(directory)]).output
    told = json.loads(run(app, ["info", str(directory), "--json"]).output)
    assert (told["live"], told["texts"], told["releases"][0]["pages"]) == (False, 24, 8)
    assert run(app, ["verify", str(directory)]).exit_code == 0
    assert run(app, ["remove", str(directory), "acme/1.0/page0"]).exit_code == 0
    assert run(app, ["remove", str(directory), "acme/1.0/page0"]).exit_code == 1
    told = json.loads(run(app, ["info", str(directory), "--json"]).output)
    assert (told["live"], told["texts"], told["dead_rows"]) == (True, 21, 3)
    assert run(app, ["seal", str(directory)]).exit_code == 0
    build(tmp_path / "b")
    found = run(app, ["diff", str(directory), str(tmp_path / "b"), "--json", "--limit", "1"])
    assert json.loads(found.output)[1]["added"]["count"] == 3
    assert run(app, ["diff", str(directory), str(tmp_path / "b")]).exit_code == 0
    merged = ["merge", str(directory), str(tmp_path / "b"), "--out", str(tmp_path / "m")]
    assert isinstance(run(app, merged).exception, ConfigurationError)
    assert run(app, [*merged, "--prefer", "last"]).exit_code == 0
    assert run(app, [*merged, "--prefer", "best"]).exit_code == 2
    (directory / read_manifest(directory).vectors.name).write_bytes(b"broken")
    assert run(app, ["verify", str(directory)]).exit_code == 1


# --- faults


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _edit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("break_it", [_cut, _edit, Path.unlink])
@pytest.mark.parametrize("which", ["vectors-*", "words-*", "passages-*", MANIFEST])
def test_a_damaged_file_is_one_line(
    directory: Path, which: str, break_it: Callable[[Path], None]
) -> None:
    (file,) = directory.glob(which)
    break_it(file)
    if which == MANIFEST and break_it is _edit:
        file.write_text(file.read_text(errors="replace").replace('"pages"', '"leaves"'))
    with pytest.raises(ConfigurationError) as told:
        open_index(directory, MODEL)
    assert "\n" not in str(told.value)
    assert list(problems_of(directory)) == [str(told.value)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format_version": 1}, "format version 1"),
        ({"format_version": "x"}, "format version x"),
        ({"dimension": 7}, "dimensions"),
        ({"texts": 5}, "manifest says 5"),
        ({"embedding_model": "other"}, "'other'"),
    ],
)
def test_a_manifest_of_something_else_is_one_line(
    directory: Path, change: dict[str, object], told: str
) -> None:
    facts = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps(facts | change))
    with pytest.raises(ConfigurationError, match=told):
        open_index(directory, MODEL)


def test_a_live_index_without_its_added_vectors_is_one_line(directory: Path) -> None:
    with LiveWriter(directory) as writer:
        add(writer, document("new", ["alpha one"]))
    (tail,) = directory.glob("tail-*")
    tail.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="holds 0 vectors instead of 1"):
        contents(directory)
    tail.unlink()
    with pytest.raises(ConfigurationError, match="can't be read"):
        contents(directory)


def in_child(work: Callable[..., None], *arguments: object) -> None:
    """Run a function of this file in a process of its own, which its limits end with."""
    called = f"import test_index; from pathlib import Path; test_index.{work.__name__}"
    ran = subprocess.run(
        [sys.executable, "-c", f"{called}{tuple(str(argument) for argument in arguments)!r}"],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def fill_while_building(directory: str, limit: str) -> None:
    import faiss  # noqa: F401 # its first import may write files of its own

    limit_files(int(limit))
    with pytest.raises(LightspeedError, match="the old one is intact"):
        build(Path(directory), {release(): pages(400)})


LARGE = document("large", [f"large{n} {'text ' * 400}" for n in range(200)])


def fill_while_changing(directory: str) -> None:
    with LiveWriter(Path(directory)) as writer:
        add(writer, document("new", ["alpha one"]))
        limit_files(150_000)
        with pytest.raises(UnavailableError, match="as it was"):
            add(writer, LARGE)
        limit_files(resource.RLIM_INFINITY)


def look_at_sealed_as_nobody(directory: str) -> None:
    import mmap  # noqa: F401 # where Python lies may be closed to that user

    import faiss  # noqa: F401

    os.setuid(65534)
    assert contents(Path(directory)) == texts(*pages(8))
    with pytest.raises(ConfigurationError, match="make it writable"):
        build(Path(directory))
    with pytest.raises(ConfigurationError, match="make it writable"):
        LiveWriter(Path(directory)).__enter__()


def look_at_live_as_nobody(directory: str) -> None:
    import mmap  # noqa: F401 # where Python lies may be closed to that user

    import faiss  # noqa: F401

    os.setuid(65534)
    with pytest.raises(ConfigurationError, match="lightspeed index seal"):
        open_index(Path(directory), MODEL)


@pytest.mark.parametrize("limit", [2_000, 20_000, 60_000])
def test_a_disk_that_fills_while_building_leaves_the_old_index(directory: Path, limit: int) -> None:
    before = (directory / MANIFEST).read_bytes()

    in_child(fill_while_building, directory, limit)
    assert (directory / MANIFEST).read_bytes() == before
    assert contents(directory) == texts(*pages(8))
    build(directory, {release(): pages(9)})
    assert visible(directory) == named(directory)


def test_a_disk_that_fills_while_changing_leaves_the_index_as_it_was(directory: Path) -> None:
    in_child(fill_while_changing, directory)
    assert contents(directory) == texts(*pages(8), document("new", ["alpha one"]))
    with LiveWriter(directory) as writer:
        add(writer, LARGE)
    assert contents(directory) == texts(*pages(8), document("new", ["alpha one"]), LARGE)


@pytest.fixture
def for_nobody(directory: Path) -> Iterator[Path]:
    """The index in a directory that another user can read and not write."""
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")
    parents = [path for path in directory.parents if path.stat().st_mode & 0o055 != 0o055]
    modes = {path: path.stat().st_mode for path in parents}
    for path in parents:
        path.chmod(0o755)
    yield directory
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_directory_that_cannot_be_written_still_serves_when_sealed(for_nobody: Path) -> None:
    in_child(look_at_sealed_as_nobody, for_nobody)


def test_a_live_index_that_cannot_be_written_says_to_seal_it(for_nobody: Path) -> None:
    with LiveWriter(for_nobody) as writer:
        add(writer, document("new", ["alpha one"]))

    in_child(look_at_live_as_nobody, for_nobody)


def test_searches_go_on_while_the_directory_is_removed_or_replaced(
    tmp_path: Path, directory: Path
) -> None:
    build(tmp_path / "other", {release(): pages(2)})
    index = open_index(directory, MODEL)
    directory.rename(tmp_path / "away")
    (tmp_path / "other").rename(directory)
    assert read(index) == texts(*pages(8))
    shutil.rmtree(tmp_path / "away")
    assert read(index) == texts(*pages(8))
    assert contents(directory) == texts(*pages(2))
    index.close()


def test_a_live_index_goes_on_being_read_after_its_files_are_gone(directory: Path) -> None:
    with LiveWriter(directory) as writer:
        add(writer, document("one", ["alpha one"]))
        index = open_index(directory, MODEL)
        add(writer, document("two", ["beta two"]))
        writer.seal()
        both = texts(*pages(8), document("one", ["alpha one"]), document("two", ["beta two"]))
        assert read(index) == both
        index.close()
    assert visible(directory) == named(directory)


def test_of_two_builds_at_once_both_end_well_one_after_the_other(tmp_path: Path) -> None:
    faults: list[LightspeedError] = []

    def run(count: int) -> None:
        try:
            build(tmp_path, {release(): pages(count)})
        except LightspeedError as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(count,)) for count in (30, 40, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert visible(tmp_path) == named(tmp_path)
    assert len(contents(tmp_path)) in {90, 120, 150}


KILLED = """
import sys
from pathlib import Path
from index_documents import build, document, pages, release, vectors_of
from lightspeed_providers.product_rag.index.live import LiveWriter
import faiss, numpy
directory = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
number = 0
while True:
    number += 1
    if sys.argv[2] == "build":
        build(directory, {release(): pages(8 + number % 3)})
        continue
    with LiveWriter(directory) as writer:
        for turn in range(4):
            one = document("new", [f"turn{number}of{turn} {part}" for part in "abcde"])
            writer.replace(release(), one, vectors_of(one))
        if number % 2:
            writer.remove("acme/1.0/new")
            writer.seal()
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["build", "live"])
def test_a_process_killed_at_any_moment_leaves_one_state_or_the_other(
    directory: Path, what: str
) -> None:
    chance = random.Random(what)
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(directory), what],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        child.stdin.write(b"go\n")
        child.stdin.flush()
        time.sleep(chance.uniform(0.002, 0.25))
        child.kill()
        child.communicate()
        found = contents(directory)
        if what == "build":
            assert found in [texts(*pages(count)) for count in (8, 9, 10)]
        else:
            added = found - texts(*pages(8))
            assert found > texts(*pages(8)) or not added
            assert len(added) in {0, 5}
            assert len({text.split()[0] for text in added}) in {0, 1}
        assert list(problems_of(directory)) == []
    build(directory)
    assert visible(directory) == named(directory)
    assert contents(directory) == texts(*pages(8))


def test_documents_come_out_of_an_index_as_they_went_in(directory: Path) -> None:
    index = open_index(directory, MODEL)
    assert list(documents_of(index, release())) == pages(8)
    index.close()
