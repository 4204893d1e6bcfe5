"""Index terms of the PostgreSQL manual as search questions, one JSON object a line.

    python benchmarks/questions/postgresql_index_terms.py HTML_DIR --limit 400 > index-terms.jsonl

The authors of the manual say in its index (`bookindex.html`) where a subject is treated. Each entry
that links somewhere becomes a question of type "index-term"; what it links to is expected. A
sub-entry is asked together with the entries above it: "advisory lock", "index, partial".
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

INDEX_PAGE = "bookindex.html"
LEADING = ("as ", "by ", "for ", "from ", "in ", "of ", "on ", "to ", "with ")
TRAILING = (" as", " by", " for", " from", " in", " of", " on", " to", " with")
CROSS_REFERENCE = re.compile(r"\s*\((see|see also) .*\)$", re.IGNORECASE | re.DOTALL)


@dataclass
class Entry:
    """A line of the index: the terms from the outermost to its own, and the links it gives."""

    terms: list[str]
    links: list[str] = field(default_factory=list)


class IndexReader(HTMLParser):
    """Collects the entries of an index page; lists inside lists are sub-entries."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._above: list[str] = []
        self._term = ""
        self._in_term = False
        self._in_link = False
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a list, a term or a link to a page begins."""
        if tag == "dl":
            self._above.append("")
        elif tag == "dt":
            self._term, self._links, self._in_term = "", [], True
        elif tag == "a" and self._in_term and dict(attrs).get("class") == "indexterm":
            self._in_link = True
            self._links.append(dict(attrs).get("href") or "")

    def handle_data(self, data: str) -> None:
        """Collect the words of a term; the titles of the pages it links to are not among them."""
        if self._in_term and not self._in_link:
            self._term += data

    def handle_endtag(self, tag: str) -> None:
        """Close what began; a term is complete when it ends."""
        if tag == "a":
            self._in_link = False
        elif tag == "dl":
            self._above.pop()
        elif tag == "dt":
            self._in_term = False
            self._above[-1] = term = cleaned(self._term)
            self.entries.append(Entry([*self._above[:-1], term], self._links))


def cleaned(term: str) -> str:
    """Return a term without the commas before its links and without "(see ...)"."""
    words = " ".join(term.replace("\u200b", "").split())
    return CROSS_REFERENCE.sub("", re.sub(r"(\s*,)+$", "", words))


def question(terms: list[str]) -> str:
    """Return an entry and its sub-entries in the order in which one would say them."""
    asked = terms[0]
    for term in terms[1:]:
        if term.endswith(TRAILING):
            asked = f"{term} {asked}"
        elif term.startswith(LEADING):
            asked = f"{asked} {term}"
        else:
            asked = f"{asked}, {term}"
    return asked


def expected(links: list[str]) -> list[dict[str, str]]:
    """Return the pages and anchors that links name, each once."""
    targets = []
    for link in dict.fromkeys(links):
        page, _, anchor = link.partition("#")
        target = {"page": page.removesuffix(".html")}
        targets.append({**target, "anchor": anchor} if anchor else target)
    return targets


def split(asked: str) -> str:
    """Return the half that a question belongs to, the same in every run."""
    return "held-out" if hashlib.sha256(asked.encode()).digest()[0] % 2 else "tuning"


def questions(index_html: str) -> Iterator[dict[str, object]]:
    """Yield a question for each entry of the index that links somewhere.

    Entries that differ in case only, such as "ANALYZE" and "analyze", are one question.
    """
    reader = IndexReader()
    reader.feed(index_html)
    linked: dict[str, tuple[str, list[str]]] = {}
    for entry in reader.entries:
        if entry.links:
            asked = question(entry.terms)
            linked.setdefault(asked.casefold(), (asked, []))[1].extend(entry.links)
    for number, (asked, links) in enumerate(linked.values(), start=1):
        yield {
            "id": f"postgresql-index-{number:04}",
            "question": asked,
            "type": "index-term",
            "split": split(asked),
            "expected": expected(links),
        }


def evenly[T](items: list[T], limit: int) -> list[T]:
    """Return at most so many of the items, at equal distances."""
    if limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def positive(text: str) -> int:
    """Return the whole number above zero that a command line argument is."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return number


def main() -> None:
    """Write the questions to standard output."""
    about, usage, what = (__doc__ or "").strip().split("\n\n")
    parser = argparse.ArgumentParser(
        description=f"{about}\n\n{what}",
        epilog=usage.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("html_dir", type=Path, help=f"folder of the manual that has {INDEX_PAGE}")
    parser.add_argument("--limit", type=positive, help="an even sample of so many (default: all)")
    arguments = parser.parse_args()
    index = arguments.html_dir / INDEX_PAGE
    if not index.is_file():
        parser.error(f"{index} does not exist: give the folder with the manual's HTML pages")
    found = list(questions(index.read_text(encoding="utf-8")))
    for one in evenly(found, arguments.limit or len(found)):
        print(json.dumps(one, ensure_ascii=False))


if __name__ == "__main__":
    main()
