"""Files into as many archives as their size asks for, one at a time."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from .archive import Archive
from .files import Found, Reason, Stayed, StaysError


def packed(
    files: Iterable[Found], directory: Path, *, archive_limit: int, file_limit: int, stayed: Stayed
) -> Iterator[tuple[Archive, int]]:
    """Yield each archive and its number, 0 for an only one; it is gone when the next is made."""
    part = 0
    archive = Archive(directory, archive_limit)
    try:
        for found in files:
            if found.version.size > file_limit:
                stayed.tell(found.path, Reason.TOO_LARGE)
                continue
            if not archive.fits(found.version.size):
                part += 1
                archive.finish()
                yield archive, part
                archive.close()
                archive = Archive(directory, archive_limit)
            try:
                archive.add(found)
            except StaysError as stays:
                stayed.tell(found.path, stays.reason)
            except FileNotFoundError:
                continue
        if archive.files:
            archive.finish()
            yield archive, part + 1 if part else 0
    finally:
        archive.close()


def archive_name(kind: str, moment: datetime, part: int) -> str:
    """What an archive is called; its number stands only where a round needs several."""
    number = f"_{part}" if part else ""
    return f"{kind}_{moment:%Y%m%d_%H%M%S}{number}.tar.gz"
