"""How much a model can read: estimates, and what its provider says when it was too much."""

import asyncio
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from lightspeed_providers.core.errors import RequestTooLargeError

TOO_LONG = (
    "The conversation is too long for model '{model}': start a new one, or send a shorter question."
)

_ENCODING = "cl100k_base"
_EXACT_CHARS = 400_000
_CHARS_A_TOKEN = 4
_EACH_MESSAGE = 4
_TELLS = re.compile(
    r"context[_ ]length|context[_ ]window|context[_ ]size|maximum context|max_model_len"
    r"|maximum model length|\b(?:prompt|inputs?|messages?)(?: \w+){0,3} too long"
    r"|too many (?:input )?tokens|exceeds? .{0,40}\b(?:maximum|max|limit|number) .{0,20}tokens"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_OTHER_REASONS = frozenset({401, 403, 404, 408, 429})


def says_too_long(fault: Exception) -> bool:
    """Tell whether a provider refused a request because the model can't read so much."""
    status = getattr(fault, "status_code", None)
    if status == RequestTooLargeError.status_code:
        return True
    is_an_answer = isinstance(fault, ValueError) or isinstance(status, int)
    if not is_an_answer or status in _OTHER_REASONS:
        return False
    return _TELLS.search(_told(fault)) is not None


def _told(fault: Exception) -> str:
    body = getattr(fault, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    told: dict[str, Any] = inner if isinstance(inner, dict) else {}
    words = [getattr(fault, "code", None), told.get("code"), told.get("type"), told.get("message")]
    return " ".join(str(word) for word in (*words, fault) if word)


async def tokens_of(texts: Iterable[str]) -> list[int]:
    """Return about how many tokens each text has, whatever the model's own tokenizer says."""
    listed = list(texts)
    return await asyncio.to_thread(lambda: [_count(text) for text in listed])


def spoken(tokens: Iterable[int]) -> int:
    """Return the tokens of messages, with what stands between them."""
    return sum(count + _EACH_MESSAGE for count in tokens)


def reserve(context_tokens: int, max_output_tokens: int | None) -> int:
    """Return how many tokens are kept for the answer."""
    return min(max_output_tokens or context_tokens // 4, context_tokens // 2)


def _count(text: str) -> int:
    if not text:
        return 0
    if len(text) > _EXACT_CHARS:
        return len(text) // _CHARS_A_TOKEN
    return len(_encoding().encode_ordinary(text))


@cache
def _encoding() -> Any:  # Any: tiktoken's, imported where it is needed
    import tiktoken

    return tiktoken.get_encoding(_ENCODING)
