"""From any text to a safe FTS5 expression."""

import re

_MOST_TERMS = 32
_MOST_CHARACTERS = 4000
_IDENTIFIER = re.compile(r"\w_\w|\w{2,}\.\w{2,}|--\w|[a-z][A-Z]")
_TERM = re.compile(r"\w+(?:[.\-]\w+)*")
_COMMON = """
    a about an and any are as at be by can could did do does for from get give had has have how
    i if in into is it its like me my need of on or our please should so some tell than that the
    their them then there these they this to use using want was we were what when where which
    who why will with would you your
""".split()  # noqa: SIM905  # a list would fill the page


def match_expression(text: str) -> str | None:
    """Return an expression that finds any of the text's words, or None where it has no words.

    A term with dots, dashes or underscores becomes a phrase, so that identifiers match exactly.
    """
    terms = dict.fromkeys(_TERM.findall(text[:_MOST_CHARACTERS].lower()))
    telling = [term for term in terms if term not in _COMMON] or list(terms)
    # Nothing in a term can end the quotes, so no word is an operator.
    return " OR ".join(f'"{term}"' for term in telling[:_MOST_TERMS]) or None


def names_identifier(text: str) -> bool:
    """Whether a text holds a name of code, as a setting, a dotted path or a flag."""
    return _IDENTIFIER.search(text[:_MOST_CHARACTERS]) is not None
