"""Receive: bytes and a record on disk, then `Success`.

Each thread writes and syncs its own files; whoever has the turn syncs the folder and commits the records of all that
wait, then the next one takes its turn. So durability costs one commit per group, not per instance, and a single sender
waits for no other thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from node.dicom.classes import DOCUMENT_CLASSES, STORED_CLASSES
from node.dicom.scan import Scan, Unreadable
from node.dicom.uids import is_well_formed
from node.intake.disk import SpoolFailed, SpoolFull
from node.intake.incoming import Buffers, Head, Incoming, out_of_resources
from node.intake.incoming import Rejected as Rejected
from node.intake.incoming import Status as Status
from node.records import events, instances
from node.records.database import Records, disk_error, not_written
from node.records.instances import Instance
from node.spool import Spool, file_meta


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One C-STORE request. `data_set`: encoded as on the wire, in `transfer_syntax`, without meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes | memoryview
    association: str
    calling_ae: str


@dataclass(kw_only=True)
class _Waiting:
    """An object on the disk that waits for its record.

    compare: file of an object with its UID in another encoding; they are to be compared before it is asked again
    compared, same_pixels: whether that was done, and what came of it
    """

    instance: Instance
    settled: bool = False
    outcome: bool | BaseException | None = None
    compare: str = ""
    compared: bool = False
    same_pixels: bool = False


class Intake:
    """Takes instances from any number of threads.

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
        self._aside, self._buffers = spool.desk(), Buffers()
        self._waiting: deque[_Waiting] = deque()
        self._turn = threading.Lock()

    def begin(self, head: Head) -> Incoming:
        """Make ready for one object. Raises Rejected if it is clear already that it will not be taken."""
        if not is_well_formed(head.sop_instance_uid):
            raise Rejected(Status.BAD_UID, "Affected SOP Instance UID is not a UID")
        if head.sop_class_uid not in STORED_CLASSES:
            raise Rejected(Status.CLASS_UNSUPPORTED, "Affected SOP Class is not supported")
        try:
            self._spool.require_room()
        except (SpoolFull, SpoolFailed) as error:
            raise out_of_resources(error) from error
        meta = file_meta(
            sop_class_uid=head.sop_class_uid,
            sop_instance_uid=head.sop_instance_uid,
            transfer_syntax=head.transfer_syntax,
            implementation_uid=self._implementation_uid,
        )
        return Incoming(
            head,
            meta=meta,
            spool=self._spool,
            aside=self._aside,
            buffers=self._buffers,
            maximum_bytes=self._maximum_bytes,
            keep=self._keep,
        )

    def store(self, arrival: Arrival) -> bool:
        """Keep one instance. Returns, when it is durable, whether it was new (False: the same one was here before).

        raises: Rejected, with the status to answer; nothing of the instance counts as received then
        """
        head = Head(
            sop_class_uid=arrival.sop_class_uid,
            sop_instance_uid=arrival.sop_instance_uid,
            transfer_syntax=arrival.transfer_syntax,
            association=arrival.association,
            calling_ae=arrival.calling_ae,
        )
        if len(arrival.data_set) > self._maximum_bytes:
            raise Rejected(Status.TOO_LARGE, f"Data set is larger than {self._maximum_bytes} bytes")
        incoming, left = self.begin(head), memoryview(arrival.data_set)
        while left:
            room = incoming.buffer()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            left = left[count:]
            incoming.advance(count)
        return incoming.finish().result()

    def close(self) -> None:
        """Nothing more will come."""
        self._aside.close()
        self._spool.close()

    def _keep(self, incoming: Incoming) -> "Future[bool]":
        done: Future[bool] = Future()
        try:
            done.set_result(self._durable(self._instance(incoming)))
        except BaseException as error:  # noqa: BLE001  whatever it was, the sender gets its answer
            incoming.abandon()
            done.set_exception(error)
        return done

    def _instance(self, incoming: Incoming) -> Instance:
        """Scan and write an object; its file is synced and has its name then. Raises Rejected."""
        head = incoming.head
        found = examine(head, incoming.scan)
        incoming.write()
        incoming.recycle()
        file = incoming.seal()
        return Instance(
            sop_instance_uid=head.sop_instance_uid,
            sop_class_uid=head.sop_class_uid,
            study_uid=found.header["StudyInstanceUID"][0],
            series_uid=found.header["SeriesInstanceUID"][0],
            transfer_syntax=head.transfer_syntax,
            patient_key=found.patient_key,
            file=file,
            bytes=incoming.size,
            sha256=found.sha256,
            pixel_sha256=found.pixel_sha256,
            header=found.header
            | {
                "CallingAETitle": (head.calling_ae,),
                "SOPClassUID": (head.sop_class_uid,),
                "SOPInstanceUID": (head.sop_instance_uid,),
            },
            association=head.association,
            received_at=self._clock(),
        )

    def _durable(self, instance: Instance) -> bool:
        """Sync the name of its file and record it, with all others that wait. Raises Rejected."""
        mine = _Waiting(instance=instance)
        while True:
            self._waiting.append(mine)
            with self._turn:  # somebody else may have had it in a group by now
                if not mine.settled:
                    self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])
            if not mine.compare:
                break
            mine.same_pixels, mine.compared = self._same_pixels(mine.compare, instance.file), True
            mine.settled, mine.compare = False, ""
        assert mine.outcome is not None
        if isinstance(mine.outcome, BaseException):
            raise mine.outcome
        return mine.outcome

    def _commit(self, group: list[_Waiting]) -> None:
        unnamed: list[str] = []
        try:
            self._make_durable(group, unnamed)
        except Exception as error:  # noqa: BLE001  whatever it was, every sender in the group gets its answer
            for waiting in group:
                waiting.outcome = self._trouble(error)
        for waiting in group:
            waiting.settled = True
        for file in unnamed:
            self._spool.discard(file)

    def _make_durable(self, group: list[_Waiting], unnamed: list[str]) -> None:
        """Names, then records. What no record names goes to `unnamed`, also when it raises."""
        files = [waiting.instance.file for waiting in group]
        try:
            self._spool.sync(files)
        except OSError:
            unnamed += files
            raise
        try:
            verdicts = self._record(group)
        except DBAPIError as error:
            if not_written(error):
                unnamed += files
            else:  # the commit may be on the disk all the same: the sweep at the next start finds out
                self._aside.leave()
            raise
        for waiting, verdict in zip(group, verdicts, strict=True):
            waiting.outcome, waiting.compare = verdict.outcome, verdict.compare
            if verdict.unnamed:
                unnamed.append(waiting.instance.file)

    def _record(self, group: Sequence[_Waiting]) -> "list[_Verdict]":
        arrived = [waiting.instance for waiting in group]
        with self._records.write_bare() as cursor:
            if all(instances.insert_all(cursor, arrived)):
                return [_Verdict(outcome=True)] * len(group)
            cursor.execute("ROLLBACK")
        with self._records.write() as connection:
            new = instances.add_all(connection, arrived)
            return [
                _Verdict(outcome=True) if is_new else _known(connection, waiting)
                for is_new, waiting in zip(new, group, strict=True)
            ]

    def _trouble(self, error: Exception) -> Exception:
        """What to answer when a group could not be made durable."""
        if isinstance(error, OSError):
            return out_of_resources(self._spool.trouble(error))
        if isinstance(error, DBAPIError) and (kind := disk_error(error)) is not None:
            return out_of_resources(self._spool.trouble(kind))
        return error


