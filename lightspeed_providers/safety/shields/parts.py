"""The parts of a long text that slow shields judge one by one."""


def readable(text: str) -> str:
    """Return the text without characters that nobody sees, which only make it longer.

    Half a surrogate pair is one of them, so that the result can always be encoded.
    """
    if text.isascii():
        return text
    return "".join(c for c in text if c.isprintable() or c.isspace())


def spans(length: int, size: int, overlap: int, most: int) -> list[slice]:
    """Return overlapping stretches that cover a sequence: as many as that takes, up to `most`.

    A sequence that would take more gets `most` stretches, evenly spread over it from its first
    item to its last.
    """
    last = length - size
    if last <= 0:
        return [slice(0, length)]
    step = size - overlap
    count = -(-last // step) + 1
    if count <= most:
        starts = [min(number * step, last) for number in range(count)]
    else:
        starts = [number * last // max(most - 1, 1) for number in range(most)]
    return [slice(start, start + size) for start in starts]


def parts(text: str, size: int, overlap: int, most: int) -> list[str]:
    """Return the parts of the text that hold more than blanks; a blank text has none."""
    pieces = (text[span] for span in spans(len(text), size, overlap, most))
    return [piece for piece in pieces if piece and not piece.isspace()]
