"""A Llama Stack server over upstream's recordings, where its embedding model is not installed.

A stand-in embeds, so passages are found with other scores and in another order than when upstream
recorded; and this product's provider keeps the markers that a model cites files by out of what it
remembers. Where the whole request to the model is not recorded, the recording of the same test is
played that differs in those markers, and in order and first lines of passages, only.
"""

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_stack.cli.llama import main as llama
from llama_stack.core.testing_context import reset_test_context, set_test_context
from llama_stack.providers.utils.inference import embedding_mixin
from llama_stack.testing import api_recorder

EMBEDDING_MODEL = "nomic-ai/nomic-embed-text-v1.5"
_DIMENSION = 768
_MARKER = re.compile(r" ?<\|file-[^|]*\|>")


class StandIn:
    """Embeds a text as the set of its words."""

    def encode(self, texts: Sequence[str], **_: Any) -> Any:  # Any: an array of numpy
        """Return a vector a text."""
        return np.array([_words(text) for text in texts], dtype=np.float32)


def _words(text: str) -> Any:  # Any: an array of numpy
    vector = np.full(_DIMENSION, 1e-3)
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % _DIMENSION] += 1
    return vector / np.linalg.norm(vector)


def unscored(body: Any) -> Any:  # Any: JSON
    """Return a request to the model with the texts that tools found alone, in a fixed order."""
    messages = body.get("messages") if isinstance(body, dict) else None
    if not messages:
        return body
    return {**body, "messages": [_texts_alone(dict(message)) for message in messages]}


def _texts_alone(message: dict[str, Any]) -> dict[str, Any]:
    parts = message.get("content")
    if message.get("role") == "assistant" and isinstance(parts, str):
        return {**message, "content": _MARKER.sub("", parts)}
    if message.get("role") != "tool" or not isinstance(parts, list):
        return message
    return {**message, "content": sorted(_untitled(str(part.get("text"))) for part in parts)}


def _untitled(text: str) -> str:
    """Return a found passage without its first line: names, attributes and a score."""
    title, _, passage = text.partition("\n")
    return text if re.search(r"^(BEGIN|END) of ", text, re.MULTILINE) else passage or title


class Forgiving:
    """Finds recordings by their requests without titles, where the whole request has none."""

    def __init__(self, recordings: Path) -> None:
        self._hash = api_recorder.normalize_inference_request
        self._find = api_recorder.ResponseStorage.find_recording
        self._unscored: dict[str, str] = {}
        self._files = dict(self._indexed(recordings))

    def install(self) -> None:
        """Let the host's recorder look up recordings so."""
        api_recorder.normalize_inference_request = self.hash
        forgiving = self

        def find(storage: Any, request_hash: str) -> Any:
            return forgiving._find(storage, request_hash) or forgiving.nearest(request_hash)

        api_recorder.ResponseStorage.find_recording = find  # type: ignore[method-assign]

    def hash(self, method: str, url: str, headers: dict[str, Any], body: dict[str, Any]) -> str:
        """Return the host's own hash, and remember the one without titles."""
        exact = self._hash(method, url, headers, body)
        self._unscored[exact] = self._hash(method, url, headers, unscored(body))
        return exact

    def nearest(self, request_hash: str) -> Any:
        """Return the recording that differs in titles and order only, or None."""
        file = self._files.get(self._unscored.get(request_hash, ""))
        return api_recorder._recording_from_file(file) if file else None

    def _indexed(self, recordings: Path) -> Iterator[tuple[str, Path]]:
        for file in sorted(recordings.glob("*.json")):
            text = file.read_text()
            if '"role": "tool"' not in text:
                continue
            recorded = json.loads(text)
            asked = recorded["request"]
            token = set_test_context(recorded["test_id"])
            try:
                body = unscored(asked["body"])
                yield self._hash(asked["method"], asked["url"], asked["headers"], body), file
            finally:
                reset_test_context(token)


def main() -> None:
    """Run the host's command line, with both in place."""
    embedding_mixin.EMBEDDING_MODELS[EMBEDDING_MODEL] = StandIn()  # type: ignore[assignment]
    common = Path(os.environ["LLAMA_STACK_TEST_RECORDING_DIR"])
    Forgiving(common.parent / "responses" / "recordings").install()
    llama()


if __name__ == "__main__":
    main()
