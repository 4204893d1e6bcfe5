"""What a topic shield learns from its examples, once, before it can judge."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightspeed_providers.safety.shields.base import Embed
from lightspeed_providers.safety.shields.static_embeddings import static_embeddings
from lightspeed_providers.safety.shields.topic.cutoffs import Cutoffs, last_cutoffs, quick_cutoffs
from lightspeed_providers.safety.shields.topic.generic import generic
from lightspeed_providers.safety.shields.topic.judge import Judge, Vectors
from lightspeed_providers.safety.shields.topic.names import NamedSoftware
from lightspeed_providers.safety.shields.topic.weighing import Look

_STATIC_SHARE = 0.3
"""How much the static vectors say where both are known."""
_TOO_ALIKE = 0.6
"""A generic off-topic example that is so near an on-topic one is no example for this product."""


@dataclass(frozen=True, eq=False)
class Topic:
    """The judges of a product's topic; a probability is always that of being off topic."""

    names: NamedSoftware
    quick: Judge
    """Knows only the static vectors."""
    quick_cutoffs: Cutoffs
    thorough: Judge
    """Knows the embedding model's vectors too."""
    last_cutoffs: Cutoffs
    follow_up: Judge
    """Tells what means nothing without the turn before."""

    def quickly(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a probability for each text, without the embedding model."""
        return self.quick.probability(static_embeddings().embed(texts), self._signs(texts))

    def looks(self, texts: Sequence[str], vectors: Vectors) -> list[Look]:
        """Return what is to be made of each text, given the embedding model's vectors."""
        both = joined(texts, vectors)
        off_topic = self.thorough.probability(both, self._signs(texts))
        follows_up = self.follow_up.probability(both)
        return [Look(float(off), float(up)) for off, up in zip(off_topic, follows_up, strict=True)]

    def _signs(self, texts: Sequence[str]) -> Vectors:
        return np.array([self.names.signs(text) for text in texts], np.float32)


async def learn(
    topic: str, on_topic: Sequence[str], off_topic: Sequence[str], embed: Embed
) -> Topic:
    """Return what can be learnt from a description and examples: takes seconds, mostly embedding.

    Raises what `embed` raises.
    """
    known = generic()
    own = [topic, *on_topic, *off_topic]
    texts = [*own, *known.on_topic, *known.off_topic, *known.changes_of_subject, *known.follow_ups]
    vectors = unit_length(await embed(texts))
    return await asyncio.to_thread(
        _learnt, topic, on_topic, off_topic, dict(zip(texts, vectors, strict=True))
    )


def _learnt(
    topic: str,
    on_topic: Sequence[str],
    off_topic: Sequence[str],
    vectors: dict[str, Vectors],
) -> Topic:
    known = generic()
    names = NamedSoftware(topic, on_topic)
    ours = np.array([vectors[text] for text in (topic, *on_topic)])
    elsewhere = [text for text in known.off_topic if (ours @ vectors[text]).max() < _TOO_ALIKE]
    on = [topic, *on_topic, *known.on_topic]
    off = [*off_topic, *elsewhere]
    texts = [*on, *off]
    labels = np.arange(len(texts)) >= len(on)
    signs = np.array(
        [names.signs(text, is_example=number < len(on)) for number, text in enumerate(texts)],
        np.float32,
    )
    both = joined(texts, np.array([vectors[text] for text in texts]))
    quick = Judge.fit(static_embeddings().embed(texts), labels, signs)
    thorough = Judge.fit(both, labels, signs)
    return Topic(
        names=names,
        quick=quick,
        quick_cutoffs=quick_cutoffs(quick.unseen, labels),
        thorough=thorough,
        last_cutoffs=last_cutoffs(thorough.unseen, labels),
        follow_up=_follow_up_judge([*texts, *known.changes_of_subject], vectors),
    )


def _follow_up_judge(whole: Sequence[str], vectors: dict[str, Vectors]) -> Judge:
    follow_ups = generic().follow_ups
    texts = [*whole, *follow_ups]
    labels = np.arange(len(texts)) >= len(whole)
    return Judge.fit(joined(texts, np.array([vectors[text] for text in texts])), labels)


def joined(texts: Sequence[str], vectors: Vectors) -> Vectors:
    """Return the model's vectors and the static ones as one, of length 1 again."""
    static = static_embeddings().embed(texts)
    return np.hstack(
        [np.sqrt(1 - _STATIC_SHARE) * vectors, np.sqrt(_STATIC_SHARE) * static]
    ).astype(np.float32)


def unit_length(vectors: Vectors) -> Vectors:
    """Return the rows scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
