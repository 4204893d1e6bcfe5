"""What comes with a question beside its text: files and images, as they are recorded."""

import base64
import binascii
import hashlib
import mimetypes
import re
from typing import Any
from urllib.parse import urlsplit

from lightspeed_providers.core.turns import Attachment

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w=.-]+)*?;base64,", re.ASCII)
_UNKNOWN = "application/octet-stream"
_TEXTUAL = re.compile(r"text/|application/(.+\+)?(json|xml|yaml|x-yaml|toml|x-ndjson)$")


def file_text(part: Any) -> str | None:  # Any: content parts of many kinds
    """Return the text of an `input_file` part that carries a text file, None for others."""
    data = getattr(part, "file_data", None)
    if not isinstance(data, str) or not _TEXTUAL.match(_file_type(part)):
        return None
    try:
        return base64.b64decode(_payload(data), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def with_file_text(part: Any, text: str) -> Any:  # Any: as above
    """Return an `input_file` part with another text in its file."""
    encoded = base64.b64encode(text.encode(errors="replace")).decode()
    return part.model_copy(update={"file_data": f"data:{_file_type(part)};base64,{encoded}"})


def attachment_of(part: Any) -> Attachment | None:  # Any: as above
    """Return a file or image as it is recorded, None for a part that is neither.

    A text file is recorded with its text, which the shields have seen; of anything else there is
    its file id, its address without the parts that can hold secrets, or the sha256 of its bytes.
    """
    match getattr(part, "type", None):
        case "input_file":
            text = file_text(part)
            content = _reference(part.file_id, part.file_url or part.file_data)
            return Attachment(
                attachment_type="file",
                content_type=_file_type(part),
                content=content if text is None else text,
            )
        case "input_image":
            return Attachment(
                attachment_type="image",
                content_type=_data_type(part.image_url) or _guess(part.image_url) or "image/*",
                content=_reference(part.file_id, part.image_url),
            )
        case _:
            return None


def _reference(file_id: str | None, address: str | None) -> str:
    if file_id:
        return file_id
    if not address or _DATA_URL.match(address) or "://" not in address:
        digest = hashlib.sha256(_bytes(_payload(address or "")))
        return f"sha256:{digest.hexdigest()}"
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _bytes(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError:  # no base64 at all: the text itself is all there is
        return payload.encode(errors="replace")


def _file_type(part: Any) -> str:  # Any: as above
    return (
        _data_type(part.file_data)
        or _guess(part.filename)
        or _guess(getattr(part, "file_url", None))
        or _UNKNOWN
    )


def _data_type(address: str | None) -> str | None:
    match = _DATA_URL.match(address or "")
    return (match["type"] or None) if match else None


def _guess(name: str | None) -> str | None:
    return mimetypes.guess_type(urlsplit(name).path)[0] if name else None


def _payload(data: str) -> str:
    """Return the base64 text of a data URL, or of bare base64."""
    match = _DATA_URL.match(data)
    return data[match.end() :] if match else data
