"""Markdown, AsciiDoc and PDF as pages, from small pages that hold one rule each."""

import time
from pathlib import Path

import pytest

from lightspeed_providers.product_rag.ingest.asciidoc import parse_asciidoc
from lightspeed_providers.product_rag.ingest.markdown import parse_markdown
from lightspeed_providers.product_rag.ingest.page import Kind, Page
from lightspeed_providers.product_rag.ingest.pdf import UnreadablePdfError, parse_pdf


def blocks(page: Page) -> list[str]:
    return [block.text for section in page.sections for block in section.blocks]


def places(page: Page) -> list[tuple[tuple[str, ...], str]]:
    return [(section.heading_path, section.anchor) for section in page.sections]


# Markdown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("See [the guide](https://a.example/long) and <https://b.example>.",
         ["See the guide and https://b.example."]),
        ("[ref][r] and ![a picture](x.png)\n\n[r]: https://a.example", ["ref and a picture"]),
        ("[](guide/setup.md) and *some* **bold** `code`", ["setup.md and some bold `code`"]),
        ("{py:func}`~a.b.run` {doc}`the text <x/y>` {math}`x^2`", ["run() the text $x^2$"]),
        ("a\nb  \nc", ["a b c"]),
        ("```{note}\nBe *good*.\n\n- one\n```", ["Note: Be good.", "- one"]),
        (":::{warning} Hot stuff\n:class: x\n\nReally.\n:::", ["Warning: Hot stuff", "Really."]),
        ("```{admonition} My title\nText\n```", ["My title: Text"]),
        (":::tip Docusaurus\nText\n:::", ["Docusaurus: Text"]),
        (":::caution[Take care]\nText\n:::", ["Take care: Text"]),
        ("> [!IMPORTANT]\n> Read this.", ["Important: Read this."]),
        ("> only a quote", ["only a quote"]),
        ('!!! danger "Very hot"\n    Text', ["Very hot: Text"]),
        ("??? info\n    Text", ["Info: Text"]),
        ('=== "pip"\n\n    ```sh\n    pip install x\n    ```',
         ["pip:", "```sh\npip install x\n```"]),
        ("::::{tab-set}\n:::{tab-item} Linux\napt\n:::\n:::{tab-item} Mac\nbrew\n:::\n::::",
         ["Linux", "apt", "Mac", "brew"]),
        ("````{dropdown} More\n```{code-block} python\n:caption: Hi\nx = 1\n```\n````",
         ["More", "Hi", "```python\nx = 1\n```"]),
        ("```{figure} a.png\n:alt: what it is\n```", ["what it is"]),
        ("```{toctree}\na\nb\n```\nText", ["Text"]),
        ("```{versionadded} 2.1 Copies are small.\n```", ["New in version 2.1: Copies are small."]),
        ("```{r, echo=FALSE}\nx <- 1\n```", ["```r\nx <- 1\n```"]),
        ("```{py:function} run(x)\nRuns.\n```", ["run(x)\n  Runs."]),
        ("```{eval-rst}\n.. note:: From :ref:`x <y>`.\n```", ["Note: From x."]),
        ("```{csv-table} T\n:header: a,b\n1,\"2,3\"\n```",
         ["T", "| a | b |\n| --- | --- |\n| 1 | 2,3 |"]),
        ("```{list-table}\n:header-rows: 1\n* - A\n  - B\n* - 1\n  - 2|3\n```",
         ["| A | B |\n| --- | --- |\n| 1 | 2\\|3 |"]),
        ("| a | b |\n|---|---|\n| [x](y) | `z` |", ["| a | b |\n| --- | --- |\n| x | `z` |"]),
        ("1. one\n\n   ```sh\n   run\n   ```\n2. two\n   - deep",
         ["1. one", "  ```sh\n  run\n  ```", "2. two", "  - deep"]),
        ("- [A](#a)\n  - [B](#b)\n- [C](#c)\n\ntext", ["text"]),
        ("- [A](#a) says more\n- [C](#c)", ["- A says more", "- C"]),
        ("term\n: said of it", ["term\n  said of it"]),
        ("A foot[^n].\n\n[^n]: The foot.", ["A foot [n].", "[n] The foot."]),
        ("<!-- no -->\n\n<script>no</script>\n\nyes", ["yes"]),
        ("<details>\n<summary>More</summary>\n\nHidden\n\n</details>", ["More", "Hidden"]),
        ("<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td><p>2</p></td></tr></table>",
         ["| A | B |\n| --- | --- |\n| 1 | 2 |"]),
        ("import T from '@theme/T';\nexport const a = 1;\n\n<T id={1}>\n\nin\n\n</T>", ["in"]),
        ('{{< note >}}\nUse {{< term text="Pods" id="pod" >}}.\n{{< /note >}}', ["Use Pods."]),
        ("% a comment\n\n+++\n\ntext", ["text"]),
        ("From $5 to $6 and $HOME/$PATH", ["From $5 to $6 and $HOME/$PATH"]),
        ("    indented = 1\n\n~~~\n```\n~~~", ["```\nindented = 1\n```", "````\n```\n````"]),
    ],
)  # fmt: skip
def test_markdown_reads_as_its_site_shows_it(source: str, shown: list[str]) -> None:
    assert blocks(parse_markdown(source, "p")) == shown


