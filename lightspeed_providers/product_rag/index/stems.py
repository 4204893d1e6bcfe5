"""Words as the index has them: cut to their stems by SQLite's own tokenizer."""

import sqlite3
import threading

_TABLES = """
CREATE VIRTUAL TABLE asked USING fts5(text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE terms USING fts5vocab(asked, instance);
"""


class Stemmer:
    """Cuts words as the index does. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.executescript(_TABLES)

    def stems(self, text: str) -> list[str]:
        """Return the stem of each word of a text, in order."""
        with self._lock:
            self._database.execute("BEGIN")
            try:
                self._database.execute("INSERT INTO asked VALUES (?)", (text,))
                rows = self._database.execute("SELECT term FROM terms ORDER BY offset")
                return [row[0] for row in rows]
            finally:
                self._database.execute("ROLLBACK")
