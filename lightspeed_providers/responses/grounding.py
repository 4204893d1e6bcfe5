"""The passages of a turn: found, given to the model, or left out because they don't fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.turns import Passage
from lightspeed_providers.responses.prompts import address


@dataclass(eq=False)
class Piece:
    """A passage, how good it was within its search, and what became of it."""

    passage: Passage
    rank: int
    by_model: bool = False
    """Whether the model searched for it."""
    left_out: bool = False

    @property
    def text(self) -> str:
        """What the model reads of it."""
        return f"{heading_of(self.passage)}\n{self.passage.content}"


@dataclass
class Grounding:
    """What an answer can rest on."""

    _pieces: list[Piece] = field(default_factory=list)
    _given: list[Piece] = field(default_factory=list)

    def retrieved(self, passages: Sequence[Passage]) -> None:
        """Take the passages that stand in front of the question, best first."""
        pieces = [Piece(p, rank) for rank, p in enumerate(passages)]
        self._pieces += pieces
        self._given += pieces

    def found(self, passages: Sequence[Passage]) -> None:
        """Take what the model's own search found, best first; it has not been given yet."""
        self._pieces += [Piece(p, rank, by_model=True) for rank, p in enumerate(passages)]

    def give(self, piece: Piece) -> None:
        """Note that the model gets what it has searched for."""
        if piece not in self._given:
            self._given.append(piece)

    @property
    def before_question(self) -> tuple[Passage, ...]:
        """The passages in front of the question, best first."""
        return tuple(p.passage for p in self._pieces if not p.by_model and not p.left_out)

    @property
    def found_by_model(self) -> list[Piece]:
        """What the model's searches found, left out or not."""
        return [p for p in self._pieces if p.by_model]

    @property
    def given(self) -> tuple[Passage, ...]:
        """Each passage that the model got, once, in the order in which it got them."""
        given: dict[tuple[str, str], Passage] = {}
        for passage in (p.passage for p in self._given if not p.left_out):
            given.setdefault((passage.document_id, passage.content), passage)
        return tuple(given.values())

    @property
    def texts(self) -> list[str]:
        """The texts that can still be left out, in the order of `leave_out`."""
        return [p.text for p in self._weakest_first]

    def leave_out(self, tokens: Mapping[str, int], too_many: int) -> bool:
        """Leave out the weakest until so many tokens are gone; False where nothing was left."""
        weakest = self._weakest_first
        for piece in weakest:
            if too_many <= 0:
                break
            piece.left_out = True
            too_many -= tokens[piece.text]
        return bool(weakest)

    def leave_out_half(self) -> bool:
        """Leave out the weaker half; False where nothing was left."""
        weakest = self._weakest_first
        for piece in weakest[: (len(weakest) + 1) // 2]:
            piece.left_out = True
        return bool(weakest)

    @property
    def _weakest_first(self) -> list[Piece]:
        """What the model gets, by rank within its search: scores of searches can't be compared."""
        staying = [p for p in self._pieces if not p.left_out]
        return sorted(staying, key=lambda p: (-p.rank, p.passage.score))


@dataclass
class Searches:
    """How the searches went that the model has asked for since its last call."""

    _faults: list[LightspeedError] = field(default_factory=list)
    _answered: bool = False

    def answered(self) -> None:
        """Note a search that came to an end, whatever it found."""
        self._answered = True

    def failed(self, fault: LightspeedError) -> None:
        """Note a search that failed."""
        self._faults.append(fault)

    def fault(self) -> LightspeedError | None:
        """Return why nothing could be searched, None where any search came to an end; once."""
        faults, answered = self._faults, self._answered
        self._faults, self._answered = [], False
        return None if answered or not faults else faults[0]


def heading_of(passage: Passage) -> str:
    """Return what stands above a passage's text, in one line."""
    return " ".join(address(passage).split())


def within(passages: Sequence[Passage], tokens: Sequence[int], most: int) -> tuple[Passage, ...]:
    """Return the best passages that keep within so many tokens; the best always comes."""
    kept: list[Passage] = []
    for passage, count in zip(passages, tokens, strict=True):
        most -= count
        if kept and most < 0:
            break
        kept.append(passage)
    return tuple(kept)
