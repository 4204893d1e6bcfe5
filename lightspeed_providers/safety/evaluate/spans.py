"""What of a text a redaction took out, told from what it left."""

import re
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*?)_(\d{1,6})>")


@dataclass(frozen=True, slots=True)
class Taken:
    """A stretch of the text that a placeholder stands for now."""

    start: int
    end: int
    label: str


def taken_out(before: str, after: str) -> list[Taken]:
    """Return the stretches of a text that placeholders stand for in its rewritten form.

    What the text itself says in the form of a placeholder stays as it is and is none.
    """
    pieces = _PLACEHOLDER.split(after)
    kept, labels, numbers = pieces[::3], pieces[1::3], pieces[2::3]
    pattern = [re.escape(kept[0])]
    for label, number, text in zip(labels, numbers, kept[1:], strict=True):
        pattern += [f"({re.escape(f'<{label}_{number}>')}|.+?)", re.escape(text)]
    found = re.fullmatch("".join(pattern), before, re.DOTALL)
    if found is None:
        return [Taken(0, len(before), label) for label in labels[:1]]
    return [
        Taken(*found.span(n), label)
        for n, (label, number) in enumerate(zip(labels, numbers, strict=True), start=1)
        if found[n] != f"<{label}_{number}>"
    ]
