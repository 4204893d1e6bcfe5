"""What of a text is judged: parts of every reading of it."""

from lightspeed_providers.safety.shields.heads.readings import readings
from lightspeed_providers.safety.shields.heads.windows import windows
from lightspeed_providers.safety.shields.heads.wording import Wording


def parts(text: str, most: int, wording: Wording) -> list[str]:
    """Return at most so many parts of the text as it stands, and as many of what it hides."""
    seen, *hidden = readings(text, wording.suspicion)
    if not any(sign.isalnum() for sign in seen):
        return []
    found = windows(seen, most, wording.suspicion)
    for reading in hidden:
        found += windows(reading, max(1, most // len(hidden)), wording.suspicion)
    return list(dict.fromkeys(found))