def examine(head: Head, scanned: Callable[[], Scan]) -> Scan:
    """Check a data set against its own command and the standard. Raises Rejected."""
    try:
        found = scanned()
    except Unreadable as error:
        raise Rejected(Status.UNREADABLE, str(error)[:64]) from error
    header = found.header
    # De-identifying tools are known to leave both UIDs empty in the data set: the command's are the object's then. One
    # that is absent altogether breaks PS3.3 C.12.1, and one that differs is another object.
    for keyword, named in (("SOPInstanceUID", head.sop_instance_uid), ("SOPClassUID", head.sop_class_uid)):
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
    if head.study_uid and header["StudyInstanceUID"] != (head.study_uid,):
        raise Rejected(Status.MISMATCH, "StudyInstanceUID is not that of the request")
    return found


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """What the records say of one object. `unnamed`: no record names its file."""

    outcome: bool | Rejected | None = None
    unnamed: bool = False
    compare: str = ""


def _known(connection: Connection, waiting: _Waiting) -> _Verdict:
    new = waiting.instance
    known = instances.by_uid(connection, new.sop_instance_uid)
    assert known is not None
    belongs = ("patient_key", "study_uid", "series_uid", "sop_class_uid")
    other = [name for name in belongs if getattr(known, name) != getattr(new, name)]
    if known.sha256 == new.sha256 and known.pixel_sha256 == new.pixel_sha256:
        if known.file:
            return _Verdict(outcome=False, unnamed=True)
        instances.restore(connection, new)  # it was purged: here are its bytes again
        return _Verdict(outcome=False)
    document = new.sop_class_uid in DOCUMENT_CLASSES  # it has no pixels, so that equal ones say nothing
    if not other and not document and (known.pixel_sha256 == new.pixel_sha256 or waiting.same_pixels):
        # An archive that corrected a name or changed the encoding sends the same image: the first one stays.
        events.add(connection, at=new.received_at, kind="header-differs", subject=new.series_uid, sha256=new.sha256)
        return _Verdict(outcome=False, unnamed=True)
    if (
        not other
        and not document
        and known.file
        and known.transfer_syntax != new.transfer_syntax
        and not waiting.compared
    ):
        return _Verdict(compare=known.file)
    what = "another patient, study or series" if other else "another content" if document else "other pixels"
    named = instances.quarantine(connection, new, f"An object with the same SOP Instance UID but {what} came later.")
    return _Verdict(outcome=Rejected(Status.CONFLICT, f"Another object has this UID: {what}"), unnamed=not named)
