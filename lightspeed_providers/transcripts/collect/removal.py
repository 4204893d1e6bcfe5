"""How an accepted file goes without taking along what was written over it meanwhile."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from .archive import Packed
from .files import CLAIMED, Version

logger = logging.getLogger(__name__)

_EMPTY_FOR_S = 60.0
_LONGEST_NAME = 255


def remove_sent(storage: Path, files: Iterable[Packed]) -> list[str]:
    """Remove those that are as they were sent; return the paths that are gone."""
    gone: list[str] = []
    root = os.open(storage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder, group in groupby(files, lambda file: file.path.rpartition("/")[0]):
            gone += _remove_from(root, folder, list(group))
    finally:
        os.close(root)
    return gone


def _remove_from(root: int, folder: str, files: list[Packed]) -> Iterator[str]:
    try:
        with _inside(root, folder) as directory:
            for file in files:
                if remove_if_same(directory, file.path.rpartition("/")[2], file.version):
                    yield file.path
    except OSError as fault:
        # What could not be removed is remembered as sent, and goes in a later round.
        if not isinstance(fault, FileNotFoundError):
            logger.warning("Sent files can't be removed from %a (%s).", folder, fault.strerror)
    else:
        _remove_empty(root, folder)


def remove_if_same(directory: int, name: str, version: Version) -> bool:
    """Remove a file if it is this version; true where it is gone, by us or by somebody else.

    A file can be replaced between a look and a removal. So it first takes a hidden name, under
    which nobody replaces it, and comes back if it turns out to be another one.
    """
    claim = f".{name}{CLAIMED}"
    try:
        if _version(directory, name) != version:
            return False
        if len(os.fsencode(claim)) > _LONGEST_NAME:
            os.unlink(name, dir_fd=directory)
            return True
        os.rename(name, claim, src_dir_fd=directory, dst_dir_fd=directory)
    except FileNotFoundError:
        return True
    if _version(directory, claim) == version:
        os.unlink(claim, dir_fd=directory)
        return True
    give_back(directory, claim)
    return False


def give_back(directory: int, claim: str) -> None:
    """Let a claimed file have its name again, unless a newer one has it."""
    name = claim.removeprefix(".").removesuffix(CLAIMED)
    with contextlib.suppress(FileExistsError):
        os.link(claim, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    os.unlink(claim, dir_fd=directory)


def remove_empty_directories(storage: Path) -> None:
    """Remove directories that have been empty for a while: a killed round left them."""
    for folder, _, _, directory in os.fwalk(storage, topdown=False):
        path = os.path.relpath(folder, storage)
        if path == "." or any(part.startswith(".") for part in path.split("/")):
            continue
        if time.time() - os.fstat(directory).st_mtime > _EMPTY_FOR_S:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _remove_empty(root: int, folder: str) -> None:
    while folder:
        parent, _, name = folder.rpartition("/")
        try:
            with _inside(root, parent) as directory:
                os.rmdir(name, dir_fd=directory)
        except OSError:
            return  # not empty: it holds what came since
        folder = parent


def _version(directory: int, name: str) -> Version:
    return Version.of(os.stat(name, dir_fd=directory, follow_symlinks=False))


@contextmanager
def _inside(root: int, folder: str) -> Iterator[int]:
    """Open a directory of the storage, through no link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.dup(root)
    try:
        for part in filter(None, folder.split("/")):
            inner = os.open(part, flags, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory
    finally:
        os.close(directory)
