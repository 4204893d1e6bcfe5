"""HTML of any generator becomes pages, and no archive or damaged page breaks the build."""

# ruff: noqa: E501 # generators write long lines

import io
import os
import re
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.ingest.archives import opened_source
from lightspeed_providers.product_rag.ingest.html import parse_html
from lightspeed_providers.product_rag.ingest.page import Kind, Page
from lightspeed_providers.product_rag.ingest.parse import (
    NothingToCiteError,
    UnreadableError,
    parse_file,
)
from lightspeed_providers.product_rag.ingest.sources import find_sources
from lightspeed_providers.product_rag.ingest.unpack import MOST_MEMBERS, Unpacking

SPHINX = """<!DOCTYPE html><html lang="en-GB"><head><title>Valves &#8212; Pump 2 documentation</title>
<meta name="keywords" content="pump, valve"><meta name="viewport" content="width=1">
<script>var hidden = 1;</script></head><body>
<div class="related" role="navigation"><ul><li><a href="n.html">next</a></li></ul></div>
<div class="document"><div class="body" role="main"><section id="valves">
<h1>Valves<a class="headerlink" href="#valves" title="Link">¶</a></h1>
<p>A valve&nbsp;lets <em>water</em> thr\u00adough; see <code class="docutils literal"><span class="pre">open()</span></code>.</p>
<div class="toctree-wrapper compound"><ul><li><a href="x.html">Never shown</a></li></ul></div>
<div class="admonition warning"><p class="admonition-title">Warning</p><p>Hot water.</p><p>Wear gloves.</p></div>
<section id="opening"><span id="old-label"></span><h2>Opening<a class="headerlink" href="#opening">¶</a></h2>
<div class="highlight-python3 notranslate"><div class="highlight"><pre><span></span><span class="linenos">1</span><span class="k">def</span> f():
<span class="linenos">2</span>    <span class="k">return</span> 1
</pre></div></div>
<dl class="py method"><dt class="sig sig-object py" id="pump.Valve.open">
<span class="sig-prename descclassname"><span class="pre">Valve.</span></span><span class="sig-name descname"><span class="pre">open</span></span><span class="sig-paren">(</span><em class="sig-param">far=1</em><span class="sig-paren">)</span>
<a class="headerlink" href="#pump.Valve.open">¶</a></dt><dd><p>Opens it.</p></dd></dl>
<p>After it.</p></section></section></div></div>
<div class="sphinxsidebar" role="navigation"><h3>Table of Contents</h3></div>
<div class="footer">&copy; nobody</div></body></html>"""

DOCBOOK = (
    """<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>5.1. Settings</title></head>
<body><div class="navheader"><table><tr><th colspan="2">Navigation head</th></tr></table></div>
<div class="sect1" id="SETTINGS"><div class="titlepage"><h2 class="title">5.1. Settings</h2></div>
<div class="toc"><dl><dt><a href="#X">never shown</a></dt></dl></div>
<div class="sect2"><div class="titlepage"><h3 class="title"><a name="MEMORY"/>5.1.1. Memory</h3></div>
<dl class="variablelist"><dt id="GUC-WORK"><span class="term"><code>work_mem</code> (<code>integer</code>)<a id="id-1.2.3" class="indexterm"/></span></dt>
<dd><p>"""
    + "Sets the memory that a sort may take. " * 8
    + """</p></dd>
<dt id="GUC-SHORT"><span class="term">short_one</span></dt><dd><p>Brief.</p></dd></dl>
<div class="note"><h3 class="title">Note</h3><p>Restart it.</p></div>
<div class="table"><p class="title"><strong>Table 5.1. Units</strong></p><table><thead><tr><th rowspan="2">Name</th><th colspan="2">Bytes</th></tr>
<tr><th>from</th><th>to</th></tr></thead><tbody><tr><td rowspan="2">kilo</td><td>1</td><td>a|b</td></tr><tr><td>2
 or more</td><td><pre>x
y</pre></td></tr></tbody></table></div>
<pre class="programlisting">SELECT 1;

  -- ``` two
</pre></div></div><div class="navfooter">Next</div></body></html>"""
)

