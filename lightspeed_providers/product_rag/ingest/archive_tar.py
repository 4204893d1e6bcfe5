"""Unpacks a tar, compressed or not, in one pass."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from contextlib import closing
from typing import IO, cast

from lightspeed_providers.product_rag.ingest.unpack import Unpacking

_MAGIC: dict[bytes, Callable[..., object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}


class _Counted:
    """A stream of which every byte counts, headers and what nobody wants included."""

    def __init__(self, stream: IO[bytes], unpacking: Unpacking) -> None:
        self._stream = stream
        self._unpacking = unpacking
        self.total = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.total += len(piece)
        self._unpacking.count_bytes(len(piece))
        return piece


def unpack_tar(unpacking: Unpacking) -> None:
    """Write a tar's pages."""
    with unpacking.archive.open("rb") as start:
        magic = start.read(2)
    # The openers differ in what else they take; with a mode of bytes all give a stream of them.
    opened = cast("IO[bytes]", _MAGIC.get(magic, open)(unpacking.archive, "rb"))
    with closing(opened):
        counted = _Counted(opened, unpacking)
        end = 0
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|") as archive:
            for member in archive:
                unpacking.count_member()
                end = member.offset_data + (member.size if member.isreg() else 0)
                _unpack(unpacking, archive, member)
                archive.members.clear()  # type: ignore[attr-defined] # else all are kept
        if counted.total < end:
            raise tarfile.ReadError("unexpected end of data")


def _unpack(unpacking: Unpacking, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if member.isdir():
        return
    if not member.isreg():
        unpacking.told(member.name, "a link or a device")
        return
    path = unpacking.place_of(member.name, member.size)
    content = archive.extractfile(member) if path is not None else None
    if path is not None and content is not None:
        unpacking.write(path, content, counted=False)
