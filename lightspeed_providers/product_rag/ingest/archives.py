"""Documentation in an archive or a single file, as a directory."""

import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from shutil import copyfile

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.product_rag.ingest.archive_tar import unpack_tar
from lightspeed_providers.product_rag.ingest.archive_zip import unpack_zip
from lightspeed_providers.product_rag.ingest.parse import SUFFIXES
from lightspeed_providers.product_rag.ingest.unpack import MOST_TOTAL_BYTES, Told, Unpacking

_ZIPS = (".zip", ".whl")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def _untold(name: str, reason: str) -> None:
    """Nobody asked."""


@contextmanager
def opened_source(
    path: Path, *, told: Told = _untold, most_bytes: int = MOST_TOTAL_BYTES
) -> Iterator[Path]:
    """Yield a directory with a source's pages: its own, or a temporary one.

    `told` is called with what is left out of an archive, and why. A folder that holds all of an
    archive is the directory itself, so that pages are called the same in the next version's.
    """
    if path.is_dir():
        yield path
        return
    unpack = _unpacker(path)
    with tempfile.TemporaryDirectory(prefix="lightspeed-source-") as folder:
        unpacking = Unpacking(path, Path(folder), told, most_bytes)
        try:
            unpack(unpacking)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, LZMAError, zlib.error) as fault:
            raise unpacking.refusal(f"it is damaged or cut off ({fault})") from fault
        except (NotImplementedError, RuntimeError) as fault:  # a compression nobody knows
            raise unpacking.refusal(str(fault)) from fault
        except (OSError, ValueError) as fault:
            raise unpacking.refusal(f"it is damaged or the disk is full ({fault})") from fault
        yield unpacking.root()


def _unpacker(path: Path) -> Callable[[Unpacking], None]:
    name = path.name.lower()
    if not path.is_file():
        raise ConfigurationError(f"Source '{path}' is not there: name a directory or a file.")
    if name.endswith(_ZIPS):
        return unpack_zip
    if name.endswith(_TARS):
        return unpack_tar
    if name.endswith(SUFFIXES):
        return _copy
    raise ConfigurationError(
        f"Source '{path}' is neither a directory nor a file that can be read: "
        f"it must end in {', '.join((*_ZIPS, *_TARS, *SUFFIXES))}."
    )


def _copy(unpacking: Unpacking) -> None:
    copyfile(unpacking.archive, unpacking.target / unpacking.archive.name)
