"""How nested text, code and tables are laid out in blocks, whatever they were written in."""

from collections.abc import Iterable, Iterator, Sequence

from lightspeed_providers.product_rag.ingest.page import Block, Kind

INDENT = "  "


def text_block(text: str) -> Iterator[Block]:
    """Yield a text as a block, or nothing where there is none."""
    if text.strip():
        yield Block(text)


def code_block(code: str, language: str = "") -> Iterator[Block]:
    """Yield code between fences that are longer than any inside, so that it can't end them."""
    code = code.strip("\n").rstrip()
    if code:
        fence = "```"
        while fence in code:
            fence += "`"
        yield Block(f"{fence}{language}\n{code}\n{fence}", Kind.CODE)


def table_block(rows: Sequence[Sequence[str]], *, has_header: bool = True) -> Iterator[Block]:
    """Yield a pipe table; its first row is the head, an empty one where it has none."""
    if not rows:
        return
    width = max(len(row) for row in rows)
    full = [[_cell(text) for text in row] + [""] * (width - len(row)) for row in rows]
    if not has_header:
        full.insert(0, [""] * width)
    lines = [f"| {' | '.join(row)} |" for row in full]
    lines.insert(1, "|" + " --- |" * width)
    yield Block("\n".join(lines), Kind.TABLE)


def marked(mark: str, blocks: Iterable[Block], indent: str = INDENT) -> Iterator[Block]:
    """Put a mark before the first block and indent the rest below it."""
    rest = iter(blocks)
    first = next(rest, None)
    if first is None:
        return
    if first.kind is Kind.TEXT:
        yield Block(mark + indented(first.text, indent).lstrip())
    else:
        yield Block(mark.rstrip())
        yield Block(indented(first.text, indent), first.kind)
    yield from (Block(indented(block.text, indent), block.kind) for block in rest)


def headed(head: str, blocks: Sequence[Block]) -> Iterator[Block]:
    """Keep a term and the first text about it in one block, as one is nothing without the other."""
    if blocks and blocks[0].kind is Kind.TEXT:
        yield Block(f"{head}\n{indented(blocks[0].text)}".lstrip("\n"))
        blocks = blocks[1:]
    else:
        yield from text_block(head)
    yield from (Block(indented(block.text), block.kind) for block in blocks)


def indented(text: str, indent: str = INDENT) -> str:
    """Return a text with every line that says something moved to the right."""
    return "\n".join(f"{indent}{line}" if line else "" for line in text.split("\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
