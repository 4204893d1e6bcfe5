"""Texts of 2,000 characters of several sorts, to time scanning with."""

import inspect
import json
import json.decoder
from itertools import cycle, islice
from pathlib import Path
from typing import Any

LENGTH = 2000
DATA = Path(__file__).with_name("shields")
_READ_ME = Path(__file__).parents[1] / "README.md"
_OTHER_SCRIPTS = """\
Модель описывает данные одного вида: каждое поле становится столбцом таблицы в базе данных.
Für größere Änderungen schreibt man eine Migration; geprüft wird sie zuerst auf einer Kopie.
ビューはリクエストを受け取り、レスポンスを返します。テンプレートは別のファイルに書きます。
Η φόρμα ελέγχει τα πεδία της και δείχνει τα λάθη δίπλα τους, όταν κάποιο δεν είναι σωστό.
视图接收请求并返回响应，模板决定页面的样子。🙂 Où écrit-on les réglages ? Dans un seul fichier.
"""


def texts() -> dict[str, str]:
    """Return a text of each sort."""
    personal = (row["text"] for row in rows("personal-data.tuning.jsonl"))
    return {
        "prose": _cut(_READ_ME.read_text()),
        "code": _cut(inspect.getsource(json.decoder)),
        "non-ASCII": _cut(_OTHER_SCRIPTS),
        "personal data": _cut(" ".join(personal)),
    }


def rows(file: str) -> list[dict[str, Any]]:  # Any: JSON
    """Return the rows of a file of the evaluation's data."""
    return [json.loads(line) for line in (DATA / file).read_text().splitlines()]


def _cut(text: str) -> str:
    return "".join(islice(cycle(text), LENGTH))
