"""One round: find, pack, send, remember, remove."""

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightspeed_providers.core.errors import LightspeedError
from lightspeed_providers.core.progress import Report

from .archive import Archive, Packed
from .config import CollectorConfig
from .files import CLAIMED, Found, Stayed, Version, count_files, found_files
from .lock import sole_collector
from .packing import archive_name, packed
from .removal import give_back, remove_empty_directories, remove_sent
from .sent import SentFiles, opened_sent
from .settings import load_token
from .stop import Stop

if TYPE_CHECKING:
    from .destination import IngressServer

logger = logging.getLogger(__name__)

SENT, FAILED, PARTLY = 0, 1, 3
"""Exit codes: all that could go was sent, nothing was, or some of it."""

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


@dataclass
class Round:
    """What one round did."""

    files: int = 0
    content_bytes: int = 0
    archives: int = 0
    archive_bytes: int = 0
    removed: int = 0
    refused: int = 0
    stopped: bool = False
    seconds: float = 0.0
    retry_after_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    stayed: Stayed = field(default_factory=Stayed)

    @property
    def code(self) -> int:
        """The exit code of a single round."""
        if self.faults or self.refused or self.stopped:
            return PARTLY if self.archives else FAILED
        return PARTLY if self.stayed.left else SENT

    @property
    def summary(self) -> str:
        """The round in one line."""
        did = (
            f"Sent {self.files} files ({self.content_bytes} bytes) in {self.archives} archives "
            f"({self.archive_bytes} bytes), removed {self.removed}, {self.seconds:.1f} s"
        )
        refused = f"; {self.refused} archives refused" if self.refused else ""
        stay = f"; files that stay: {self.stayed.sums()}" if self.stayed.sums() else ""
        return f"{did}{refused}{stay}{'; stopped early' if self.stopped else ''}."


class Collector:
    """Sends what lies in the storages and removes what was accepted."""

    def __init__(self, config: CollectorConfig, stop: Stop, report: Report | None = None) -> None:
        self._config = config
        self._stop = stop
        self._report = report

    def collect(self) -> Round:
        """Do one round; a fault ends it, is told, and loses nothing."""
        done = Round()
        began = time.monotonic()
        storages = [one for one in self._config.storages() if one[1].is_dir()]
        try:
            if storages:
                self._collect_storages(storages, done)
            else:
                logger.info("No storage is there yet: nothing to send.")
        except LightspeedError as fault:
            done.faults.append(str(fault))
        done.stopped = self._stop.is_set()
        done.seconds = time.monotonic() - began
        return done

    def _collect_storages(self, storages: list[tuple[str, Path]], done: Round) -> None:
        from .destination import opened_server

        moment = datetime.now(UTC)
        with opened_server(self._config, load_token(self._config)) as server:
            for kind, storage in storages:
                if self._stop.is_set() or done.faults:
                    return
                try:
                    self._collect_storage(kind, storage.resolve(), server, moment, done)
                except OSError as fault:
                    done.faults.append(f"Storage '{storage}' can't be read: {fault.strerror}.")

    def _collect_storage(
        self, kind: str, storage: Path, server: "IngressServer", moment: datetime, done: Round
    ) -> None:
        done.stayed.storage = storage
        with (
            sole_collector(storage, self._config.lock_timeout, self._stop) as held,
            opened_sent(storage) as sent,
        ):
            if not held:
                return
            self._send_all(kind, storage, sent, server, moment, done)
            sent.forget_missing(storage)
            if self._config.cleanup_after_send:
                remove_empty_directories(storage)

    def _send_all(
        self,
        kind: str,
        storage: Path,
        sent: SentFiles,
        server: "IngressServer",
        moment: datetime,
        done: Round,
    ) -> None:
        from .attempts import AwayError, RefusedError

        archives = packed(
            self._shown(kind, storage, self._unsent(storage, sent, done)),
            self._config.archives,
            archive_limit=self._config.max_archive_bytes,
            file_limit=self._config.max_file_bytes,
            stayed=done.stayed,
        )
        for archive, part in archives:
            if self._stop.is_set():
                return
            name = archive_name(kind, moment, part)
            try:
                self._send(server, archive, name)
            except RefusedError as fault:
                done.refused += 1
                if fault.others_too:
                    done.faults.append(self._not_accepted(name, fault))
                    return
                logger.error("%s", self._not_accepted(name, fault))
            except AwayError as fault:
                done.retry_after_s = fault.retry_after_s
                done.faults.append(self._not_accepted(name, fault))
                return
            else:
                self._settle(storage, sent, archive, done)

    def _send(self, server: "IngressServer", archive: Archive, name: str) -> None:
        from .attempts import repeated

        def request() -> None:
            accepted_as = server.send(archive.file, name)
            shown = accepted_as if accepted_as and _REQUEST_ID.fullmatch(accepted_as) else "-"
            logger.info(
                "%s accepted: %d files, %d bytes, request_id %s",
                name, len(archive.files), archive.size, shown,
            )  # fmt: skip

        def told(why: str, wait_s: float) -> None:
            logger.warning("%s not accepted: %s; again in %.0f s.", name, why, wait_s)

        repeated(
            request,
            attempts=self._config.attempts,
            longest_wait_s=self._config.retry_interval,
            stop=self._stop,
            told=told,
        )

    def _settle(self, storage: Path, sent: SentFiles, archive: Archive, done: Round) -> None:
        """Remember what was accepted before any of it goes, as the process may end in between."""
        sent.remember(archive.files)
        done.files += len(archive.files)
        done.content_bytes += archive.content_bytes
        done.archives += 1
        done.archive_bytes += archive.size
        if self._config.cleanup_after_send:
            gone = remove_sent(storage, archive.files)
            sent.forget(gone)
            done.removed += len(gone)

    def _unsent(self, storage: Path, sent: SentFiles, done: Round) -> Iterator[Found]:
        """Yield what the server has not accepted yet, and finish what a killed round left."""
        left_over: list[Packed] = []
        for found in found_files(storage, done.stayed, partial(_finish_removal, sent)):
            if self._stop.is_set():
                return
            if not sent.has(found.path, found.version):
                yield found
            elif self._config.cleanup_after_send:
                left_over.append(Packed(found.path, found.version))
        gone = remove_sent(storage, left_over)
        sent.forget(gone)
        done.removed += len(gone)

    def _shown(self, kind: str, storage: Path, files: Iterable[Found]) -> Iterator[Found]:
        total = count_files(storage) if self._report else 0
        for number, found in enumerate(files, 1):
            yield found
            if self._report and total:
                self._report(f"Reading {kind}", min(number, total), total)

    def _not_accepted(self, name: str, fault: Exception) -> str:
        return f"{self._config.shown_url} did not accept {name}: {fault}. Its files stay."


def _finish_removal(sent: SentFiles, path: str, name: str, directory: int) -> None:
    folder, slash, _ = path.rpartition("/")
    original = folder + slash + name.removeprefix(".").removesuffix(CLAIMED)
    try:
        version = Version.of(os.stat(name, dir_fd=directory, follow_symlinks=False))
        if sent.has(original, version):
            os.unlink(name, dir_fd=directory)
        else:
            give_back(directory, name)
    except OSError as fault:
        logger.warning("%a can't be removed or given back (%s).", path, fault.strerror)
