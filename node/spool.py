"""Bytes on disk: written aside, synced, renamed. Names are ours, never the sender's.

Received files lie in a folder for each hour, so that a group of them needs one sync for all their names. A file that
was renamed there and never recorded is found by the name of the process that made it, once that one is dead.
"""

import contextlib
import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from node.errors import BadSetting, NodeError, Refuse
from node.intake import aside
from node.intake.aside import Aside
from node.intake.disk import SpoolFailed, SpoolFull, is_broken, is_full
from node.intake.disk import output_folder as output_folder
from node.intake.disk import sync_folder as sync_folder
from node.intake.disk import written_aside as written_aside
from node.intake.hours import Hours
from node.log import log

_NO_ROOM: Final = "Less disk space is free than node.disk_reserve_mb."
_FAILED: Final = "The spool's disk failed to write or to sync."
_FAILED_FIX: Final = "Check the disk, then start the node again; until then nothing is taken."


class Spool:
    """The folders of one node: `in` (as received), `aside` (being written), `work` (arrays), `out` (results)."""

    def __init__(self, state: Path, *, reserve_bytes: int) -> None:
        self.root = state / "spool"
        self.reserve_bytes = reserve_bytes
        self._in, self._aside, self._mark = self.root / "in", self.root / "aside", self.root / "failed"
        # Arrays between stages are not synced; after a power cut the folder of that boot is never looked at again.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self.work, self.out = self.root / "work" / boot, self.root / "out"
        self._broken = False
        self._root_path, self._mark_path = str(self.root), str(self._mark)
        self._hours = Hours(self._in)

    def prepare(self) -> None:
        """Make the folders, durable, and prove that they can be written. Once, before any part starts.

        raises: BadSetting
        """
        try:
            for folder in (self._in, self._aside, self.work, self.out):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self._in, self.root, self.root.parent):
                sync_folder(folder)
            probe = self._aside / f"{os.getpid()}-probe"
            with written_aside(probe) as file:
                file.write(b"writable")
            sync_folder(self._aside)
            probe.unlink()
            self._mark.unlink(missing_ok=True)
        except OSError as error:
            raise BadSetting(
                f"The spool {self.root} cannot be written: {error.strerror}.",
                fix="Give the node's user that folder, or set node.state to another one.",
            ) from error

    def desk(self) -> Aside:
        """A folder for this process to write in. Raises SpoolFull or SpoolFailed."""
        try:
            return Aside(self._aside)
        except OSError as error:
            raise self.trouble(error) from error

    def sweep(self, recorded: Callable[[Iterable[str]], set[str]]) -> None:
        """Remove what dead processes left half-written or unrecorded, and the arrays of earlier boots.

        recorded: which of these files the records name
        """

        def orphans(token: str) -> None:
            files = {f"{path.parent.name}/{path.name}" for path in self._in.glob(f"*/{token}-*.dcm")}
            for file in sorted(files - recorded(files)):
                log.info("a file that no answer vouched for is removed", file=file)
                self.path(file).unlink(missing_ok=True)

        aside.sweep(self._aside, orphans)
        for old in self.work.parent.iterdir():
            if old != self.work:
                shutil.rmtree(old, ignore_errors=True)  # a sibling may be at it too

    def free_bytes(self) -> int:
        disk = os.statvfs(self._root_path)
        return disk.f_bavail * disk.f_frsize

    def total_bytes(self) -> int:
        disk = os.statvfs(self._root_path)
        return disk.f_blocks * disk.f_frsize

    def has_room(self, size: int) -> bool:
        return self.free_bytes() - size >= self.reserve_bytes

    def require_room(self, size: int = 0) -> None:
        """Raises SpoolFull if less than the reserve would stay free, SpoolFailed if the disk failed before."""
        if self.has_failed():
            raise SpoolFailed(_FAILED, fix=_FAILED_FIX)
        if not self.has_room(size):
            raise SpoolFull(_NO_ROOM, fix="Free some; senders try again.")

    def has_failed(self) -> bool:
        """Whether a write or sync failed since the node was started, in this process or in another one."""
        return self._broken or os.path.exists(self._mark_path)  # noqa: PTH110  before every object

    def trouble(self, error: OSError) -> NodeError:
        """What an error of this disk means: SpoolFull, or SpoolFailed and nothing is trusted any more.

        After a failed sync the kernel may have dropped the pages and call the next sync a success, in this process or
        in another one: so it is said to all of them, and only a start of the node takes it back.
        """
        if is_full(error):
            return SpoolFull("The spool's disk is full.", fix="Free some; senders try again.")
        log.error("the spool could not be written", reason=error.strerror, broken=is_broken(error))
        if is_broken(error):
            self._broken = True
            try:
                self._mark.touch(mode=0o600)
            except OSError as second:
                log.error("the failed disk takes no mark either", reason=second.strerror)
        return SpoolFailed(f"{_FAILED[:-1]}: {error.strerror}.", fix=_FAILED_FIX)

    def path(self, file: str) -> Path:
        """Where a file of the records lies. Names without a folder are of versions that had 256 of them.

        raises: Refuse if it was purged
        """
        if not file:
            raise Refuse("A received file of this series was purged.", fix="Send the series again, then replay.")
        return self._in / file if "/" in file else self._in / file[:2] / file

    def holds(self, file: str, sha256: str) -> bool:
        """Whether a file below the spool is there and is what was written."""
        try:
            return hashlib.sha256((self.root / file).read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False

    def adopt(self, path: str | Path) -> str:
        """Rename a synced file aside into the folder of this hour; returns its name there. `sync` makes it durable.

        raises: OSError
        """
        return self._hours.adopt(path)

    def results(self, job_id: str) -> Path:
        """Where the results of a job lie, in a folder for each generation."""
        return self.out / job_id[:2] / job_id

    def remove_empty_folders(self) -> None:
        """Those of hours that are over; what is still to come has folders of its own."""
        now = time.strftime("%Y%m%d%H", time.gmtime(time.time() - 3600))
        for folder in self._in.glob("20????????"):
            if folder.name < now:
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()

    def discard(self, file: str) -> None:
        """Remove a received file that nothing names."""
        self.path(file).unlink(missing_ok=True)

    def sync(self, files: Iterable[str]) -> None:
        """Make the names of these files durable: one sync for each folder. Raises OSError."""
        for hour in {file.partition("/")[0] for file in files}:
            self._hours.sync(hour)

    def close(self) -> None:
        """Nothing will be adopted any more."""
        self._hours.close()


def file_meta(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, implementation_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 7.1). The preamble is 128 zero bytes, whatever came."""

    def element(number: int, vr: bytes, value: bytes, pad: bytes = b"\0") -> bytes:
        value += pad * (len(value) % 2)
        if vr == b"OB":
            return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
        return struct.pack("<HH2sH", 2, number, vr, len(value)) + value

    body = (
        element(0x0001, b"OB", b"\0\1")
        + element(0x0002, b"UI", sop_class_uid.encode("ascii"))
        + element(0x0003, b"UI", sop_instance_uid.encode("ascii"))
        + element(0x0010, b"UI", transfer_syntax.encode("ascii"))
        + element(0x0012, b"UI", implementation_uid.encode("ascii"))
    )
    return b"\0" * 128 + b"DICM" + element(0x0000, b"UL", struct.pack("<I", len(body))) + body
