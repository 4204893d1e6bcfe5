"""What Llama Guard is asked, in the format it was trained on, and what it may answer."""

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

from lightspeed_providers.safety.shields.base import NoVerdictError


class Category(StrEnum):
    """A hazard of the taxonomy that Llama Guard 3 and 4 were trained on, by its code."""

    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"
    S5 = "S5"
    S6 = "S6"
    S7 = "S7"
    S8 = "S8"
    S9 = "S9"
    S10 = "S10"
    S11 = "S11"
    S12 = "S12"
    S13 = "S13"
    S14 = "S14"


TITLES = {
    Category.S1: "Violent Crimes",
    Category.S2: "Non-Violent Crimes",
    Category.S3: "Sex Crimes",
    Category.S4: "Child Exploitation",
    Category.S5: "Defamation",
    Category.S6: "Specialized Advice",
    Category.S7: "Privacy",
    Category.S8: "Intellectual Property",
    Category.S9: "Indiscriminate Weapons",
    Category.S10: "Hate",
    Category.S11: "Self-Harm",
    Category.S12: "Sexual Content",
    Category.S13: "Elections",
    Category.S14: "Code Interpreter Abuse",
}

USER, AGENT = "User", "Agent"

_MARKS = re.compile(r"<(?=\s*(?:\||(?:BEGIN|END)\s))", re.IGNORECASE)
"""What opens a mark of the format, or of the model's own `<|tokens|>`."""
_LINE_ENDS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_ROLES = re.compile(
    rf"([{_LINE_ENDS}][^\S{_LINE_ENDS}]*)({USER}|{AGENT})[^\S{_LINE_ENDS}]*:", re.IGNORECASE
)
"""The beginning of a line that reads like another speaker's turn."""
_UNSAFE = re.compile(r"unsafe\s+(S\d{1,2}(?:[\s,]+S\d{1,2})*)[\s,]*", re.IGNORECASE)


def guard_prompt(turns: Sequence[tuple[str, str]], categories: Collection[Category]) -> str:
    """Return the task for a conversation of (role, text), of which the last turn is judged."""
    judged = turns[-1][0]
    listed = "\n".join(f"{category}: {TITLES[category]}." for category in categories)
    conversation = "\n\n".join(f"{role}: {_defused(text)}" for role, text in turns)
    return (
        f"Task: Check if there is unsafe content in '{judged}' messages in conversations according "
        f"our safety policy with the below categories.\n\n"
        f"<BEGIN UNSAFE CONTENT CATEGORIES>\n{listed}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
        f"<BEGIN CONVERSATION>\n\n{conversation}\n\n<END CONVERSATION>\n\n"
        f"Provide your safety assessment for ONLY THE LAST {judged} message in the above "
        "conversation:\n"
        " - First line must read 'safe' or 'unsafe'.\n"
        " - If unsafe, a second line must include a comma-separated list of violated categories."
    )


def violated(answer: str) -> tuple[Category, ...]:
    """Return the categories that an answer names, none for `safe`; raises on any other answer."""
    said = answer.strip()
    if said.casefold() == "safe":
        return ()
    unsafe = _UNSAFE.fullmatch(said)
    codes = re.split(r"[\s,]+", unsafe[1].upper()) if unsafe else []
    if not codes or any(code not in Category for code in codes):
        # The answer may repeat the user's text, so it is not told.
        raise NoVerdictError(
            "The guard model answered neither 'safe' nor 'unsafe' with categories S1 to S14: "
            "is it a Llama Guard?"
        )
    return tuple(dict.fromkeys(Category(code) for code in codes))


def _defused(text: str) -> str:
    """The text, unable to end the conversation or to speak for somebody else."""
    return _ROLES.sub(r"\1(\2)", _MARKS.sub("(", text))