MKDOCS = """<html lang="de"><head><title>Install - Pump</title></head><body><header class="md-header"><a href=".">Pump</a></header>
<nav class="md-tabs">Tabs</nav><main class="md-main"><div class="md-sidebar">Side</div><div class="md-content"><article class="md-content__inner md-typeset">
<a class="md-content__button md-icon" href="/edit">Edit this page</a><h1 id="install">Install<a class="headerlink" href="#install">&para;</a></h1>
<ol start="3"><li><p>First</p><ul><li>inner</li></ul></li><li>Second<pre><code class="language-bash">pip  install pump
</code></pre></li></ol><details class="tip" open><summary>Faster</summary><p>Use a cache.</p></details>
<h2 id="math">Math</h2><p>2<sup>32</sup> and x<sub>i</sub>, <img src="a.png" alt="A pump"><br>next line</p>
<dl><dt>Term</dt><dd>Meaning</dd></dl></article></div></main><footer>Footer</footer></body></html>"""

RAW = """<title>Old manual | Pump</title><body><div id="cookie-banner">We use cookies</div><ul>""" + "".join(
    f'<li><a href="{n}.html">Menu {n}</a>' for n in range(8)) + """</ul>
<a name="top"></a><h2>Starting<p>Unclosed <b>paragraph<p>another &lt;tag&gt; &unknown; <form role="search"><input>Search</form>
<table><tr><td>Layout<h3><a name="stop">Stopping</a></h3><p>Press it.</table>"""  # fmt: skip

FIXTURES = {"sphinx": SPHINX, "docbook": DOCBOOK, "mkdocs": MKDOCS, "raw": RAW}


def shown(page: Page) -> str:
    return "\n".join(block.text for section in page.sections for block in section.blocks)


def outline(page: Page) -> list[tuple[tuple[str, ...], str]]:
    return [(section.heading_path, section.anchor) for section in page.sections]


@pytest.mark.parametrize(
    ("fixture", "title", "language", "sections"),
    [
        (
            "sphinx",
            "Valves",
            "en",
            [
                ((), "valves"),
                (("Opening",), "opening"),
                (("Opening", "Valve.open()"), "pump.Valve.open"),
                (("Opening",), "opening"),
            ],
        ),
        (
            "docbook",
            "5.1. Settings",
            "",
            [
                (("5.1.1. Memory", "work_mem (integer)"), "GUC-WORK"),
                (("5.1.1. Memory",), "MEMORY"),
            ],
        ),
        ("mkdocs", "Install", "de", [((), "install"), (("Math",), "math")]),
        ("raw", "Starting", "", [((), "top"), (("Stopping",), "stop")]),
    ],
)
def test_a_page_has_its_title_its_headings_and_their_anchors(
    fixture: str, title: str, language: str, sections: list[tuple[tuple[str, ...], str]]
) -> None:
    page = parse_html(FIXTURES[fixture], "guide/page")

    assert (page.title, page.language, page.path) == (title, language, "guide/page")
    assert outline(page) == sections


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_anchor_is_in_the_page(fixture: str) -> None:
    html = FIXTURES[fixture]

    addresses = set(re.findall(r'(?:id|name)="([^"]+)"', html))
    assert {s.anchor for s in parse_html(html, "p").sections} <= addresses | {""}


@pytest.mark.parametrize(
    ("fixture", "boilerplate"),
    [
        ("sphinx", "next|¶|Never shown|hidden|Table of Contents|nobody|\u00ad|\u00a0"),
        ("docbook", "Navigation head|never shown|Next"),
        ("mkdocs", "Tabs|Side|Edit this page|¶|Footer"),
        ("raw", "cookies|Menu|Search"),
    ],
)
def test_what_is_not_the_pages_own_text_is_gone(fixture: str, boilerplate: str) -> None:
    assert re.findall(boilerplate, shown(parse_html(FIXTURES[fixture], "p"))) == []


