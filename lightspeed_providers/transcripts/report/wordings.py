"""How often each question was asked, in bounded memory."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from hashlib import blake2b

from lightspeed_providers.transcripts.report.figures import Reason, Tally, Wording, Wordings
from lightspeed_providers.transcripts.report.texts import MOST_CHARACTERS

_REASONS = tuple(Reason)
_PLACE = {reason: place for place, reason in enumerate(_REASONS)}
_ASKED, _SURE, _NOTHING_ALONE, _LIKED, _DISLIKED = range(5)
_FIRST_REASON = 5
_NOTHING_ALONE_IS = frozenset({Reason.NOTHING_FOUND})
_SPACES = re.compile(r"\s+")
_AROUND = " \t\n.,;:!?¿¡…\"'“”‘’«»()[]"


def normalised(question: str) -> str:
    """The question as it counts: neither case nor spaces nor what stands around it matter."""
    text = question[:MOST_CHARACTERS]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _SPACES.sub(" ", text).strip(_AROUND).casefold()


class WordingCounter:
    """Counts different wordings by profile; the rarest are forgotten where there are too many.

    Among those asked equally often a hash decides, always alike: what stays is counted fully and
    is a fair sample of the rest.
    """

    def __init__(self, most: int = 20_000) -> None:
        self._most = most
        self._tallies: dict[bytes, list[int]] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}
        self._missed = 0

    def add(
        self, profile: str, question: str, reasons: Collection[Reason], liked: int, disliked: int
    ) -> None:
        """Count one turn."""
        key = _key(profile, question)
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= 2 * self._most:
                self._forget()
            tally = self._tallies[key] = [0] * (_FIRST_REASON + len(_REASONS))
            self._texts[key] = (profile, question[:MOST_CHARACTERS])
        tally[_ASKED] += 1
        if reasons:
            tally[_NOTHING_ALONE if reasons == _NOTHING_ALONE_IS else _SURE] += 1
            for reason in reasons:
                tally[_FIRST_REASON + _PLACE[reason]] += 1
        tally[_LIKED] += liked
        tally[_DISLIKED] += disliked

    def wordings(self, most: int, searching: Collection[str]) -> Wordings:
        """The most asked, and as many that were most often unanswered or disliked.

        That nothing was found counts for the profiles that search alone.
        """
        tallies = self._tallies
        by_asked = sorted(tallies, key=lambda key: (-tallies[key][_ASKED], key))
        by_trouble = sorted(tallies, key=lambda key: (-self._trouble(key, searching), key))
        keys = dict.fromkeys(by_asked[: most // 2])
        for key in by_trouble:
            if len(keys) >= most // 2 + most // 4 or not self._trouble(key, searching):
                break
            keys[key] = None
        for key in by_asked[most // 2 :]:
            if len(keys) >= most:
                break
            keys[key] = None
        return Wordings(
            looked_at=[self._wording(key, searching) for key in keys],
            known=len(tallies),
            missed=self._missed,
        )

    def _trouble(self, key: bytes, searching: Collection[str]) -> int:
        tally = self._tallies[key]
        found_nothing = tally[_NOTHING_ALONE] if self._texts[key][0] in searching else 0
        return tally[_SURE] + found_nothing + tally[_DISLIKED]

    def _wording(self, key: bytes, searching: Collection[str]) -> Wording:
        tally = self._tallies[key]
        profile, text = self._texts[key]
        reasons = {
            reason: count
            for reason, count in zip(_REASONS, tally[_FIRST_REASON:], strict=True)
            if count and (reason is not Reason.NOTHING_FOUND or profile in searching)
        }
        found_nothing = tally[_NOTHING_ALONE] if profile in searching else 0
        return Wording(
            text,
            Tally(
                asked=tally[_ASKED],
                unanswered=tally[_SURE] + found_nothing,
                reasons=reasons,
                liked=tally[_LIKED],
                disliked=tally[_DISLIKED],
            ),
        )

    def _forget(self) -> None:
        tallies = self._tallies
        order = sorted(tallies, key=lambda key: (-tallies[key][_ASKED], key))
        self._missed += tallies[order[self._most]][_ASKED]
        for key in order[self._most :]:
            del tallies[key], self._texts[key]


def together(tallies: Collection[Tally]) -> Tally:
    """What became of all these turns."""
    reasons: dict[Reason, int] = {}
    for tally in tallies:
        for reason, count in tally.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Tally(
        asked=sum(tally.asked for tally in tallies),
        unanswered=sum(tally.unanswered for tally in tallies),
        reasons=_in_order(reasons),
        liked=sum(tally.liked for tally in tallies),
        disliked=sum(tally.disliked for tally in tallies),
    )


def _in_order(reasons: Mapping[Reason, int]) -> dict[Reason, int]:
    return dict(sorted(reasons.items(), key=lambda pair: -pair[1]))


def _key(profile: str, question: str) -> bytes:
    text = f"{profile}\0{normalised(question)}"
    return blake2b(text.encode(errors="surrogatepass"), digest_size=12).digest()
