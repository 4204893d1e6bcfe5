"""Unpacks a zip, a wheel too."""

import stat
import zipfile
from typing import IO

from lightspeed_providers.product_rag.ingest.unpack import Unpacking

_ENCRYPTED = 0x1


def unpack_zip(unpacking: Unpacking) -> None:
    """Write a zip's pages."""
    with zipfile.ZipFile(unpacking.archive) as archive:
        for member in archive.infolist():
            unpacking.count_member()
            if not member.is_dir():
                _unpack(unpacking, archive, member)


def _unpack(unpacking: Unpacking, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        unpacking.told(member.filename, "a link or a device")
        return
    path = unpacking.place_of(member.filename, member.file_size)
    if path is None:
        return
    if member.flag_bits & _ENCRYPTED:
        raise unpacking.refusal("it is encrypted")
    content: IO[bytes]
    with archive.open(member) as content:
        unpacking.write(path, content, counted=True)