@pytest.mark.parametrize(
    ("fixture", "text"),
    [
        ("sphinx", "A valve lets water through; see `open()`."),
        ("sphinx", "Warning: Hot water.\nWear gloves."),
        ("sphinx", "```python\ndef f():\n    return 1\n```"),
        ("sphinx", "Valve.open(far=1)\nOpens it."),
        ("docbook", "short_one\n  Brief."),
        ("docbook", "Note: Restart it."),
        ("docbook", "Table 5.1. Units\n| Name | Bytes from | Bytes to |\n| --- | --- | --- |\n"
                    "| kilo | 1 | a\\|b |\n| kilo | 2 or more | x y |"),
        ("docbook", "````\nSELECT 1;\n\n  -- ``` two\n````"),
        ("mkdocs", "3. First\n  - inner\n4. Second\n  ```bash\n  pip  install pump\n  ```"),
        ("mkdocs", "Faster: Use a cache."),
        ("mkdocs", "2^32 and x_i, A pump\nnext line\nTerm\n  Meaning"),
        ("raw", "Unclosed paragraph\nanother <tag> &unknown;\nLayout\nPress it."),
    ],
)  # fmt: skip
def test_text_code_tables_and_lists_are_readable(fixture: str, text: str) -> None:
    assert text in shown(parse_html(FIXTURES[fixture], "p"))


def test_blocks_are_cut_only_where_their_kind_allows() -> None:
    kinds = [b.kind for s in parse_html(DOCBOOK, "p").sections for b in s.blocks]

    assert kinds.count(Kind.CODE) == 1
    assert kinds.count(Kind.TABLE) == 1


def test_few_metadata_are_kept() -> None:
    assert parse_html(SPHINX, "p").attributes == (("keywords", "pump, valve"),)


@pytest.mark.parametrize(
    ("html", "name", "reason"),
    [
        ('<meta http-equiv="refresh" content="0; url=new.html"><p>Moved.', "old", "redirect"),
        ("", "empty", "empty"),
        ("<html><body><nav>Only this</nav></body></html>", "bare", "without text"),
        ("<h1>All</h1>" + '<p><a href="a.html">Alpha and Beta</a></p>' * 9, "all", "links"),
        ("<h1>Index</h1>" + '<dl><dt>a, <a href="a.html">Chapter</a></dt></dl>' * 9, "genindex",
         "links"),
        ("<h1>Search</h1><p>Please activate JavaScript.</p>", "search", "search form"),
    ],
)  # fmt: skip
def test_pages_with_nothing_to_cite_are_left_out_with_a_reason(
    html: str, name: str, reason: str
) -> None:
    with pytest.raises(NothingToCiteError, match=reason):
        parse_html(html, name)


@pytest.mark.parametrize(
    "bomb",
    [
        "<div>" * 100_000 + "deep",
        "<b>" * 2_000_000 + "deep",
        "<p>deep" + "<b><p>x" * 50_000,
        "deep" + "<ul><li>x" * 50_000,
        "deep" + "<table><tr><td>" * 20_000,
        "deep" + "<table><tr><th>h<td>" * 20_000,
        "deep" + "<sup>" * 50_000 + "x",
        "<p>deep <code>" + " " * 5_000_000 + "x</code>",
        "<p " + " ".join(f"a{n}=1" for n in range(100_000)) + ">deep",
        "<p>deep<ol>" + "<li>x" * 100_000,
        "<p>deep<dl>" + "<dt id=a>x<dd>y<dl>" * 20_000,
        "<p>deep<table>" + "<tr><td rowspan=9999 colspan=9999>x" * 2_000,
        "<p>deep" + "<div class=note>" * 50_000 + "x",
    ],
    ids=lambda bomb: bomb[:24],
)
def test_no_nesting_takes_long_or_loses_everything(bomb: str) -> None:
    started = time.process_time()

    page = parse_html(f"<title>Bomb</title><body>{bomb}", "p")

    assert "deep" in shown(page)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("data", "text", "problem"),
    [
        ("<p>schön</p>".encode(), "schön", ()),
        ("<p>schön</p>".encode("utf-8-sig"), "schön", ()),
        ("<p>schön</p>".encode("utf-16"), "schön", ()),
        ("<meta charset=iso-8859-1><p>“schön”".encode("cp1252"), "“schön”", ()),
        ('<?xml version="1.0" encoding="koi8-r"?><p>насос'.encode("koi8-r"), "насос", ()),
        ("<meta charset=shift_jis><p>文書".encode("shift_jis"), "文書", ()),
        ("<meta charset=rot13><p>größere Straßen, schöne Geräte".encode("cp1252"),
         "größere Straßen, schöne Geräte", ("read as cp1252",)),
    ],
)  # fmt: skip
def test_encodings_are_found_and_guesses_are_told(
    tmp_path: Path, data: bytes, text: str, problem: tuple[str, ...]
) -> None:
    (tmp_path / "page.html").write_bytes(data)

    page = parse_file(tmp_path / "page.html", "page", txt_is_rst=False)

    assert (shown(page), page.problems) == (text, problem)


def sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(50_000_000)


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("large.html", sparse, "larger than 20 MB"),
        ("nul.html", lambda f: f.write_bytes(b"<p>a\0b"), "NUL"),
        ("binary.md", lambda f: f.write_bytes(bytes(range(1, 256)) * 9), "control characters"),
        ("mixed.md", lambda f: f.write_bytes(b"text \xff\xfe more"), "not UTF-8 at byte 5"),
        ("key.asc", lambda f: f.write_text("-----BEGIN PGP SIGNATURE-----\nx"), "PGP"),
        ("gone.html", lambda f: None, "No such file"),
    ],
)
def test_unreadable_files_say_why(
    tmp_path: Path, name: str, write: Callable[[Path], object], reason: str
) -> None:
    write(tmp_path / name)

    with pytest.raises(UnreadableError, match=reason):
        parse_file(tmp_path / name, "name", txt_is_rst=False)


def test_a_mirrored_site_gives_its_pages_only(tmp_path: Path) -> None:
    page = "<!DOCTYPE html><html><body><p>Text of a page.</body></html>"
    host = tmp_path / "docs.example.com"
    for name in ("index.html", "guide/install", "page.html?v=2", "show.php", "guide/release-1.2",
                 "index.html?C=N;O=D", "page.html.orig", "page.html.tmp", "robots.txt"):  # fmt: skip
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text(page)
    (host / "guide" / "LICENSE").write_text("no page at all")
    (tmp_path / "hts-cache").mkdir()
    (tmp_path / "hts-cache" / "page.html").write_text(page)

    sources = find_sources(tmp_path)

    assert sorted(sources.name_of(file) for file in sources.files) == [
        "docs.example.com/guide/install",
        "docs.example.com/guide/release-1.2",
        "docs.example.com/index",
        "docs.example.com/page.html?v=2",
        "docs.example.com/show.php",
    ]
    for file in sources.files:
        assert shown(parse_file(file, "n", txt_is_rst=False)) == "Text of a page."


def test_files_with_the_same_name_get_distinct_ones(tmp_path: Path) -> None:
    for name in ("a.md", "a.html", "B.md", "b.rst", "c.md", "a.md.html"):
        (tmp_path / name).write_text("text")

    sources = find_sources(tmp_path)

    assert {file.name: sources.name_of(file) for file in sources.files} == {
        "a.md": "a.md",
        "a.html": "a.html",
        "B.md": "B.md",
        "b.rst": "b.rst",
        "c.md": "c",
        "a.md.html": "a.md.html",
    }