@pytest.mark.parametrize(
    ("source", "anchor"),
    [
        ("## The `run` command!", "the-run-command"),
        ("## Title {#my-id}", "my-id"),
        ("## Title {: #kram .x }", "kram"),
        ("(target-x)=\n## Title", "target-x"),
        ('<a id="html-x"></a>\n\n## Title', "html-x"),
        ('## Title <a name="inside"></a>', "inside"),
        ("Title\n-----", "title"),
    ],
)
def test_a_markdown_heading_has_the_anchor_of_its_page(source: str, anchor: str) -> None:
    page = parse_markdown(f"{source}\n\ntext", "p")
    assert [section.anchor for section in page.sections] == [anchor]
    assert "{" not in page.title


def test_front_matter_names_the_page() -> None:
    source = "---\ntitle: Setup\nlang: en-US\ntags: [a, b]\ndraft: false\nnav: {x: 1}\n---\ntext"
    page = parse_markdown(source, "p")
    assert (page.title, page.language) == ("Setup", "en")
    assert page.attributes == (("tags", "a, b"), ("draft", "False"))
    toml = parse_markdown('+++\ntitle = "Setup"\nweight = 3\n+++\n# Setup\n\ntext', "p")
    assert (toml.title, toml.attributes, places(toml)) == (
        "Setup", (("weight", "3"),), [((), "setup")]
    )  # fmt: skip
    broken = parse_markdown("---\ntitle: [\n---\n# A\n\ntext", "p")
    assert broken.title == "A"
    assert broken.problems[0].startswith("front matter is no YAML: ")
    assert blocks(parse_markdown("---\n\nnot front matter\n\n---\n\ntext", "p")) == [
        "not front matter", "text"
    ]  # fmt: skip


def test_what_a_markdown_page_includes_is_told() -> None:
    page = parse_markdown("```{literalinclude} x.py\n```\n\ntext", "p")
    assert page.problems == ("literalinclude of 'x.py' is not read",)


# AsciiDoc

MODULE = """// Module included in the following assemblies:
:_mod-docs-content-type: PROCEDURE
:lang: en-GB
:product-title: Acme
[id="creating_{context}"]
= Creating a secret for {product-title}

As an *administrator*, see xref:../a/b.adoc#c[the guide], <<more>> and {unknown}.

.Prerequisites

* The OpenShift CLI
** `podman` 1.9.3+

.Procedure

. Create it:
+
.The file
[source,yaml,subs="attributes+"]
----
kind: {product-title} <1>

# {{ not }} filled
----
<1> Says what it is.

. Run `oc get -n _<namespace>_`.
+
WARNING: Only once.

ifdef::product-title[]
. Shown
endif::[]
ifndef::product-title[]
. Hidden
endif::[]

[[more]]
== More about *it*

Text.

== It's a heading

include::other.adoc[]
Text
"""


