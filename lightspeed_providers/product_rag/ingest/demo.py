"""Obtains the demo product's documentation: Django's, from its source distribution.

pip fetches it, so an operator's mirrors, proxies and certificates apply.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lightspeed_providers.core.errors import ConfigurationError, UnavailableError
from lightspeed_providers.product_rag.ingest.reading import Documentation

_VERSION = "5.2.19"
_ARCHIVE = f"django-{_VERSION}.tar.gz"
_SHA256 = "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1"
_TIMEOUT_S = 600
_OLDEST_RELEASE_NOTES = (4, 2)
"""The long-term release before this one; older notes tell what nobody can use any more."""


def demo_documentation(sources: Path) -> Documentation:
    """Return the demo product's documentation, fetched into this directory if it is not there."""
    docs = sources / f"django-{_VERSION}" / "docs"
    try:
        sources.mkdir(parents=True, exist_ok=True)
        if not _is_right(sources / _ARCHIVE):
            _download(sources)
            shutil.rmtree(docs.parent, ignore_errors=True)
        if not docs.is_dir():
            _unpack(sources / _ARCHIVE, docs.parent)
    except (OSError, tarfile.TarError) as fault:
        raise ConfigurationError(
            f"The demo documentation can't be put into '{sources}' ({fault}): make it writable, "
            "or name another state directory in LIGHTSPEED_STATE_DIR."
        ) from fault
    return Documentation(
        source=docs,
        product="Django",
        version="5.2",
        title="Django documentation",
        url_template="https://docs.djangoproject.com/en/{version}/{path}/#{anchor}",
        txt_is_rst=True,
        exclude=frozenset({"requirements.txt", *_old_release_notes(docs)}),
    )


def _is_right(archive: Path) -> bool:
    if not archive.is_file():
        return False
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == _SHA256


def _download(sources: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".download-", dir=sources) as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"Django=={_VERSION} --hash=sha256:{_SHA256}\n")
        # pip asks a source distribution for its metadata; the build tool for it is installed
        # here already, as torch needs it, so nothing else is fetched.
        command = "-m pip download --quiet --disable-pip-version-check --no-input --no-deps "
        command += "--no-build-isolation --no-binary :all: --require-hashes --retries 2 --dest"
        try:
            done = subprocess.run(
                [sys.executable, *command.split(), folder, "--requirement", str(wanted)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as fault:
            raise UnavailableError(_failed(f"no end after {_TIMEOUT_S} s")) from fault
        archive = Path(folder, _ARCHIVE)
        if done.returncode != 0 or not _is_right(archive):
            raise UnavailableError(_failed(_reason(done.stderr)))
        archive.replace(sources / _ARCHIVE)


def _failed(reason: str) -> str:
    return (
        f"Django {_VERSION}, whose documentation the demo uses, can't be downloaded with pip "
        f"({reason}): check the network and pip's configuration, then run `lightspeed demo`."
    )


def _reason(said: str) -> str:
    """Return pip's own word on what went wrong, of the many lines that it writes."""
    if "DO NOT MATCH THE HASHES" in said:
        return "the file that came does not have the expected hash"
    if re.search(r"connection|resolution|timed? ?out|unreachable", said, re.IGNORECASE):
        return "no connection to the package index"
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if "ERROR" in line]
    return lines[-1] if lines else "pip gave no reason"


def _unpack(archive: Path, target: Path) -> None:
    """Unpack pages and licence; the directory appears whole or not at all."""
    with (
        tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as folder,
        tarfile.open(archive) as packed,
    ):
        for member in packed:
            inside = member.name.partition("/")[2]
            is_page = inside.startswith("docs/") and inside.endswith(".txt")
            if member.isfile() and (is_page or inside == "LICENSE"):
                packed.extract(member, folder, filter="data")
        shutil.rmtree(target, ignore_errors=True)
        Path(folder, target.name).rename(target)


def _old_release_notes(docs: Path) -> set[str]:
    notes = (path.name for path in (docs / "releases").glob("*.txt"))
    return {f"releases/{name}" for name in notes if _release(name) < _OLDEST_RELEASE_NOTES}


def _release(name: str) -> tuple[int, int]:
    """The series that release notes belong to; what is not about a series counts as the newest."""
    found = re.match(r"(\d+)\.(\d+)", name)
    return (int(found[1]), int(found[2])) if found else (sys.maxsize, 0)
