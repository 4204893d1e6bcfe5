"""A page as passages, cut along its structure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lightspeed_providers.product_rag.index.content import embedded_text
from lightspeed_providers.product_rag.ingest.page import Block, Kind, Page

MAX_WORDS = 180
_SMALL = 30
"""Words under which a piece is joined to what stands under its own heading."""
_TINY = 12
"""Words under which pieces of sibling headings are joined; only the first one's anchor is kept."""
_MOST_HEADING_TOKENS = 60
_LEAD_IN_WORDS = 40
_LONGEST_CODE = 4
"""A code block longer than so many passages is cut between its paragraphs."""
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of a passage, where it stands in its page."""

    heading_path: tuple[str, ...]
    anchor: str
    content: str


@dataclass(frozen=True, slots=True)
class Measure:
    """How long a passage may be."""

    max_tokens: int
    count: Callable[[str], int]
    max_words: int = MAX_WORDS

    def fits(self, text: str, heading: str) -> bool:
        """Whether a text is read whole by the embedding model, heading included."""
        if len(text.split()) > self.max_words:
            return False
        room = self.max_tokens - min(self.count(heading), _MOST_HEADING_TOKENS)
        # Every token has a character, so short texts need no counting.
        return len(text) <= room or self.count(text) <= room

    def beside(self, text: str) -> "Measure":
        """What is left beside a text that is always there; at least half."""
        return replace(
            self,
            max_tokens=max(self.max_tokens - self.count(text), self.max_tokens // 2),
            max_words=max(self.max_words - len(text.split()), self.max_words // 2),
        )


def pieces_of(page: Page, measure: Measure) -> list[Piece]:
    """Return a page's pieces in order: whole code blocks, bounded length, small ones joined."""
    pieces = [
        Piece(section.heading_path, section.anchor, content)
        for section in page.sections
        for content in _packed(section.blocks, _heading(page, section.heading_path), measure)
    ]
    return _joined(pieces, page, measure)


def _heading(page: Page, path: Sequence[str]) -> str:
    return embedded_text(page.title, path, "")


def _packed(blocks: Sequence[Block], heading: str, measure: Measure) -> Iterator[str]:
    """Fill texts with whole blocks; a block that is too long is cut where its kind allows."""
    taken: list[Block] = []
    for block in (part for whole in blocks for part in _parts(whole, heading, measure)):
        if taken and not measure.fits(_text([*taken, block]), heading):
            carried = _lead_in(taken, block)
            together = _text([*carried, block])
            if measure.fits(block.text, heading) and not measure.fits(together, heading):
                carried = []
            yield _text(taken[: len(taken) - len(carried)])
            taken = carried
        taken.append(block)
    if taken:
        yield _text(taken)


def _lead_in(taken: list[Block], block: Block) -> list[Block]:
    """The sentence that announces a block goes with it."""
    last = taken[-1]
    announces = (
        block.kind is not Kind.TEXT
        and len(taken) > 1
        and last.kind is Kind.TEXT
        and last.text.endswith(":")
        and len(last.text.split()) <= _LEAD_IN_WORDS
    )
    return [last] if announces else []


def _parts(block: Block, heading: str, measure: Measure) -> Iterator[Block]:
    if measure.fits(block.text, heading):
        yield block
    elif block.kind is Kind.CODE:
        yield from _code_parts(block, measure)
    elif block.kind is Kind.TABLE:
        yield from _table_parts(block, heading, measure)
    else:
        sentences = _SENTENCE_END.split(block.text)
        for text in _filled(sentences, " ", heading, measure):
            yield Block(text)


def _code_parts(block: Block, measure: Measure) -> Iterator[Block]:
    """Keep code whole; only what no model could be given is cut, where it has an empty line."""
    if measure.count(block.text) <= _LONGEST_CODE * measure.max_tokens:
        yield block
        return
    opening, *lines, closing = block.text.split("\n")
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    room = Measure(_LONGEST_CODE * measure.max_tokens, measure.count, max_words=10**9)
    for text in _filled(paragraphs, "\n\n", "", room):
        yield Block(f"{opening}\n{text}\n{closing}", Kind.CODE)


def _table_parts(block: Block, heading: str, measure: Measure) -> Iterator[Block]:
    """Cut a table between rows and repeat its head."""
    head, rows = block.text.split("\n")[:2], block.text.split("\n")[2:]
    for text in _filled(rows, "\n", heading, measure.beside("\n".join(head))):
        yield Block("\n".join([*head, text]), Kind.TABLE)


def _filled(parts: Sequence[str], glue: str, heading: str, measure: Measure) -> Iterator[str]:
    taken = ""
    for part in (piece for whole in parts for piece in _words(whole, glue, heading, measure)):
        longer = f"{taken}{glue}{part}" if taken else part
        if taken and not measure.fits(longer, heading):
            yield taken
            longer = part
        taken = longer
    if taken:
        yield taken


def _words(part: str, glue: str, heading: str, measure: Measure) -> Iterator[str]:
    """Cut a sentence without an end, as a long list of names, between words."""
    if glue != " " or measure.fits(part, heading):
        yield part
        return
    words = part.split(" ")
    if len(words) == 1:
        yield part
        return
    middle = len(words) // 2
    yield from _words(" ".join(words[:middle]), glue, heading, measure)
    yield from _words(" ".join(words[middle:]), glue, heading, measure)


def _text(blocks: Sequence[Block]) -> str:
    text = ""
    for before, block in zip([None, *blocks], blocks, strict=False):
        is_list = before and _is_item(before) and _is_item(block)
        text += ("" if before is None else "\n" if is_list else "\n\n") + block.text
    return text


def _is_item(block: Block) -> bool:
    return block.kind is Kind.TEXT and block.text.lstrip().startswith(("- ", "* "))


def _joined(pieces: Sequence[Piece], page: Page, measure: Measure) -> list[Piece]:
    """Join a small piece to the next one under its heading, or to a small one beside it."""
    result: list[Piece] = []
    for piece in pieces:
        together = _together(result[-1], piece) if result else None
        if together and measure.fits(together.content, _heading(page, together.heading_path)):
            result[-1] = together
        else:
            result.append(piece)
    return result


def _together(first: Piece, second: Piece) -> Piece | None:
    """The piece that two neighbours make, or None where they stand on their own."""
    path, other = first.heading_path, second.heading_path
    if path == other and (_is_small(first) or _is_small(second)):
        return replace(first, content=f"{first.content}\n\n{second.content}")
    if not _is_small(first):
        return None
    is_below = other[: len(path)] == path
    if is_below and not _is_small(second):
        # The place of the second names the first one's heading too, and is the exacter address.
        return replace(second, content=f"{first.content}\n\n{second.content}")
    if is_below:
        return replace(first, content=f"{first.content}\n\n{_named(second)}")
    if _is_tiny(first) and _is_tiny(second) and path and other and path[:-1] == other[:-1]:
        content = f"{_named(first)}\n\n{_named(second)}"
        return Piece(path[:-1], first.anchor, content)
    return None


def _named(piece: Piece) -> str:
    """A piece's text with its own heading, unless it begins with that."""
    heading = piece.heading_path[-1]
    says_it = piece.content.startswith(heading.removesuffix("()"))
    return piece.content if says_it else f"{heading}\n{piece.content}"


def _is_small(piece: Piece) -> bool:
    return len(piece.content.split()) < _SMALL


def _is_tiny(piece: Piece) -> bool:
    return len(piece.content.split()) < _TINY
