"""Typed columns, with lists of structs for passages, verdicts and tools, for evaluation."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.transcripts.rows import Kind

from .contract import read_feedback, read_turn
from .durable import private_file
from .parts import Write

try:
    import pyarrow as pa
    from pyarrow import compute, parquet
except ImportError as error:
    raise ConfigurationError(
        "Exporting to Parquet needs pyarrow: pip install 'lightspeed-providers[transcripts]'."
    ) from error

_GROUP_ROWS = 1000
_GROUP_BYTES = 8_000_000

_MOMENT = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)


def _texts(*names: str) -> dict[str, pa.DataType]:
    return dict.fromkeys(names, _TEXT)


def _structs(fields: dict[str, pa.DataType]) -> pa.DataType:
    return pa.list_(pa.struct(fields.items()))


_PASSAGES = _structs(
    _texts("passage_id", "document_id", "title", "doc_url", "content", "source")
    | {"score": pa.float64(), "heading_path": _TEXTS}
    | _texts("product", "version", "language", "source_file")
    | {"attributes": pa.map_(_TEXT, _TEXT)}
)
_VERDICTS = _structs(
    _texts("shield", "kind", "direction", "action", "message", "error")
    | {"took_ms": pa.float64(), "replaced": pa.map_(_TEXT, pa.int64())}
)
_COLUMNS = {
    Kind.TURN: pa.schema(
        _texts("turn_id", "response_id", "previous_response_id", "conversation_id", "user_id")
        | dict.fromkeys(("received_at", "first_token_at", "finished_at"), _MOMENT)
        | _texts("profile", "prompt_version", "prompt_hash")
        | _texts("provider_requested", "model_requested", "provider", "model")
        | _texts("outcome", "error", "question", "answer")
        | {"input_tokens": pa.int64(), "output_tokens": pa.int64(), "streamed": pa.bool_()}
        | {"passages": _PASSAGES, "verdicts": _VERDICTS}
        | {"attachments": _structs(_texts("attachment_type", "content_type", "content"))}
        | {"tool_calls": _structs(_texts("id", "name", "args", "type"))}
        | {
            "tool_results": _structs(
                _texts("id", "status", "content", "type") | {"round": pa.int64()}
            )
        }
    ),
    Kind.FEEDBACK: pa.schema(
        _texts("feedback_id", "conversation_id", "turn_id", "user_id")
        | {"created_at": _MOMENT}
        | _texts("profile", "prompt_version", "user_question", "llm_response", "user_feedback")
        | {"sentiment": pa.int8(), "categories": _TEXTS}
    ),
}


class Parquet:
    """A part in Parquet."""

    ending = ".parquet"

    @contextmanager
    def open(self, kind: Kind, path: Path) -> Iterator[Write]:
        """A new file that takes records."""
        row_of = _turn_row if kind is Kind.TURN else _feedback_row
        group: list[dict[str, Any]] = []  # Any: cells of every type
        size = 0
        with _writer(path, _COLUMNS[kind]) as writer:

            def write(record: str) -> None:
                nonlocal size
                group.append(row_of(record))
                size += len(record)
                if len(group) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                    flush()

            def flush() -> None:
                nonlocal size
                writer.write_table(pa.Table.from_pylist(group, schema=_COLUMNS[kind]))
                group.clear()
                size = 0

            yield write
            if group:
                flush()

    def held(self, kind: Kind, ids: set[str], path: Path) -> set[str]:
        """Those of the ids that the file holds."""
        name = _COLUMNS[kind].names[0]
        with parquet.ParquetFile(path) as file:
            column = file.read(columns=[name])[name]
        return ids.intersection(column.to_pylist())

    def copy_without(self, kind: Kind, ids: set[str], path: Path, to: Path) -> int:
        """Write the other records of a file into a new one; how many those are."""
        name = _COLUMNS[kind].names[0]
        gone = pa.array(sorted(ids))
        kept = 0
        with parquet.ParquetFile(path) as old, _writer(to, old.schema_arrow) as new:
            for number in range(old.num_row_groups):
                group = old.read_row_group(number)
                rest = group.filter(compute.invert(compute.is_in(group[name], gone)))
                if rest.num_rows:
                    new.write_table(rest)
                    kept += rest.num_rows
        return kept


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[parquet.ParquetWriter]:
    with (
        private_file(path) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        yield writer


def _turn_row(record: str) -> dict[str, Any]:
    row = read_turn(record).model_dump()
    for passage in row["passages"]:
        passage["attributes"] = list(passage["attributes"].items())
    for verdict in row["verdicts"]:
        verdict["replaced"] = list(verdict["replaced"].items())
    for call in row["tool_calls"]:
        call["args"] = json.dumps(call["args"], ensure_ascii=False)
    return row


def _feedback_row(record: str) -> dict[str, Any]:
    return read_feedback(record).model_dump()
