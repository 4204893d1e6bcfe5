"""The configured indexes, open, with the threads that search them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.current import CurrentIndex, release, shared_index
from lightspeed_providers.product_rag.index.open import index_directory

_SEARCHES_AT_ONCE = 8


class OpenIndexes:
    """Every configured index, open, and the threads that search them."""

    def __init__(self, names: Sequence[str], embedding_model: str) -> None:
        directories = [index_directory(name) for name in names]
        _check_names([directory.name for directory in directories])
        self.executor = ThreadPoolExecutor(_SEARCHES_AT_ONCE, thread_name_prefix="search")
        self.indexes: list[CurrentIndex] = []
        try:
            for directory in directories:
                self.indexes.append(shared_index(directory, embedding_model))
        except BaseException:
            self.close()
            raise

    @property
    def problems(self) -> list[str]:
        """What keeps newer indexes from being used, one line each."""
        return [index.problem for index in self.indexes if index.problem]

    def close(self) -> None:
        """Give the indexes back."""
        for index in self.indexes:
            release(index)
        self.indexes = []
        self.executor.shutdown(wait=False)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigurationError("No index is configured: name one in LIGHTSPEED_INDEX.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"Two configured indexes are called '{name}': results and vector stores are named "
                "by the directory; rename one."
            )
