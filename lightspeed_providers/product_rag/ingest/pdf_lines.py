"""The lines of a PDF's page with where and in which font they stand.

PDFium is not safe to use from several threads: a process may read one document at a time.
"""

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pypdfium2

_FIXED_PITCH = 1
_MONOSPACED = ("mono", "courier", "consol", "typewriter", "cmtt", "cmsltt", "inconsolata", "menlo",
               "sourcecode", "firacode", "fixed", "sftt", "ectt")  # fmt: skip
_BOLD = 600
_HYPHEN = "\x02"
"""What PDFium reads for a hyphen that ends a line, and for the end itself."""
_PARTS = re.compile("[^\n\x02\ufffe]*[\n\x02\ufffe]|[^\n\x02\ufffe]+$")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page; `y` grows upwards, as PDF has it."""

    text: str
    x: float
    y: float
    size: float
    is_mono: bool
    is_bold: bool
    width: float
    """Where its last character begins, from its first."""


class PageReader:
    """Reads the lines of one document's pages."""

    def __init__(self, document: "pypdfium2.PdfDocument") -> None:
        self._document = document
        self._font = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._x = ctypes.c_double()
        self._y = ctypes.c_double()

    def lines_of(self, number: int) -> list[Line]:
        """Return the lines of a page that hold text, in the order that the file has them."""
        page = self._document[number]
        text_page = page.get_textpage()
        try:
            return list(self._lines(text_page))
        finally:
            text_page.close()
            page.close()

    def _lines(self, text_page: "pypdfium2.PdfTextPage") -> Iterator[Line]:
        at = 0
        for part in _PARTS.findall(text_page.get_text_range()):
            line = part.rstrip("\r\n")
            # PDFium counts as UTF-16 does.
            begin = at + _units(line[: len(line) - len(line.lstrip())])
            end = at + _units(line.rstrip()) - 1
            if line.strip():
                yield self._line(text_page, line.strip(), begin, end)
            at += _units(part)

    def _line(self, text_page: "pypdfium2.PdfTextPage", text: str, begin: int, end: int) -> Line:
        import pypdfium2.raw as pdfium

        x, y = self._origin(text_page, begin)
        last, _ = self._origin(text_page, end)
        middle = (begin + end) // 2
        mono = [self._is_mono(text_page, index) for index in (begin, middle, end)]
        return Line(
            text=text.replace("\ufffe", _HYPHEN).replace("\x00", ""),
            x=x,
            y=y,
            size=round(self._size(text_page, begin, y), 1),
            is_mono=all(mono),
            is_bold=pdfium.FPDFText_GetFontWeight(text_page, begin) >= _BOLD
            or b"bold" in self._font.value.lower(),
            width=last - x,
        )

    def _origin(self, text_page: "pypdfium2.PdfTextPage", index: int) -> tuple[float, float]:
        import pypdfium2.raw as pdfium

        pdfium.FPDFText_GetCharOrigin(text_page, index, self._x, self._y)
        return self._x.value, self._y.value

    def _size(self, text_page: "pypdfium2.PdfTextPage", index: int, y: float) -> float:
        """Return the font's size as it is drawn, which a matrix may have scaled."""
        import pypdfium2.raw as pdfium

        size = float(pdfium.FPDFText_GetFontSize(text_page, index))
        matrix = pdfium.FS_MATRIX()
        if pdfium.FPDFText_GetMatrix(text_page, index, matrix):
            size *= (matrix.c**2 + matrix.d**2) ** 0.5 or 1.0
        return size

    def _is_mono(self, text_page: "pypdfium2.PdfTextPage", index: int) -> bool:
        import pypdfium2.raw as pdfium

        self._font.value = b""
        pdfium.FPDFText_GetFontInfo(text_page, index, self._font, 128, self._flags)
        name = self._font.value.decode("utf-8", "replace").lower().replace(" ", "")
        return bool(self._flags.value & _FIXED_PITCH) or any(word in name for word in _MONOSPACED)


def _units(text: str) -> int:
    return len(text) + sum(1 for c in text if ord(c) > 0xFFFF)
