"""What a run leaves behind, in `results.json`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.evaluate.certainty import Difference, Estimate, Separation
from lightspeed_providers.product_rag.evaluate.questions import Question

FORMAT = 1
ALL = "all"
"""Stands for every type together."""
Level = Literal["pages", "passages"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuestionFile(_Fact):
    """A question file that was read."""

    name: str
    sha256: str


class Settings(_Fact):
    """How the run was made."""

    k: int = Field(description="Ranks that count.")
    depth: int = Field(description="Passages asked for, so that k different pages come together.")
    split: str
    min_score: float
    reranker: str | None
    files: tuple[QuestionFile, ...]
    made_at: str
    software: dict[str, str]


class IndexFacts(_Fact):
    """Which index was searched."""

    name: str
    holds: str = Field(description="The products and versions in it.")
    embedding_model: str
    pages: int
    passages: int
    fingerprint: str = Field(description="Equal where the content is equal.")


class Outcome(_Fact):
    """What one search did with one question; metrics of a level are empty where none apply."""

    id: str
    page_ranks: dict[str, int | None]
    passage_ranks: dict[str, int | None]
    pages: dict[str, float]
    passages: dict[str, float]
    found: int = Field(description="Passages among the first k.")
    cited: int = Field(description="Those of them whose address leads to a heading.")
    best_score: float
    took_ms: float


class Summary(_Fact):
    """Means over the questions of a type."""

    type: str
    level: Level
    questions: int
    metrics: dict[str, Estimate]


class Measured(_Fact):
    """One search on all questions."""

    name: str
    summaries: tuple[Summary, ...]
    p50_ms: float
    p95_ms: float
    cited: float | None = Field(description="Share of found passages with a heading's address.")
    nothing_found: float | None = Field(description="Share of unanswerable questions.")
    separation: Separation | None
    outcomes: tuple[Outcome, ...]

    def summary(self, type_: str, level: Level) -> Summary | None:
        """Return the means of a type, or None where no question of it has this level."""
        wanted = (one for one in self.summaries if (one.type, one.level) == (type_, level))
        return next(wanted, None)


class Contest(_Fact):
    """How much better the second search is than the first, by nDCG on pages."""

    type: str
    first: str
    second: str
    difference: Difference


class Results(_Fact):
    """A whole run; the last search is the product's own."""

    format: int = FORMAT
    settings: Settings
    index: IndexFacts
    questions: tuple[Question, ...]
    unknown_places: tuple[str, ...] = Field(description="Expected, and not in the index.")
    searchers: tuple[Measured, ...]
    contests: tuple[Contest, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the answerable questions, in the order of the alphabet."""
        return tuple(sorted({q.type for q in self.questions if q.is_answerable}))

    def searcher(self, name: str | None = None) -> Measured:
        """Return the search of that name, by default the product's."""
        if name is None:
            return self.searchers[-1]
        for one in self.searchers:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.searchers)
        raise ConfigurationError(f"No search '{name}' in the results: there is {known}.")


def read_results(path: Path) -> Results:
    """Return the results of a run before, or say why they can't be read."""
    try:
        results = Results.model_validate_json(path.read_bytes())
    except OSError as fault:
        raise ConfigurationError(
            f"Results '{path}' can't be read ({fault.strerror}): name the results.json of a run."
        ) from fault
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "its beginning"
        raise ConfigurationError(
            f"Results '{path}' are wrong at '{field}' ({first['msg']}): name the results.json of "
            "a run."
        ) from fault
    if results.format != FORMAT:
        raise ConfigurationError(
            f"Results '{path}' have format {results.format}, this release reads {FORMAT}: run "
            "the evaluation again."
        )
    return results