def test_an_asciidoc_module_reads_like_its_html() -> None:
    page = parse_asciidoc(MODULE, "modules/creating")
    assert (page.title, page.language) == ("Creating a secret for Acme", "en")
    assert page.attributes == (("_mod-docs-content-type", "PROCEDURE"), ("product-title", "Acme"))
    assert places(page) == [
        ((), "creating"),
        (("More about it",), "more"),
        (("It's a heading",), "_its_a_heading"),
    ]
    assert blocks(page) == [
        "As an administrator, see the guide, More about it and {unknown}.",
        "Prerequisites",
        "- The OpenShift CLI",
        "  - `podman` 1.9.3+",
        "Procedure",
        "1. Create it:",
        "  The file",
        "  ```yaml\n  kind: Acme <1>\n\n  # {{ not }} filled\n  ```",
        "  <1> Says what it is.",
        "2. Run `oc get -n <namespace>`.",
        "  Warning: Only once.",
        "3. Shown",
        "Text.",
        "Text",
    ]
    assert page.problems == (
        "attribute {unknown} is not defined and stays as written",
        "include of other.adoc is not read",
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("*b* _i_ `c` #h# [.role]#x# **w**ord H~2~O", "b i `c` h x word H2O"),
        ("snake_case_name and 2*3*4 stay", "snake_case_name and 2*3*4 stay"),
        ("link:https://a.example[Mirror^] https://b.example[B] https://c.example",
         "Mirror B https://c.example"),
        ('link:x[] link:y["a, b",window=_blank] mailto:a@b.c[Mail]', "x a, b Mail"),
        ("xref:guide.adoc[] xref:guide.adoc#top[] <<id,text>>", "guide top text"),
        ("kbd:[Ctrl+T] btn:[OK] menu:File[Save > As]", "Ctrl+T OK File > Save > As"),
        ("A footfootnote:[no] foot footnote:[The foot.]", "A footfootnote:[no] foot (The foot.)"),
        ("image:x.png[A plan,100] icon:x[] ((term)) (((no,no)))", "A plan term"),
        ("+*raw*+ pass:[*r*] `+{x}+` ++a_b_c++", "*raw* *r* `{x}` a_b_c"),
        ("`*.txt` and `*.md`", "`*.txt` and `*.md`"),
        ("&lt;x&gt; &copy; \\*no* \"`said`\" {plus}1", "<x> © *no* “said” +1"),
        ("one +\ntwo", "one two"),
        ("NOTE: Mind this.", "Note: Mind this."),
        ("[TIP]\n====\nMind this.\n====", "Tip: Mind this."),
        (".Title\n[NOTE]\nText", "Note: Title|Text"),
        ("====\nexample\n====\n\n****\nside\n****\n\n--\nopen\n--", "example|side|open"),
        ("////\nno\n////\n// no\nyes", "yes"),
        ("++++\n<b>no</b>\n++++\n\nyes", "yes"),
        (" literal\n   text", "```\nliteral\n  text\n```"),
        ("....\n*a*\n....", "```\n*a*\n```"),
        ("```bash\nls\n```", "```bash\nls\n```"),
        ("[source,c]\nint x;", "```c\nint x;\n```"),
        ("----\n// kept\n:kept: 1\n----", "```\n// kept\n:kept: 1\n```"),
        ("A:: one\nmore\nB::\n+\n--\ntwo\n--\n-c::\n--cc:: three",
         "A|  one more#B#  two#-c, --cc|  three"),
        ("* a\n.. b\n... c\n* d", "- a#  1. b#    1. c#- d"),
        ("* a\n** b\n\n+\nof a", "- a#  - b#  of a"),
        ("[start=4]\n. four\n. five", "4. four#5. five"),
        ("|===\n|A |B\n\n|1\n|2\n\n2+|both\n|===", "| A | B ||| --- | --- ||| 1 | 2 ||| both |  |"),
        ("[cols=\"1,2a\",options=header]\n|===\n|h|i\n.2+|x|* p\n|y\n|===",
         "| h | i ||| --- | --- ||| x | - p ||| x | y |"),
        ("[%header,format=csv]\n|===\na,b\n1,\"2,3\"\n|===", "| a | b ||| --- | --- ||| 1 | 2,3 |"),
        (",===\na,b\n,===", "|  |  ||| --- | --- ||| a | b |"),
        ("ifeval::[\"{v}\" == \"2\"]\nno\nendif::[]\n:v: 2\nifeval::[{v} >= 2]\nyes\nendif::[]",
         "yes"),
        ("ifdef::x[no]\nifndef::x[yes]", "yes"),
        (":long: one \\\ntwo\n\n{long}", "one two"),
        (":a: 1\n:!a:\n\n{a}", "{a}"),
        ("toc::[]\n\n'''\n\n<<<\n\nimage::x.png[Plan]", "Plan"),
    ],
)  # fmt: skip
def test_asciidoc_markup_shows_what_a_reader_sees(source: str, shown: str) -> None:
    said = blocks(parse_asciidoc(source, "p"))
    options = {"\n".join(said).replace("\n", "|"), "#".join(b.replace("\n", "|") for b in said)}
    assert shown.replace("\n", "|") in options


