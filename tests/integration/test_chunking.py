"""A page becomes passages: nothing is lost, and nothing is cut that must stay whole."""

import functools
import random
import re
from collections.abc import Iterator

import pytest

from lightspeed_providers.core.model_packages import DEFAULT_EMBEDDING_MODEL
from lightspeed_providers.product_rag.index.content import embedded_text
from lightspeed_providers.product_rag.ingest.chunk import Measure, Piece, pieces_of
from lightspeed_providers.product_rag.ingest.page import Block, Kind, Page, Section
from lightspeed_providers.product_rag.ingest.tokens import token_counter, token_limit

MOST_TOKENS = 254
MOST_WORDS = 180
LONGEST_CODE = 4 * MOST_TOKENS


def words_of(text: str) -> int:
    return len(text.split())


def signs_of(text: str) -> int:
    """Tokens as a model without our words would see them: up to four letters each."""
    return len(re.findall(r"\w{1,4}|[^\w\s]", text))


def page_of(*blocks: Block, path: tuple[str, ...] = ("Section",)) -> Page:
    return Page("p", "Title", (Section(path, "a", blocks),))


def test_no_code_block_is_cut_and_no_text_is_lost() -> None:
    code = Block("```\n" + "\n".join(f"x{n} = {n}" for n in range(150)) + "\n```", Kind.CODE)
    text = Block(" ".join(f"Sentence number {n} says a thing." for n in range(100)))
    pieces = pieces_of(page_of(text, Block("For example:"), code), Measure(254, words_of))
    contents = [piece.content for piece in pieces]
    assert sum(code.text in content for content in contents) == 1
    assert all(words_of(c) <= MOST_WORDS for c in contents if code.text not in c)
    everything = " ".join(" ".join(contents).split())
    assert " ".join(text.text.split()) in everything


def test_the_sentence_that_announces_code_goes_with_it() -> None:
    code = Block("```\n" + "a = 1\n" * 40 + "```", Kind.CODE)
    blocks = (Block("word " * 90 + "end."), Block("For example:"), code)
    last = pieces_of(page_of(*blocks), Measure(254, words_of))[-1]
    assert last.content.startswith("For example:\n\n```")


def test_code_that_no_model_could_be_given_is_cut_at_empty_lines() -> None:
    functions = [f"def f{n}():\n    first = {n}\n\n    return first" for n in range(300)]
    code = Block("```python\n" + "\n\n".join(functions) + "\n```", Kind.CODE)
    pieces = pieces_of(page_of(code), Measure(MOST_TOKENS, signs_of))
    assert len(pieces) > 1
    assert all(p.content.startswith("```python\n") and p.content.endswith("\n```") for p in pieces)
    assert all(signs_of(piece.content) <= LONGEST_CODE + 8 for piece in pieces)
    inside = "\n\n".join(p.content.removeprefix("```python\n")[:-4] for p in pieces)
    assert inside == "\n\n".join(functions)


def test_code_without_an_empty_line_is_never_cut() -> None:
    code = Block("```\n" + "\n".join(f"line {n}" for n in range(2000)) + "\n```", Kind.CODE)
    pieces = pieces_of(page_of(Block("Before."), code), Measure(MOST_TOKENS, signs_of))
    assert sum(code.text in piece.content for piece in pieces) == 1


def test_a_long_table_is_cut_between_rows_and_repeats_its_head() -> None:
    rows = [f"| setting {n} | what setting {n} does |" for n in range(60)]
    table = Block("\n".join(["| Name | Meaning |", "| --- | --- |", *rows]), Kind.TABLE)
    pieces = pieces_of(page_of(table), Measure(254, words_of))
    assert len(pieces) > 1
    assert all(piece.content.startswith("| Name | Meaning |\n| --- |") for piece in pieces)
    assert [r for p in pieces for r in p.content.split("\n")[2:]] == rows


def test_the_head_of_a_wide_table_counts_too() -> None:
    head = "| " + " | ".join(f"Column about subject {n}" for n in range(24)) + " |"
    rows = ["| " + " | ".join(f"v{n}" for n in range(24)) + " |" for _ in range(30)]
    table = Block("\n".join([head, "| --- " * 24 + "|", *rows]), Kind.TABLE)
    for piece in pieces_of(page_of(table), Measure(700, signs_of, max_words=10**6)):
        assert signs_of(embedded_text("Title", piece.heading_path, piece.content)) <= 700


def test_small_neighbours_are_joined() -> None:
    sections = tuple(Section(("Terms", f"Term {n}"), f"t{n}", (Block("Short."),)) for n in range(3))
    pieces = pieces_of(Page("p", "Title", sections), Measure(254, words_of))
    assert [piece.content for piece in pieces] == [
        "Term 0\nShort.\n\nTerm 1\nShort.\n\nTerm 2\nShort."
    ]
    assert (pieces[0].heading_path, pieces[0].anchor) == (("Terms",), "t0")


def test_a_page_without_text_gives_nothing() -> None:
    assert pieces_of(Page("p", "Title", ()), Measure(254, words_of)) == []


# Properties, over pages of any shape


