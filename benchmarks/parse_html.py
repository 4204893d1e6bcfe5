"""Pages a CPU-second that HTML gives, and whether all code and table headers are in them.

    python benchmarks/parse_html.py DIRECTORY

Every `pre` and `th` outside of navigation is looked for in the text of its page, line by line.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from lightspeed_providers.product_rag.ingest.decode import decoded
from lightspeed_providers.product_rag.ingest.html_code import code_text
from lightspeed_providers.product_rag.ingest.html_kinds import is_silent
from lightspeed_providers.product_rag.ingest.html_tree import main_content, tree_of
from lightspeed_providers.product_rag.ingest.page import Page
from lightspeed_providers.product_rag.ingest.parse import UnreadableError, parse_file
from lightspeed_providers.product_rag.ingest.sources import find_sources


def main(directory: Path) -> int:
    """Print the numbers; what is lost is named and makes the exit code 1."""
    sources = find_sources(directory)
    files = [file for file in sources.files if file.suffix in {".html", ".htm", ".xhtml"}]
    pages: dict[Path, Page] = {}
    left_out: Counter[str] = Counter()
    slowest = (0.0, "")
    started = time.process_time()
    for file in files:
        began = time.process_time()
        try:
            pages[file] = parse_file(file, sources.name_of(file), txt_is_rst=False)
        except UnreadableError as reason:
            left_out[str(reason)] += 1
        slowest = max(slowest, (time.process_time() - began, file.name))
    seconds = time.process_time() - started
    print(
        f"{len(files)} files, {seconds:.2f} CPU seconds: {len(files) / seconds:.0f} pages a second"
    )
    print(f"slowest: {slowest[1]} ({slowest[0]:.2f} s); left out: {dict(left_out)}")
    found: Counter[str] = Counter()
    lost = [(file, kind, text) for file, page in pages.items()
            for kind, text in _lost(file, page, found)]  # fmt: skip
    for file, kind, text in lost[:20]:
        print(f"lost in {file.name}: <{kind}> {text[:100]!r}")
    print(f"looked for {dict(found)}; lost: {len(lost)}")
    return 1 if lost else 0


def _lost(file: Path, page: Page, found: Counter[str]) -> Iterator[tuple[str, str]]:
    blocks = [block.text for section in page.sections for block in section.blocks]
    lines = {line.strip() for block in blocks for line in block.split("\n")}
    words = _words(" ".join(blocks))
    text, _ = decoded(file.read_bytes(), may_declare=True)
    content = main_content(tree_of(text)[0])
    for node in content.iter("pre", "th"):
        if _is_hidden(node):
            continue
        found[str(node.tag)] += 1
        if node.tag == "th" or next(node.iterancestors("td", "th"), None) is not None:
            if _words(_shown(node)) not in words:
                yield str(node.tag), _shown(node)
            continue
        missing = [line for line in code_text(node).split("\n") if line.strip() not in lines]
        if any(line.strip() for line in missing):
            yield "pre", next(line for line in missing if line.strip())


def _is_hidden(node: etree._Element) -> bool:
    return is_silent(node) or any(is_silent(around) for around in node.iterancestors())


def _shown(node: etree._Element) -> str:
    return " ".join(t for t in node.itertext() if not _is_hidden_text(t))


def _is_hidden_text(text: object) -> bool:
    holder = getattr(text, "getparent", lambda: None)()
    return holder is not None and not getattr(text, "is_tail", False) and is_silent(holder)


def _words(text: str) -> str:
    """Letters and digits only: cells are told apart by signs that the page does not have."""
    return "".join(sign for sign in text if sign.isalnum())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/parse_html.py DIRECTORY")
    sys.exit(main(Path(sys.argv[1])))
