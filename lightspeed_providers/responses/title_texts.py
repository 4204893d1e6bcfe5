"""What a model is asked for a conversation's title, and the title in what it says."""

import re

_LONGEST = 100
_ENOUGH = 1_500  # characters of question and answer each
_LABEL = re.compile(r"^\W*title\s*[:\-]\s*", re.IGNORECASE)
_WRAPPING = " \t\"'`*#_«»“”‘’„."


def title_prompt(max_words: int) -> str:
    """Return the system prompt that asks for a title."""
    return (
        f"Write a title of at most {max_words} words for the conversation below, in its language. "
        "Answer with the title alone."
    )


def beginning(question: str, answer: str) -> str:
    """Return the beginning of a conversation, as the model reads it."""
    return f"Question: {question[:_ENOUGH]}\n\nAnswer: {answer[:_ENOUGH]}"


def title_in(said: str, max_words: int) -> str:
    """Return the title in what a model said, on one line; empty where there is none."""
    line = next((line for line in said.splitlines() if line.strip(_WRAPPING)), "")
    words = _LABEL.sub("", line.strip()).strip(_WRAPPING).split()
    kept = " ".join(words[:max_words])
    return kept[:_LONGEST].strip(_WRAPPING)