class PageMaker:
    """Pages by chance, always the same for one seed; every word of theirs is there once."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = 0

    def page(self) -> Page:
        return Page("p", self._heading(), tuple(self._sections()))

    def _sections(self) -> Iterator[Section]:
        path: tuple[str, ...] = ()
        for number in range(self._chance.randint(1, 12)):
            blocks = tuple(self._block() for _ in range(self._chance.choice([1, 1, 2, 3, 8])))
            yield Section(path, f"anchor-{number}", blocks)
            path = (*path[: self._chance.randint(0, 2)], self._heading())

    def _block(self) -> Block:
        kind = self._chance.choice(["text", "text", "text", "item", "lead-in", "code", "table"])
        if kind == "code":
            return Block(f"```\n{self._code()}\n```", Kind.CODE)
        if kind == "table":
            return Block(self._table(), Kind.TABLE)
        if kind == "item":
            return Block(f"- {self._sentence()}")
        if kind == "lead-in":
            return Block(self._sentence()[:-1] + ":")
        sentences = (self._sentence() for _ in range(self._chance.choice([1, 3, 10, 40])))
        return Block(" ".join(sentences))

    def _code(self) -> str:
        paragraphs = [
            "\n".join(f"{self._word()} = {self._word()}" for _ in range(self._chance.randint(1, 9)))
            for _ in range(self._chance.choice([1, 2, 5, 20, 60]))
        ]
        return "\n\n".join(paragraphs)

    def _table(self) -> str:
        rows = [
            f"| {self._word()} | {self._sentence()} |"
            for _ in range(self._chance.choice([1, 4, 30]))
        ]
        return "\n".join(["| Name | Meaning |", "| --- | --- |", *rows])

    def _sentence(self) -> str:
        # Now and then a list of names that has no end.
        words = self._chance.choice([4, 9, 15, 25, 25, 25, 300])
        return " ".join(self._word() for _ in range(words)) + "."

    def _heading(self) -> str:
        return f"Heading {self._chance.randint(0, 10**9)}"

    def _word(self) -> str:
        self._words += 1
        return f"w{self._words}"


SEEDS = range(40)


@functools.cache
def cut(seed: int) -> tuple[Page, list[Piece]]:
    page = PageMaker(seed).page()
    return page, pieces_of(page, Measure(MOST_TOKENS, signs_of))


@pytest.fixture(params=SEEDS)
def page(request: pytest.FixtureRequest) -> Page:
    return cut(request.param)[0]


@pytest.fixture
def pieces(request: pytest.FixtureRequest, page: Page) -> list[Piece]:
    return cut(request.node.callspec.params["page"])[1]


def blocks_of(page: Page, kind: Kind) -> list[str]:
    return [b.text for s in page.sections for b in s.blocks if b.kind is kind]


def test_every_word_is_there_once_and_in_order(page: Page, pieces: list[Piece]) -> None:
    words = [re.findall(r"\bw\d+\b", block.text) for s in page.sections for block in s.blocks]
    found = [re.findall(r"\bw\d+\b", piece.content) for piece in pieces]
    assert [w for some in found for w in some] == [w for some in words for w in some]


def test_code_stays_whole_up_to_its_length(page: Page, pieces: list[Piece]) -> None:
    for code in blocks_of(page, Kind.CODE):
        whole = sum(code in piece.content for piece in pieces)
        assert whole == 1 or (whole == 0 and signs_of(code) > LONGEST_CODE)


def test_no_row_is_cut(page: Page, pieces: list[Piece]) -> None:
    lines = [line for piece in pieces for line in piece.content.split("\n")]
    for table in blocks_of(page, Kind.TABLE):
        assert [lines.count(row) for row in table.split("\n")[2:]] == [1] * (table.count("\n") - 1)


def test_only_code_and_single_rows_are_longer_than_the_bound(pieces: list[Piece]) -> None:
    for piece in pieces:
        if "```" in piece.content:
            continue
        rows = [line for line in piece.content.split("\n") if line.startswith("| w")]
        if len(rows) == 1 and words_of(rows[0]) > MOST_WORDS - 20:
            continue
        heading = min(signs_of(embedded_text("Heading 123456789", piece.heading_path, "")), 60)
        assert signs_of(piece.content) + heading <= MOST_TOKENS
        assert words_of(piece.content) <= MOST_WORDS


def test_pieces_stand_where_their_page_says(page: Page, pieces: list[Piece]) -> None:
    anchors = {section.anchor for section in page.sections}
    paths = {s.heading_path[:n] for s in page.sections for n in range(len(s.heading_path) + 1)}
    assert {piece.anchor for piece in pieces} <= anchors
    assert {piece.heading_path for piece in pieces} <= paths


def test_a_section_that_fits_is_in_one_piece(page: Page, pieces: list[Piece]) -> None:
    for section in page.sections:
        if any(block.kind is not Kind.TEXT for block in section.blocks):
            continue
        words = " ".join(block.text for block in section.blocks)
        if signs_of(words) > MOST_TOKENS - 60 or words_of(words) > MOST_WORDS - 20:
            continue
        first, last = re.findall(r"\bw\d+\b", words)[:: max(words.count("w") - 1, 1)][:2]
        holding = [n for n, p in enumerate(pieces) if {first, last} & set(_names(p))]
        assert len(holding) == 1


def _names(piece: Piece) -> list[str]:
    return re.findall(r"\bw\d+\b", piece.content)


def test_the_same_page_is_cut_the_same() -> None:
    page, pieces = cut(3)
    assert pieces_of(page, Measure(MOST_TOKENS, signs_of)) == pieces


@pytest.mark.parametrize("seed", range(4))
def test_the_models_own_tokens_fit_its_window(seed: int) -> None:
    count, limit = token_counter(DEFAULT_EMBEDDING_MODEL), token_limit(DEFAULT_EMBEDDING_MODEL)
    page = PageMaker(1000 + seed).page()
    for piece in pieces_of(page, Measure(limit, count)):
        if "```" in piece.content or "| w" in piece.content:
            continue
        assert count(embedded_text(page.title, piece.heading_path, piece.content)) <= limit