@pytest.mark.parametrize(
    ("source", "anchors"),
    [
        ("== One, *two*: three.four\n\nx", ["_one_two_three_four"]),
        ("== Same\n\nx\n\n== Same\n\nx", ["_same", "_same_2"]),
        (":idprefix:\n:idseparator: -\n\n== One two\n\nx", ["one-two"]),
        ("[#short.role]\n== One\n\nx", ["short"]),
        ("[id=named]\n== One\n\nx", ["named"]),
        ("One\n---\n\nx", ["_one"]),
        ("----\n== No heading\n----\n\n== Yes\n\nx", ["", "_yes"]),
        ("[discrete]\n== No section\n\nx", [""]),
    ],
)
def test_an_asciidoc_section_has_asciidoctors_id(source: str, anchors: list[str]) -> None:
    assert [section.anchor for section in parse_asciidoc(source, "p").sections] == anchors


# PDF


def pdf(pages: list[list[tuple[str, int, int, int, str]]], *, title: str = "",
        outline: list[tuple[str, int]] = ()) -> bytes:  # type: ignore[assignment]  # fmt: skip
    """Write a PDF: texts with size, x, y and font a page, and bookmarks to pages."""
    kids = " ".join(f"{10 + 2 * n} 0 R" for n in range(len(pages)))
    marks = 10 + 2 * len(pages)
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R /Outlines {marks} 0 R >>",
        2: f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        4: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
        5: f"<< /Title ({title}) >>",
    }
    for n, texts in enumerate(pages):
        drawn = "\n".join(
            f"BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET" for text, size, x, y, font in texts
        )
        objects[10 + 2 * n] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {11 + 2 * n} 0 R"
            " /Resources << /Font << /F 3 0 R /M 4 0 R >> >> >>"
        )
        objects[11 + 2 * n] = f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream"
    ends = f"/First {marks + 1} 0 R /Last {marks + len(outline)} 0 R" if outline else ""
    objects[marks] = f"<< /Type /Outlines /Count {len(outline)} {ends} >>"
    for n, (name, page) in enumerate(outline, start=1):
        after = f"/Next {marks + n + 1} 0 R" if n < len(outline) else ""
        objects[marks + n] = (
            f"<< /Title ({name}) /Parent {marks} 0 R {after} /Dest [{10 + 2 * page} 0 R /Fit] >>"
        )
    body, offsets = "%PDF-1.4\n", {}
    for number in sorted(objects):
        offsets[number] = len(body)
        body += f"{number} 0 obj\n{objects[number]}\nendobj\n"
    table = "".join(f"{number} 1\n{offset:010d} 00000 n \n" for number, offset in offsets.items())
    trailer = f"trailer << /Root 1 0 R /Info 5 0 R /Size {marks + len(outline) + 1} >>"
    return f"{body}xref\n{table}{trailer}\nstartxref\n{len(body)}\n%%EOF\n".encode()


def manual() -> list[list[tuple[str, int, int, int, str]]]:
    furniture = [("Acme Pump manual, release 3", 9, 50, 780, "F")]
    return [
        [*furniture, ("Acme Pump", 24, 50, 740, "F"),
         ("The pump moves water through the house and has to be cleaned every spring with pure al-",
          10, 50, 700, "F"), ("cohol, never with acid.", 10, 50, 688, "F"), ("1", 9, 300, 20, "F")],
        [*furniture, ("2 Backups", 16, 50, 740, "F"), ("Run this every night:", 10, 50, 700, "F"),
         ("pumpctl backup \\\\", 10, 50, 680, "M"), ("--all", 10, 62, 668, "M"),
         ("2", 9, 300, 20, "F")],
        [*furniture, ("Copies are kept for a week.", 10, 50, 740, "F"), ("3", 9, 300, 20, "F")],
    ]  # fmt: skip


def parsed(tmp_path: Path, data: bytes) -> Page:
    (tmp_path / "x.pdf").write_bytes(data)
    return parse_pdf(tmp_path / "x.pdf", "guides/x")


