"""What is searched for a question that leans on the one before."""

import re
from collections.abc import Sequence

_MOST_WORDS = 10
_MOST_CHARS = 500
_AFTER_A_PRONOUN = (
    "is|are|was|were|do|does|did|mean|means|work|works|too|again|instead|for|with|in|on|from|and|or"
    "|slower|faster|better|worse|safer|easier|different|possible|allowed|needed|required|supported"
    "|necessary|safe"
)
_LEANS = re.compile(
    r"\b(?:it|its|itself|they|them|their|then)\b"
    # "that model" names its object; "is that slower?" does not.
    rf"|\b(?:this|that|these|those)\b(?=\s*(?:$|[?.!,;]|(?:{_AFTER_A_PRONOUN})\b))",
    re.IGNORECASE,
)


def searched_for(question: str, history: Sequence[str]) -> str:
    """Return the text to search for: with the question before, where this one only points to it."""
    is_short = len(question.split()) <= _MOST_WORDS
    if not history or not is_short or _LEANS.search(question) is None:
        return question
    return f"{history[-1][:_MOST_CHARS]} {question}"
