"""Citations and sequence numbers on the way out; the stock loop's events stay as they are."""

from collections.abc import Iterator, Sequence
from typing import Any

from llama_stack_api import (
    OpenAIResponseAnnotationCitation,
    OpenAIResponseObject,
    OpenAIResponseObjectStream,
    OpenAIResponseObjectStreamResponseContentPartDone,
    OpenAIResponseObjectStreamResponseOutputItemDone,
    OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded,
)

from lightspeed_providers.responses.citations import (
    METADATA_KEY,
    ReferencedDocument,
    as_metadata,
)

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


def annotations(
    documents: Sequence[ReferencedDocument], text: str
) -> list[OpenAIResponseAnnotationCitation]:
    """Return one citation a document, over the whole text: each was given for all of it."""
    return [
        OpenAIResponseAnnotationCitation(
            start_index=0, end_index=len(text), title=d.doc_title, url=d.doc_url
        )
        for d in documents
    ]


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


class CitedEvents:
    """Turns the stock loop's events into cited ones, numbered without gaps."""

    def __init__(self) -> None:
        self._added = 0

    def of(
        self, event: OpenAIResponseObjectStream, documents: Sequence[ReferencedDocument]
    ) -> Iterator[Any]:  # Any: one of the host's event classes
        """Yield the event, cited, after the annotation events that belong before it."""
        if isinstance(event, OpenAIResponseObjectStreamResponseContentPartDone):
            yield from self._annotation_events(event, documents)
            yield self._numbered(event, {"part": _cited_part(event.part, documents)})
        elif isinstance(event, OpenAIResponseObjectStreamResponseOutputItemDone):
            yield self._numbered(event, {"item": _cited_item(event.item, documents)})
        elif event.type in TERMINAL:
            response: OpenAIResponseObject = event.response  # type: ignore[union-attr]  # by type
            yield self._numbered(event, {"response": cited_response(response, documents)})
        else:
            yield self._numbered(event, {})

    def _annotation_events(
        self,
        event: OpenAIResponseObjectStreamResponseContentPartDone,
        documents: Sequence[ReferencedDocument],
    ) -> Iterator[OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded]:
        if getattr(event.part, "type", None) != "output_text":
            return
        for n, citation in enumerate(annotations(documents, event.part.text)):  # type: ignore[union-attr]  # by type
            yield OpenAIResponseObjectStreamResponseOutputTextAnnotationAdded(
                item_id=event.item_id,
                output_index=event.output_index,
                content_index=event.content_index,
                annotation_index=n,
                annotation=citation,
                sequence_number=event.sequence_number + self._added,
            )
            self._added += 1

    def _numbered(self, event: Any, update: dict[str, Any]) -> Any:  # Any: event classes
        number = getattr(event, "sequence_number", None)
        if number is not None:
            update = {**update, "sequence_number": number + self._added}
        return event.model_copy(update=update) if update else event
