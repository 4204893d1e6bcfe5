"""Names for files and directories that no id can break out of or clash in."""

import hashlib
import re
from uuid import UUID, uuid5

NO_CONVERSATION = "no_conversation"

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_-]{0,99}")
_OURS = re.compile(r"(?:turn|fb)_([0-9a-f]{32})")
_LONGEST = 200
_OTHER_IDS = UUID("6f1c2f0a-5a0e-4c57-9d0f-0b8f8b0d6c11")


def directory_name(named: str | None) -> str:
    """A user's or a conversation's directory: a plain id as it is, any other with %XX for bytes.

    No two ids share a name, also where the file system does not tell upper from lower case.
    """
    if named is None:
        return NO_CONVERSATION
    if _PLAIN.fullmatch(named) and named != NO_CONVERSATION:
        return named
    data = named.encode("utf-8", "surrogatepass")
    # The first character is always written as its bytes, so that no plain id looks like this.
    name = "".join(
        chr(byte) if place and _PLAIN.fullmatch(chr(byte)) else f"%{byte:02X}"
        for place, byte in enumerate(data)
    )
    if 0 < len(name) <= _LONGEST:
        return name
    return f"%sha256-{hashlib.sha256(data).hexdigest()}"


def file_stem(record_id: str) -> str:
    """The record's file name without ending, always the same UUID for the same id."""
    ours = _OURS.fullmatch(record_id)
    if ours is not None:
        return str(UUID(hex=ours[1]))
    return str(uuid5(_OTHER_IDS, record_id.encode("utf-8", "surrogatepass").hex()))
