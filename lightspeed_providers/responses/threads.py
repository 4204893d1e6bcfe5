"""Which conversation a turn belongs to, however its client continues it."""

import uuid
from collections import OrderedDict

_REMEMBERED = 10_000


class Threads:
    """Names conversations; no two users ever share one."""

    def __init__(self) -> None:
        self._of_response: OrderedDict[str, str] = OrderedDict()

    def of(
        self, user_id: str, conversation_id: str | None, previous_response_id: str | None
    ) -> str:
        """Return the name of the conversation that a turn continues, or begins."""
        if conversation_id:
            return f"{user_id}:{conversation_id}"
        if previous_response_id:
            beginning = f"{user_id}:{previous_response_id}"
            known = self._of_response.get(previous_response_id, beginning)
            return known if known.startswith(f"{user_id}:") else beginning
        return f"{user_id}:{uuid.uuid4().hex}"

    def note(self, response_id: str, thread: str) -> None:
        """Remember which conversation a response is part of."""
        self._of_response[response_id] = thread
        if len(self._of_response) > _REMEMBERED:
            self._of_response.popitem(last=False)
