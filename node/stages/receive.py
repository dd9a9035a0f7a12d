"""Receive: bytes and a record on disk, then `Success`.

The calling thread writes and syncs the file; one committing thread syncs folders and commits records for all that
arrived since its last turn, then releases their answers. So durability costs one commit per group, not per instance.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sqlalchemy import Connection

from node.dicom.classes import STORAGE_CLASSES
from node.dicom.scan import Scan, Unreadable, scan
from node.dicom.uids import is_well_formed
from node.records import events, instances
from node.records.database import Records
from node.records.instances import Instance
from node.spool import Spool, SpoolFull, file_meta

_GROUP: Final = 64


class Status(IntEnum):
    """C-STORE response statuses that the node sends (PS3.4 B.2.3, PS3.7 9.1.1.1.9; DICOM_SPEC §6)."""

    SUCCESS = 0x0000
    INTERNAL_FAILURE = 0x0110
    BAD_UID = 0x0117
    CLASS_UNSUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    MISMATCH = 0xA900
    UNREADABLE = 0xC000
    CONFLICT = 0xC001
    BAD_SERIES_UID = 0xC002
    TOO_LARGE = 0xC003


class Rejected(Exception):
    """An instance that the node does not take. `comment`: at most 64 characters, for Error Comment (0000,0902)."""

    def __init__(self, status: Status, comment: str) -> None:
        super().__init__(f"{status:#06x} {comment}")
        self.status = status
        self.comment = comment


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One C-STORE request. `data_set`: encoded as on the wire, in `transfer_syntax`, without meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes | memoryview
    association: str
    calling_ae: str


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    instance: Instance
    same_pixels: bool  # as the instance of that UID that was there before, though encoded otherwise
    done: "Future[bool]"


class Intake:
    """Takes instances, one call for each, from any number of threads.

    clock:        seconds since the epoch
    same_pixels:  whether two spooled files decode to equal pixels; asked only when one UID comes in two encodings
    """

    def __init__(
        self,
        spool: Spool,
        records: Records,
        *,
        implementation_uid: str,
        maximum_bytes: int,
        clock: Callable[[], float],
        same_pixels: Callable[[str, str], bool],
    ) -> None:
        self._spool, self._records, self._clock = spool, records, clock
        self._implementation_uid, self._maximum_bytes = implementation_uid, maximum_bytes
        self._same_pixels = same_pixels
        self._queue: queue.Queue[_Waiting | None] = queue.Queue()
        self._committer = threading.Thread(target=self._commit_groups, name="commit", daemon=True)
        self._committer.start()

    def store(self, arrival: Arrival) -> bool:
        """Keep one instance. Returns, when it is durable, whether it was new (False: the same one was here before).

        raises: Rejected, with the status to answer; nothing of the instance counts as received then
        """
        found = examine(arrival, maximum_bytes=self._maximum_bytes)
        uid = arrival.sop_instance_uid
        sha256 = hashlib.sha256(arrival.data_set).hexdigest()
        meta = file_meta(
            sop_class_uid=arrival.sop_class_uid,
            sop_instance_uid=uid,
            transfer_syntax=arrival.transfer_syntax,
            implementation_uid=self._implementation_uid,
        )
        try:
            file = self._spool.keep(sha256, meta, arrival.data_set)
        except SpoolFull as error:
            raise Rejected(Status.OUT_OF_RESOURCES, "No disk space; try again later") from error
        instance = Instance(
            sop_instance_uid=uid,
            sop_class_uid=arrival.sop_class_uid,
            study_uid=found.header["StudyInstanceUID"][0],
            series_uid=found.header["SeriesInstanceUID"][0],
            transfer_syntax=arrival.transfer_syntax,
            patient_key=found.patient_key,
            file=file,
            bytes=len(arrival.data_set),
            sha256=sha256,
            pixel_sha256=found.pixel_sha256,
            header=found.header
            | {
                "CallingAETitle": (arrival.calling_ae,),
                "SOPClassUID": (arrival.sop_class_uid,),
                "SOPInstanceUID": (uid,),
            },
            association=arrival.association,
            received_at=self._clock(),
        )
        waiting = _Waiting(instance=instance, same_pixels=self._equal_in_other_encoding(instance), done=Future())
        self._queue.put(waiting)
        return waiting.done.result()

    def close(self) -> None:
        """Commit what waits, then stop."""
        self._queue.put(None)
        self._committer.join()

    def _equal_in_other_encoding(self, instance: Instance) -> bool:
        with self._records.read() as connection:
            known = instances.by_uid(connection, instance.sop_instance_uid)
        if known is None or known.sha256 == instance.sha256 or known.transfer_syntax == instance.transfer_syntax:
            return False
        return self._same_pixels(known.file, instance.file)

    def _commit_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            group, stop = [first], False
            while len(group) < _GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(group)
            if stop:
                return

    def _commit(self, group: list[_Waiting]) -> None:
        outcomes: list[bool | Rejected] = []
        try:
            self._spool.sync({waiting.instance.file for waiting in group})
            with self._records.write() as connection:
                outcomes = [_record(connection, w.instance, same_pixels=w.same_pixels) for w in group]
        except Exception as error:  # noqa: BLE001  whatever it was, every sender in the group gets its answer
            for waiting in group:
                waiting.done.set_exception(error)
            return
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                waiting.done.set_exception(outcome)
            else:
                waiting.done.set_result(outcome)


def examine(arrival: Arrival, *, maximum_bytes: int) -> Scan:
    """Check an arrival against its own command and the standard. Raises Rejected."""
    if not is_well_formed(arrival.sop_instance_uid):
        raise Rejected(Status.BAD_UID, "Affected SOP Instance UID is not a UID")
    if arrival.sop_class_uid not in STORAGE_CLASSES:
        raise Rejected(Status.CLASS_UNSUPPORTED, "Affected SOP Class is not supported")
    if len(arrival.data_set) > maximum_bytes:
        raise Rejected(Status.TOO_LARGE, f"Data set is larger than {maximum_bytes} bytes")
    try:
        found = scan(arrival.data_set, arrival.transfer_syntax)
    except Unreadable as error:
        raise Rejected(Status.UNREADABLE, str(error)[:64]) from error
    header = found.header
    # De-identifying tools are known to leave both UIDs empty in the data set: the command's are the object's then. One
    # that is absent altogether breaks PS3.3 C.12.1, and one that differs is another object.
    for keyword, named in (("SOPInstanceUID", arrival.sop_instance_uid), ("SOPClassUID", arrival.sop_class_uid)):
        if keyword not in header:
            raise Rejected(Status.MISMATCH, f"{keyword} is missing")
        if header[keyword] not in ((), (named,)):
            raise Rejected(Status.MISMATCH, f"{keyword} is not that of the command")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        values = header.get(keyword, ())
        if values in ((), ("",)):
            raise Rejected(Status.MISMATCH, f"{keyword} is missing")
        if not is_well_formed(values[0]):
            raise Rejected(Status.BAD_SERIES_UID, f"{keyword} is not a UID")
    return found


def _record(connection: Connection, new: Instance, *, same_pixels: bool) -> bool | Rejected:
    known = instances.by_uid(connection, new.sop_instance_uid)
    if known is None:
        instances.add(connection, new)
        return True
    if known.sha256 == new.sha256:
        return False
    belongs = ("patient_key", "study_uid", "series_uid", "sop_class_uid")
    other = [name for name in belongs if getattr(known, name) != getattr(new, name)]
    if not other and (known.pixel_sha256 == new.pixel_sha256 or same_pixels):
        # An archive that corrected a name or changed the encoding sends the same image: the first one stays.
        events.add(connection, at=new.received_at, kind="header-differs", subject=new.series_uid, sha256=new.sha256)
        return False
    what = "another patient, study or series" if other else "other pixels"
    instances.quarantine(connection, new, f"An object with the same SOP Instance UID but {what} came later.")
    return Rejected(Status.CONFLICT, f"Another object has this UID: {what}")
