"""Reads a stream for runs of words of the system prompt and holds them back."""

from lightspeed_providers.safety.shields.base import Block, Scanned, Scanner
from lightspeed_providers.safety.shields.leaking.words import Prompt, words_of
from lightspeed_providers.safety.shields.matching.partial_form import HeldForm
from lightspeed_providers.safety.shields.matching.tails import EncodedTail, SpacedTail
from lightspeed_providers.safety.shields.matching.unwrap import ROT13

_MOST_HELD = 16_384
"""Words that stand further apart are no run."""


class PromptLeakScanner(Scanner):
    """Blocks a stream before anything of a run that gives the prompt away has gone on."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._held = ""
        self._form = HeldForm()
        self._tails = (EncodedTail(prompt), SpacedTail(prompt))

    @property
    def held(self) -> str:
        """The text that came and has not gone on yet."""
        return self._held

    def push(self, text: str) -> Scanned | Block:
        """Take new text and return what of all that is held may go on."""
        if not text:
            return Scanned("")
        self._held += text
        self._form.append(text)
        holds = [self._run_from(data) for data in self._spellings()]
        if any(hold is None for hold in holds):
            return Block()
        place = min(hold for hold in holds if hold is not None)
        count = self._form.characters_before(place, self._held)
        if len(self._held) - count > _MOST_HELD:
            count = len(self._held)
        for tail in self._tails:
            if tail.push(text):
                return Block(stage="unwrapped")
            count = min(count, len(self._held) - tail.length)
        return Scanned(self._released(count))

    def end(self) -> Scanned | Block:
        """Return the rest, unless it blocks."""
        if any(self._run_from(data, final=True) is None for data in self._spellings()):
            return Block()
        if any(tail.end() for tail in self._tails):
            return Block(stage="unwrapped")
        return Scanned(self._released(len(self._held)))

    def _spellings(self) -> tuple[bytes, bytes]:
        return self._form.data, self._form.data.translate(ROT13)

    def _run_from(self, data: bytes, *, final: bool = False) -> int | None:
        """Return where the run of the latest words begins; None where it gives the prompt away."""
        text = data.decode()
        before = len(data[: self._form.start].decode())
        places = [(word, place) for word, place in words_of(text) if place >= before]
        unfinished = ""
        if places and not final and places[-1][1] + len(places[-1][0]) == len(text):
            unfinished, place = places.pop()
        run = 0
        for run in self._prompt.runs(word for word, _ in places):
            if self._prompt.threshold is not None and run >= self._prompt.threshold:
                return None
        if run:
            hold = places[-run][1]
        elif unfinished and self._prompt.has_word_from(unfinished):
            hold = place
        else:
            return len(data)
        return len(text[:hold].encode())

    def _released(self, count: int) -> str:
        released, self._held = self._held[:count], self._held[count:]
        if released:
            self._form.drop(released)
        return released
