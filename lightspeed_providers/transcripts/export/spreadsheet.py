"""Flat rows for spreadsheets, in which no text is taken for a formula."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lightspeed_providers.core.verdicts import Action
from lightspeed_providers.transcripts.models import Feedback, Transcript
from lightspeed_providers.transcripts.rows import Kind

from .contract import read_feedback, read_turn
from .durable import private_file
from .parts import Write

_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")

# Rewriting reads cells of any size back; Python's limit holds for the whole process.
csv.field_size_limit(sys.maxsize)

Cell = str | int | float | None


def harmless(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would run it."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


class Spreadsheet:
    """A part of CSV, in UTF-8 with the mark by which spreadsheets know it."""

    ending = ".csv"

    @contextmanager
    def open(self, kind: Kind, path: Path) -> Iterator[Write]:
        """A new file that takes records."""
        cells = _turn_cells if kind is Kind.TURN else _feedback_cells
        with _text_file(path) as file:
            rows = csv.writer(file)
            started = False

            def write(record: str) -> None:
                nonlocal started
                named = cells(record)
                if not started:
                    rows.writerow(named)
                    started = True
                rows.writerow(
                    harmless(cell) if isinstance(cell, str) else cell for cell in named.values()
                )

            yield write

    def held(self, kind: Kind, ids: set[str], path: Path) -> set[str]:
        """Those of the ids that the file holds."""
        del kind  # an id is in the first column
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = {harmless(each): each for each in ids}
            return {cells[row[0]] for row in csv.reader(file) if row[0] in cells}

    def copy_without(self, kind: Kind, ids: set[str], path: Path, to: Path) -> int:
        """Write the other records of a file into a new one; how many those are."""
        del kind
        kept = 0
        gone = {harmless(each) for each in ids}
        with path.open(encoding="utf-8-sig", newline="") as old, _text_file(to) as new:
            reader, writer = csv.reader(old), csv.writer(new)
            writer.writerow(next(reader))
            for row in reader:
                if row[0] not in gone:
                    writer.writerow(row)
                    kept += 1
        return kept


@contextmanager
def _text_file(path: Path) -> Iterator[io.TextIOWrapper]:
    with (
        private_file(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def _turn_cells(record: str) -> dict[str, Cell]:
    turn = read_turn(record)
    blocking = [verdict.shield for verdict in turn.verdicts if verdict.action is Action.BLOCK]
    rewriting = [verdict.shield for verdict in turn.verdicts if verdict.action is Action.REPLACE]
    return {
        "turn_id": turn.turn_id,
        "received_at": turn.received_at.isoformat(),
        "user_id": turn.user_id,
        "conversation_id": turn.conversation_id,
        "response_id": turn.response_id,
        "profile": turn.profile,
        "prompt_version": turn.prompt_version,
        "provider_requested": turn.provider_requested,
        "model_requested": turn.model_requested,
        "provider": turn.provider,
        "model": turn.model,
        "outcome": turn.outcome.value,
        "error": turn.error,
        "blocked_by": ", ".join(dict.fromkeys(blocking)),
        "rewritten_by": ", ".join(dict.fromkeys(rewriting)),
        "question": turn.question,
        "answer": turn.answer,
        "sources": "\n".join(dict.fromkeys(passage.doc_url for passage in turn.passages)),
        "passages": len(turn.passages),
        "best_score": max((passage.score for passage in turn.passages), default=None),
        "attachments": len(turn.attachments),
        "tool_calls": ", ".join(call.name for call in turn.tool_calls),
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "first_token_s": _seconds(turn, turn.first_token_at),
        "took_s": _seconds(turn, turn.finished_at),
        "streamed": "yes" if turn.streamed else "no",
    }


def _feedback_cells(record: str) -> dict[str, Cell]:
    feedback: Feedback = read_feedback(record)
    return {
        "feedback_id": feedback.feedback_id,
        "created_at": feedback.created_at.isoformat(),
        "user_id": feedback.user_id,
        "conversation_id": feedback.conversation_id,
        "turn_id": feedback.turn_id,
        "profile": feedback.profile,
        "prompt_version": feedback.prompt_version,
        "sentiment": feedback.sentiment,
        "categories": ", ".join(feedback.categories or ()),
        "user_feedback": feedback.user_feedback,
        "user_question": feedback.user_question,
        "llm_response": feedback.llm_response,
    }


def _seconds(turn: Transcript, moment: datetime | None) -> float | None:
    return None if moment is None else round((moment - turn.received_at).total_seconds(), 3)
