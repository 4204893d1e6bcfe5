"""Who keeps copies of turns beside the record, and the words of tests that delete them."""

from collections.abc import Sequence
from typing import Any

from transcript_server import Server, turn, turn_id

from lightspeed_providers.core.turns import Turn


class Copies:
    """Stands for responses and conversations: remembers what it was told to forget."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, str | None, list[str]]] = []
        self.conversations: list[tuple[str, list[str]]] = []
        self.away = False
        self.stuck: set[str] = set()

    async def forget_turn(
        self, response_id: str, conversation_id: str | None, later_response_ids: Sequence[str]
    ) -> None:
        if self.away or response_id in self.stuck:
            raise OSError("secret words of a database")
        self.turns.append((response_id, conversation_id, list(later_response_ids)))

    async def forget_conversation(self, conversation_id: str, response_ids: Sequence[str]) -> None:
        if self.away or self.stuck.intersection(response_ids):
            raise OSError("secret words of a database")
        self.conversations.append((conversation_id, list(response_ids)))

    async def may_use_conversation(self, conversation_id: str) -> bool:
        return False


def keep_copies(server: Server) -> Copies:
    copies = Copies()
    server.impl.copies_are_kept_by(copies)
    return copies


def chain(numbers: range, **fields: Any) -> list[Turn]:
    """Turns that follow each other, without a conversation."""
    return [
        turn(
            number,
            turn_id=turn_id(number),
            conversation_id=None,
            previous_response_id=None if number == numbers[0] else f"resp_{number - 1}",
            **fields,
        )
        for number in numbers
    ]


def delete(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    answer = server.client.delete(path, headers=headers)
    if answer.status_code != 200:
        return answer.status_code, answer.json()["error"]["message"]
    return 200, (answer.json()["turns"], answer.json()["feedback"])


def audit(server: Server, headers: dict[str, str]) -> list[tuple[str, str, int, int]]:
    lines = server.client.get("/v1alpha/transcripts-audit", headers=headers).json()["data"]
    return [(each["action"], each["subject"], each["turns"], each["feedback"]) for each in lines]