def test_no_link_leads_out_and_no_loop_hangs(tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text("secret")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.html").write_text("<p>page")
    (docs / "out.html").symlink_to(tmp_path / "secret.html")
    (docs / "outside").symlink_to(tmp_path)
    (docs / "loop.html").symlink_to(docs / "loop.html")
    (docs / "again").symlink_to(docs)
    os.mkfifo(docs / "pipe.html")

    assert [file.name for file in find_sources(docs).files] == ["page.html"]


def write_zip(file: Path, members: dict[str, str | bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(file: Path, members: dict[str, str | bytes]) -> None:
    with tarfile.open(file, f"w:{file.suffix[1:].replace('tar', '')}") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.zip", write_zip),
        ("d.whl", write_zip),
        ("d.tar", write_tar),
        ("d.tar.gz", write_tar),
        ("d.tar.bz2", write_tar),
        ("d.tar.xz", write_tar),
    ],
)
def test_an_archive_is_read_like_its_only_folder(
    tmp_path: Path, name: str, write: Callable[[Path, dict[str, str | bytes]], None]
) -> None:
    told: list[tuple[str, str]] = []
    large = b"x" * 20_000_001
    write(tmp_path / name, {
        "pump-2.1/index.html": "<p>one", "pump-2.1/deep/er.md": "two", "pump-2.1/logo.png": "three",
        "../evil.html": "four", "/etc/evil.html": "five", "C:\\evil.html": "six",
        "pump-2.1/large.txt": large,
    })  # fmt: skip

    with opened_source(tmp_path / name, told=lambda *line: told.append(line)) as root:
        sources = find_sources(root)
        names = [sources.name_of(file) for file in sources.files]

    assert names == ["deep/er", "index"]
    assert {reason for _, reason in told} == {"leads out of the archive", "larger than 20 MB"}
    assert len(told) == 4
    assert not root.exists()
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_devices_of_archives_are_not_made(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.html")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("page.html"), io.BytesIO())
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        link = zipfile.ZipInfo("link.html")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("page.html", "")

    for name, skipped in (("d.tar", 4), ("d.zip", 1)):
        told: list[str] = []
        with opened_source(
            tmp_path / name, told=lambda *line, told=told: told.append(line)
        ) as root:
            assert [file.name for file in root.iterdir()] == ["page.html"]
        assert len(told) == skipped


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_file_twice_in_an_archive_the_last_is_read_and_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a.md", "first")
        archive.writestr("a.md", "second")

    with opened_source(tmp_path / "d.zip", told=lambda *line: told.append(line)) as root:
        assert (root / "a.md").read_text() == "second"
    assert told == [("a.md", "twice in the archive, the last one is read")]


def encrypted(file: Path) -> None:
    write_zip(file, {"a.md": "text"})
    data = bytearray(file.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    file.write_bytes(data)


def cut_off(write: Callable[[Path, dict[str, str | bytes]], None]) -> Callable[[Path], None]:
    def written(file: Path) -> None:
        write(file, {"a.md": os.urandom(9_000).hex(), "b.png": os.urandom(9_000)})
        file.write_bytes(file.read_bytes()[:12_000])

    return written


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("d.zip", encrypted, "encrypted"),
        ("d.zip", cut_off(write_zip), "damaged or cut off"),
        ("d.tar", cut_off(write_tar), "damaged or cut off"),
        ("e.tar", lambda f: (write_tar(f, {"b.png": b"x" * 9_000}),
                             f.write_bytes(f.read_bytes()[:5_000])), "damaged or cut off"),
        ("d.tar.gz", cut_off(write_tar), "damaged or cut off"),
        ("d.tar.xz", lambda f: f.write_bytes(b"nothing of the kind"), "damaged"),
        ("d.zip", lambda f: write_zip(f, {f"{n}.txt": b" " * 19_000_000 for n in range(4)}),
         "200 times its size"),
        ("d.tar.gz", lambda f: write_tar(f, {"x.bin": bytes(70_000_000)}), "200 times its size"),
        ("d.rar", lambda f: f.write_bytes(b"Rar!"), "must end in .zip"),
        ("d.zip", lambda f: None, "is not there"),
    ],
)  # fmt: skip
def test_bad_archives_are_refused_in_one_line(
    tmp_path: Path, name: str, write: Callable[[Path], object], reason: str
) -> None:
    write(tmp_path / name)

    with (
        pytest.raises(ConfigurationError, match=reason) as refused,
        opened_source(tmp_path / name),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


def test_archives_hold_only_so_many_bytes_and_members(tmp_path: Path) -> None:
    write_zip(tmp_path / "d.zip", {f"{n}.md": os.urandom(500).hex() for n in range(3)})

    with (
        pytest.raises(ConfigurationError, match="more than 2,000 bytes"),
        opened_source(tmp_path / "d.zip", most_bytes=2_000),
    ):
        pass
    unpacking = Unpacking(tmp_path / "d.zip", tmp_path, told=lambda *_: None)
    for _ in range(MOST_MEMBERS):
        unpacking.count_member()
    with pytest.raises(ConfigurationError, match="200,000 members"):
        unpacking.count_member()


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "manual.html").write_text("<p>text")

    with opened_source(tmp_path / "manual.html") as root:
        sources = find_sources(root)
        assert [sources.name_of(file) for file in sources.files] == ["manual"]
    with opened_source(tmp_path) as root:
        assert root == tmp_path