def test_a_pdf_is_cut_at_its_bookmarks_and_pages(tmp_path: Path) -> None:
    data = pdf(manual(), title="Pump manual", outline=[("Acme Pump", 0), ("Backups", 1)])
    page = parsed(tmp_path, data)
    assert page.title == "Pump manual"
    assert places(page) == [
        (("Acme Pump",), "page=1"), (("Backups",), "page=2"), (("Backups",), "page=3")
    ]  # fmt: skip
    assert blocks(page) == [
        "The pump moves water through the house and has to be cleaned every spring with pure "
        "alcohol, never with acid.",
        "Run this every night:",
        "```\npumpctl backup \\\n  --all\n```",
        "Copies are kept for a week.",
    ]
    assert page.sections[1].blocks[1].kind is Kind.CODE


def test_a_pdf_without_bookmarks_is_cut_at_large_lines(tmp_path: Path) -> None:
    page = parsed(tmp_path, pdf(manual(), title="untitled.docx"))
    assert page.title == "Acme Pump"
    assert [section.anchor for section in page.sections] == ["page=1", "page=2", "page=3"]
    assert page.sections[1].heading_path == ("Acme Pump", "2 Backups")


def test_a_pdf_without_text_or_sense_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePdfError, match=r"no text \(scanned\?\): run OCR first"):
        parsed(tmp_path, pdf([[]]))
    for damaged in (b"", b"not a pdf", pdf(manual())[:300].replace(b"/Type", b"/Tpye")):
        with pytest.raises(UnreadablePdfError, match="damaged"):
            parsed(tmp_path, damaged)


def test_an_encrypted_pdf_says_so(tmp_path: Path) -> None:
    from pypdf import PdfWriter

    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    with (tmp_path / "x.pdf").open("wb") as file:
        writer.write(file)
    with pytest.raises(UnreadablePdfError, match="encrypted"):
        parse_pdf(tmp_path / "x.pdf", "x")


# Hostile pages

NESTED = "\n".join(f"{'  ' * min(n, 500)}- {n}" for n in range(3_000))


@pytest.mark.parametrize(
    "source",
    [
        ">" * 100_000 + " deep",
        "- " * 100_000 + "deep",
        NESTED,
        "```\nnever closed\n" * 2_000,
        "x" * 5_000_000,
        "![[" * 100_000,
        "*a_" * 100_000,
        "<" * 200_000,
        "::::{note}\n" * 2_000,
        "---\n" + "[" * 60_000 + "\n---\ntext",
        "`" * 100_000 + "a",
        "<div>\n" + "<!--" * 50_000,
        "<div>\n" + "<a " * 50_000,
        "<div>\n" + "<table><tr><td>" * 20_000,
        "# " + "<a id=x>" * 20_000,
        "(" * 20_000 + "[" * 20_000 + "](" * 20_000,
        "$a" * 50_000,
        "!!! note\n" + "    !!! note\n" * 3_000,
        "{{<" * 16_000,
        "| a |\n|---|\n" + "| b |\n" * 20_000,
    ],
    ids=range(20),
)
def test_no_markdown_takes_long(source: str) -> None:
    began = time.monotonic()
    parse_markdown(source, "p")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "source",
    [
        "\n".join("*" * min(n, 20) + " x" for n in range(1, 20_000)),
        "\n".join(f". {n}\n+\n--" for n in range(3_000)),
        "\n".join("=" * n for n in range(4, 1_500)),
        "----\nnever closed\n" * 2_000,
        "x" * 5_000_000,
        "*a_b`" * 10_000,
        "link:" * 9_000,
        "<<" * 20_000,
        "\n".join(f":a{n}: {{a{n - 1}}}{{a{n - 1}}}" for n in range(1, 60)) + "\n{a59}" * 1_000,
        ":a: " + "x" * 9_000 + "\n\n" + "{a}" * 100_000,
        "include::self.adoc[]\n" * 20_000,
        "ifdef::x[]\n" * 20_000,
        "|===\n" + "9999999*|x\n" * 1_000,
        "|===\na|\n!===\n" * 2_000,
        "+" * 49_000,
        "[" * 49_000,
        "a" * 40_000 + "::",
        "A::\n" * 20_000,
    ],
    ids=range(18),
)
def test_no_asciidoc_takes_long(source: str) -> None:
    began = time.monotonic()
    parse_asciidoc(source, "p")
    assert time.monotonic() - began < 20
