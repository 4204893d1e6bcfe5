"""What a text looks like to the quick judge, which needs no embedding model."""

from dataclasses import dataclass
from typing import Self

from lightspeed_providers.safety.shields.topic.cutoffs import Cutoffs
from lightspeed_providers.safety.shields.topic.learning import Topic
from lightspeed_providers.safety.shields.topic.reading import Reading

_SUSPICIOUS = 0.5
_MOST_SUSPICIOUS = 2
"""So many sentences of a text are looked at by themselves: each costs an embedding."""


@dataclass(frozen=True)
class Glance:
    """How likely a text is off topic, and which of its sentences might be."""

    off_topic: float
    suspicious: tuple[str, ...]

    @classmethod
    def at(cls, topic: Topic, reading: Reading) -> Self:
        """Return what the quick judge makes of a text."""
        likely = topic.quickly([*reading.windows, *reading.requests]).tolist()
        whole = likely[: len(reading.windows)]
        asked = zip(likely[len(reading.windows) :], reading.requests, strict=True)
        worst = sorted(asked, reverse=True)[:_MOST_SUSPICIOUS]
        return cls(
            off_topic=sum(whole) / len(whole),
            suspicious=tuple(request for each, request in worst if each >= _SUSPICIOUS),
        )

    def decides(self, cutoffs: Cutoffs, *, is_first: bool) -> bool:
        """Whether that is clear; what looks off topic may follow up on a turn before."""
        if self.suspicious or not cutoffs.is_clear(self.off_topic):
            return False
        return is_first or not cutoffs.blocks(self.off_topic)
