"""What chat completions and text completions have in common: both are read and written so."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lightspeed_providers.responses.doors.answers import Said
from lightspeed_providers.responses.doors.places import Text


class Kind(Protocol):
    """Reads requests and answers, and writes them; Any stands for the host's or an SDK's."""

    field: str
    """Where an answer has its text."""

    def texts(self, request: Any) -> list[Text]:
        """Return every text of the request that may reach the model, in order."""
        ...

    def with_texts(self, request: Any, rewritten: Mapping[Text, str]) -> Any:
        """Return the request with some texts rewritten; the given one stays as it is."""
        ...

    def choices(self, request: Any) -> int:
        """Return how many answers the request asks for."""
        ...

    def refused_choices(self, request: Any) -> range:
        """Return the numbers of the choices that a refusal answers."""
        ...

    def names(self, request: Any) -> frozenset[str]:
        """Return the names that the request gives its tools."""
        ...

    def refused(self, request: Any, refusal: str) -> Any:
        """Return the answer to a request that is refused; it cost nothing."""
        ...

    def said(self, choice: Any) -> Said:
        """Return what a choice of a whole answer holds that was said by the model."""
        ...

    def answer(self, completion: Any, choices: Sequence[Any]) -> Any:
        """Return an answer with these choices, and nothing that is not known here."""
        ...

    def choice(self, choice: Any, said: Said) -> dict[str, Any]:
        """Return a choice that says this."""
        ...

    def refused_choice(self, index: int, refusal: str) -> dict[str, Any]:
        """Return a choice that is the refusal."""
        ...

    def begin(self, request: Any) -> Any:
        """Return a chunk to make others of, where no model gave one."""
        ...

    def delta(self, choice: Any) -> Said:
        """Return what a choice of a chunk adds."""
        ...

    def chunk(
        self, like: Any, index: int, said: Said | None = None, finish_reason: str | None = None
    ) -> Any:
        """Return a chunk of a choice: what it adds, or its end."""
        ...

    def role_chunk(self, like: Any, index: int) -> Any:
        """Return the chunk that a choice begins with, None where there is none."""
        ...

    def usage_chunk(self, like: Any, usage: Any) -> Any:
        """Return the chunk that says what the answer cost."""
        ...

    def with_usage(self, chunk: Any, usage: Any) -> Any:
        """Return a chunk that says what the answer cost, too."""
        ...
