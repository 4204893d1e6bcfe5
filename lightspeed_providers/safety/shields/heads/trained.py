"""A head trained on examples: what it looks at, where it blocks, and the file that holds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.heads.logistic import Head
from lightspeed_providers.safety.shields.heads.spelling import spelling
from lightspeed_providers.safety.shields.heads.wording import Wording

FORMAT = 1
_SHIPPED = Path(__file__).parents[2] / "trained"
_STRENGTH = 1.0
_WORDING_WEIGHT = 0.5
_SPELLING_PLACES = 4096
_SPELLING_WEIGHT = 0.4
_DIGITS = 5

type Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """Tells from a text and its vector how likely it is to be blocked."""

    head: Head
    wording: Wording
    places: int
    """How many numbers the spelling has."""
    embedding_model: str
    dimension: int
    threshold: float
    facts: Mapping[str, Any] = field(default_factory=dict)  # Any: what JSON holds
    """What it was trained with; said to people, used by nothing."""

    @classmethod
    def learn(
        cls,
        texts: Sequence[str],
        vectors: Vectors,
        block: Sequence[bool],
        *,
        embedding_model: str = "",
        weights: Sequence[float] | None = None,
    ) -> Self:
        """Return a head that tells the texts apart; it takes a second at first."""
        wording = Wording.usual()
        rows = _rows(texts, vectors, wording, _SPELLING_PLACES)
        center, scale = _scaling(rows, vectors.shape[1], len(wording))
        fitted = Head.fit((rows - center) * scale, block, strength=_STRENGTH, weights=weights)
        coefficients = _rounded(fitted.coefficients * scale)
        intercept = fitted.intercept - float(np.dot(coefficients, center))
        head = Head(coefficients, float(_rounded(np.asarray([intercept]))[0]))
        return cls(head, wording, _SPELLING_PLACES, embedding_model, vectors.shape[1], 0.5)

    def scores(self, texts: Sequence[str], vectors: Vectors) -> NDArray[np.float32]:
        """Return how likely each text is to be blocked; raises where the vectors don't fit."""
        if vectors.shape != (len(texts), self.dimension):
            raise ValueError(
                f"Failed to judge with a head for {self.embedding_model or 'another model'}: it "
                f"reads vectors of {self.dimension} numbers, the embedding model gives "
                f"{vectors.shape[-1]}; train a head for it with `lightspeed shields train`."
            )
        return self.head.probability(_rows(texts, vectors, self.wording, self.places))

    def fits(self, model: str) -> bool:
        """Tell whether this registered model is the one that the head was trained for."""
        return _short(model) == _short(self.embedding_model)

    def to_json(self) -> str:
        """Return the text of the head's file: the same head gives the same text."""
        head = self.head.to_dict()
        return (
            json.dumps(
                {
                    "format": FORMAT,
                    "embedding_model": self.embedding_model,
                    "dimension": self.dimension,
                    "threshold": self.threshold,
                    "spelling": self.places,
                    "wording": self.wording.expressions,
                    "trained": self.facts,
                    "intercept": head["intercept"],
                    "coefficients": head["coefficients"],
                },
                ensure_ascii=False,
                indent=1,
            )
            .replace(",\n  -", ", -")
            .replace(",\n  0", ", 0")
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the head of a file; raises ValueError in one line where it is none."""
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            given = found.get("format") if isinstance(found, dict) else None
            raise ValueError(
                f"its format is {given!r}, this version reads {FORMAT}; train it again with "
                "`lightspeed shields train`"
            )
        try:
            trained = cls(
                Head.from_dict(found),
                Wording(found["wording"]),
                int(found["spelling"]),
                str(found["embedding_model"]),
                int(found["dimension"]),
                float(found["threshold"]),
                dict(found["trained"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(reason) from error
        expected = trained.dimension + len(trained.wording) + trained.places
        if len(trained.head.coefficients) != expected:
            raise ValueError(
                f"it has {len(trained.head.coefficients)} coefficients where its dimension, "
                f"wording and spelling ask for {expected}"
            )
        return trained


def shipped() -> list[str]:
    """Return the names of the heads that come with this package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.json"))


def head_file(name: str) -> Path:
    """Return the file of a shipped head's name, or the path that is given."""
    return _SHIPPED / f"{name}.json" if name in shipped() else Path(name)


def read_head(name: str) -> TrainedHead:
    """Return the head of a file, or of a shipped name; raises ValueError in one line."""
    try:
        return TrainedHead.from_json(head_file(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"Failed to read head '{name}' ({error.strerror}): give the path of a file that "
            f"`lightspeed shields train` wrote, or one of {', '.join(shipped())}."
        ) from error
    except ValueError as error:
        reason = str(error).removeprefix("Failed to read a head: ").rstrip(".")
        raise ValueError(f"Failed to read head '{name}': {reason}.") from error


def _rows(texts: Sequence[str], vectors: Vectors, wording: Wording, places: int) -> Vectors:
    return np.hstack(
        [np.asarray(vectors, np.float32), wording.found(texts), spelling(texts, places)]
    )


def _scaling(rows: Vectors, dimension: int, expressions: int) -> tuple[Vectors, Vectors]:
    """Return what to take away and to multiply by, so that no part outweighs the others.

    Vectors are centred and brought to one spread, rare runs of characters count more than common
    ones. Both go into the coefficients, so that a head needs neither.
    """
    center = np.zeros(rows.shape[1], np.float32)
    scale = np.full(rows.shape[1], _WORDING_WEIGHT, np.float32)
    vectors, spelt = rows[:, :dimension], rows[:, dimension + expressions :]
    center[:dimension] = vectors.mean(axis=0)
    scale[:dimension] = 1 / (np.maximum(vectors.std(axis=0), 1e-2) * np.sqrt(dimension))
    seen = (spelt > 0).sum(axis=0)
    rarity = 1 + np.log((1 + len(rows)) / (1 + seen))
    scale[dimension + expressions :] = _SPELLING_WEIGHT * rarity
    return center, scale


def _rounded(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray([float(f"{value:.{_DIGITS}g}") for value in values], np.float32)


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].casefold()
