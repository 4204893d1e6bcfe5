"""Citations and sequence numbers on the way out, on events that clients accept."""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from llama_stack_api import (
    OpenAIResponseAnnotationCitation,
    OpenAIResponseAnnotationFileCitation,
    OpenAIResponseObject,
    OpenAIResponseObjectStream,
    OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded,
    OpenAIResponseObjectStreamResponseOutputTextDone,
)

from lightspeed_providers.responses.citations import (
    METADATA_KEY,
    ReferencedDocument,
    as_metadata,
)
from lightspeed_providers.responses.event_repair import TERMINAL, RepairedEvents

__all__ = ["TERMINAL", "TEXT", "CitedEvents", "annotations", "cited_response"]

TEXT = "response.output_text.delta"

type Annotation = OpenAIResponseAnnotationCitation | OpenAIResponseAnnotationFileCitation
type Documents = Callable[[], Sequence[ReferencedDocument]]


def annotations(documents: Sequence[ReferencedDocument], text: str) -> list[Annotation]:
    """Return one citation a document, over the whole text: each was given for all of it.

    Places count characters, as Python does. A file's citation has only one: the end.
    """
    return [_annotation(document, len(text)) for document in documents] if text.strip() else []


def _annotation(document: ReferencedDocument, end: int) -> Annotation:
    if document.has_address:
        return OpenAIResponseAnnotationCitation(
            start_index=0, end_index=end, title=document.doc_title, url=document.doc_url
        )
    return OpenAIResponseAnnotationFileCitation(
        file_id=document.document_id, filename=document.doc_title, index=end
    )


def cited_response(
    response: OpenAIResponseObject, documents: Sequence[ReferencedDocument]
) -> OpenAIResponseObject:
    """Return the response with annotations on its text and the documents in its metadata."""
    if not documents:
        return response
    return response.model_copy(
        update={
            "output": [_cited_item(item, documents) for item in response.output],
            "metadata": {**(response.metadata or {}), METADATA_KEY: as_metadata(documents)},
        }
    )


def _cited_item(item: Any, documents: Sequence[ReferencedDocument]) -> Any:  # Any: output items
    if getattr(item, "type", None) != "message" or isinstance(item.content, str):
        return item
    return item.model_copy(update={"content": [_cited_part(p, documents) for p in item.content]})


def _cited_part(part: Any, documents: Sequence[ReferencedDocument]) -> Any:  # Any: content parts
    if getattr(part, "type", None) != "output_text":
        return part
    return part.model_copy(update={"annotations": annotations(documents, part.text)})


def _joined(events: Iterable[Any]) -> Iterator[Any]:  # Any: event classes
    """Yield events with texts that follow each other in one: a client that is late reads less."""
    for (kind, _), group in groupby(events, key=lambda e: (e.type, getattr(e, "item_id", None))):
        same = list(group)
        if kind != TEXT or len(same) == 1:
            yield from same
            continue
        yield same[0].model_copy(update={"delta": "".join(event.delta for event in same)})


class CitedEvents:
    """Turns the stock loop's events into valid ones, cited and numbered without gaps."""

    def __init__(self) -> None:
        self._repaired = RepairedEvents()
        self._ahead: deque[tuple[Any, list[Any]]] = deque()  # Any: event classes
        self._annotations: dict[str, list[Annotation]] = {}
        self._number = 0

    async def reading(
        self, events: AsyncGenerator[Any], documents: Documents
    ) -> AsyncGenerator[Any]:  # Any: one of the host's event classes
        """Yield the stock loop's events; what is told in their place is settled as they are read.

        The loop stores its final response before it gives the last event, maybe long before a
        client has read the one before.
        """
        try:
            async for event in events:
                self._ahead.append((event, self._retold(event, documents)))
                yield event
        finally:
            await events.aclose()

    def of(
        self, event: OpenAIResponseObjectStream, documents: Sequence[ReferencedDocument]
    ) -> Iterator[Any]:  # Any: one of the host's event classes, or of ours beside them
        """Yield what a client is told in place of an event, and of those read before it."""
        told: list[Any] = []  # Any: event classes
        while self._ahead:
            read, retold = self._ahead.popleft()
            if read is event:
                break
            told += (e for e in retold if e.type not in TERMINAL)
        else:
            retold = self._retold(event, lambda: documents)
        told += retold
        yield from self._numbered(_joined(told) if len(told) > 1 else told)

    def final(
        self, response: OpenAIResponseObject, documents: Sequence[ReferencedDocument]
    ) -> OpenAIResponseObject:
        """Return a final response of the stock loop as it is told, or was."""
        return self._cited_as_told(self._repaired.final(response), documents)

    def _numbered(self, events: Iterable[Any]) -> Iterator[Any]:  # Any: event classes
        for event in events:
            if event.sequence_number != self._number:
                event.sequence_number = self._number
            self._number += 1
            yield event

    def _retold(self, event: Any, documents: Documents) -> list[Any]:  # Any: event classes
        repaired = self._repaired.of(event)
        if event.type == TEXT:
            return list(repaired)
        return [cited for e in repaired for cited in self._cited(e, documents)]

    def _cited(self, event: Any, documents: Documents) -> Iterable[Any]:  # Any: event classes
        kind = event.type
        if kind == "response.output_text.done":
            noted = self._annotations[event.item_id] = annotations(documents(), event.text)
            return (*_annotation_events(event, noted), event)
        if kind == "response.content_part.done" and event.part.type == "output_text":
            noted = self._annotations[event.item_id]
            part = event.part.model_copy(update={"annotations": noted})
            return (event.model_copy(update={"part": part}),)
        if kind == "response.output_item.done":
            return (event.model_copy(update={"item": self._as_told(event.item)}),)
        if kind in TERMINAL:
            response = self._cited_as_told(event.response, documents())
            return (event.model_copy(update={"response": response}),)
        return (event,)

    def _cited_as_told(
        self, response: OpenAIResponseObject, documents: Sequence[ReferencedDocument]
    ) -> OpenAIResponseObject:
        """Return the response with its items as they were told: later finds are not theirs."""
        cited = cited_response(response, documents)
        return cited.model_copy(update={"output": [self._as_told(item) for item in cited.output]})

    def _as_told(self, item: Any) -> Any:  # Any: output items
        noted = self._annotations.get(getattr(item, "id", None) or "")
        if noted is None:
            return item
        content = [part.model_copy(update={"annotations": noted}) for part in item.content]
        return item.model_copy(update={"content": content})


def _annotation_events(
    event: OpenAIResponseObjectStreamResponseOutputTextDone, noted: Sequence[Annotation]
) -> Iterator[OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded]:
    for n, annotation in enumerate(noted):
        yield OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded(
            item_id=event.item_id,
            output_index=event.output_index,
            content_index=event.content_index,
            annotation_index=n,
            annotation=annotation,
            sequence_number=event.sequence_number,
        )
