"""Whether a search stays in the version and product that are meant, over an index of several.

    python benchmarks/retrieval_scope.py --index all-of-them \
        --questions Django=benchmarks/questions/django.jsonl

Prints how many different texts the first five passages hold when every version is searched, how
often a passage of another version comes where one is given, whether versions compare as versions,
and of the questions that name no product how often the right one leads.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightspeed_providers.core.embedder import Embedder, shared_embedder
from lightspeed_providers.product_rag.evaluate.questions import Question, read_questions
from lightspeed_providers.product_rag.filters import ALL, LATEST, Wanted
from lightspeed_providers.product_rag.index.open import index_directory, open_index
from lightspeed_providers.product_rag.index.versions import latest
from lightspeed_providers.product_rag.naming import named_products
from lightspeed_providers.product_rag.retrieval import Retriever, SearchResult, SearchSettings

K = 5


class Asking:
    """Questions to one index, each embedded once."""

    def __init__(self, retriever: Retriever, embedder: Embedder) -> None:
        self._retriever, self._embedder = retriever, embedder

    def ask(self, question: str, wanted: Wanted, versions: str) -> SearchResult:
        """Return the first passages."""
        understood = self._retriever.understood(question)
        vector = self._embedder.encode([understood])[0]
        settings = SearchSettings(k=K, default_version=versions)
        return self._retriever.search(understood, vector, settings, wanted)


def distinct_texts(asking: Asking, product: str, questions: Sequence[Question]) -> float:
    """Return how many different texts the first passages hold, on average."""
    found = [
        asking.ask(question.question, Wanted(product=product), ALL).passages
        for question in questions
    ]
    different = [len({" ".join(one.content.split()) for one in passages}) for passages in found]
    return sum(different) / len(different)


def wrong_versions(
    asking: Asking, product: str, versions: Sequence[str], questions: Sequence[Question]
) -> int:
    """Return how many passages of another version came where one was given."""
    return sum(
        passage.version != version
        for version in versions
        for question in questions
        for passage in asking.ask(
            question.question, Wanted(product=product, version=version), ALL
        ).passages
    )


def not_latest(asking: Asking, product: str, newest: str, questions: Sequence[Question]) -> int:
    """Return how many passages are not of the newest version where that is asked for."""
    return sum(
        passage.version != newest
        for question in questions
        for passage in asking.ask(
            question.question, Wanted(product=product, version=LATEST), ALL
        ).passages
    )


def leading(
    asking: Asking, product: str, products: Sequence[str], questions: Sequence[Question]
) -> tuple[int, int]:
    """Return of the questions that name no product, at how many this one leads, and how many."""
    unnamed = [q for q in questions if not named_products(q.question, products)]
    first = [asking.ask(q.question, Wanted(), LATEST).passages for q in unnamed]
    return sum(bool(found) and found[0].product == product for found in first), len(unnamed)


def main() -> None:
    """Measure one index."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--index", required=True, help="a name or a directory")
    parser.add_argument(
        "--questions",
        action="append",
        required=True,
        metavar="PRODUCT=FILE",
        help="questions about a product that the index holds; may be given several times",
    )
    options = parser.parse_args()
    index = open_index(index_directory(options.index), None)
    asking = Asking(Retriever(index), shared_embedder(index.manifest.embedding_model, None))
    held = {release.product for release in index.manifest.releases}
    print(f"{index.manifest.name}: {index.manifest.passages} places, {index.manifest.texts} texts")
    lead = asked = 0
    for given in options.questions:
        product, _, file = given.partition("=")
        questions = [q for q in read_questions([Path(file)]) if q.expected]
        versions = [r.version for r in index.manifest.releases if r.product == product]
        if len(versions) > 1:
            print(f"{product}, versions {', '.join(versions)}, {len(questions)} questions")
            print(
                f"  different texts in the first {K}: "
                f"{distinct_texts(asking, product, questions):.3f}"
            )
            wrong = wrong_versions(asking, product, versions, questions)
            print(f"  passages of another version than the one given: {wrong}")
            newest = latest(versions)
            print(
                f"  passages not of {newest} where the latest was asked for: "
                f"{not_latest(asking, product, newest, questions)}"
            )
        right, of = leading(asking, product, sorted(held), questions)
        print(f"{product} leads at {right} of {of} of its questions that name no product")
        lead, asked = lead + right, asked + of
    if len(held) > 1:
        print(f"the right product leads at {100 * lead / asked:.1f} %")
    index.close()


if __name__ == "__main__":
    main()
