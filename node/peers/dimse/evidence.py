"""Performed procedure steps (MPPS) and Instance Availability Notification as SCP: evidence that a series is complete.

What is answered with success is in the records, synced. A data set is parsed in the child, never here.
"""

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import, from a table
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)
from sqlalchemy import Connection

from node.child import Child
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.dicom.uids import is_well_formed
from node.errors import NodeError, Refuse
from node.log import log
from node.peers.dimse.service import Context, Service
from node.records import evidence
from node.records.database import Records
from node.records.evidence import Claim, Evidence, Source

MPPS: Final = str(ModalityPerformedProcedureStep)
IAN: Final = str(InstanceAvailabilityNotification)
CONTEXTS: Final = tuple(
    Context(abstract_syntax=uid, transfer_syntaxes=(EXPLICIT_LE, IMPLICIT_LE)) for uid in (MPPS, IAN)
)
MAXIMUM_BYTES: Final = 32 << 20  # some 200,000 named instances

_CLAIMS: Final = {  # Performed Procedure Step Status (0040,0252), PS3.3 C.4.14
    "IN PROGRESS": Claim.IN_PROGRESS,
    "COMPLETED": Claim.COMPLETED,
    "DISCONTINUED": Claim.DISCONTINUED,
}
_FINAL_ERROR_ID: Final = 0xA710  # PS3.4 F.7.2.2.3: the step may no longer be updated


class Status(IntEnum):
    """Statuses of N-CREATE and N-SET that the node sends (PS3.7 10.1.3.1.7, 10.1.5.1.6 and Annex C; PS3.4 F.7.2)."""

    SUCCESS = 0x0000
    INVALID_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    INVALID_OBJECT = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    NOT_AUTHORISED = 0x0124
    RESOURCE_LIMIT = 0x0213


class _Answer(Exception):
    """A request that is not taken. `comment`: at most 64 characters, for Error Comment (0000,0902)."""

    def __init__(self, status: Status, comment: str, *, error_id: int | None = None) -> None:
        super().__init__(comment)
        self.status, self.comment, self.error_id = status, comment[:64], error_id


def service(records: Records, child: Child, *, believed: Collection[str], clock: Callable[[], float]) -> Service:
    """Both SOP classes, for a listener.

    believed: AE titles of peers whose word counts; all others are answered Not Authorised
    clock:    seconds since the epoch
    """
    scp = _Scp(records=records, child=child, believed=frozenset(believed), clock=clock)
    return Service(contexts=CONTEXTS, handlers=((evt.EVT_N_CREATE, scp.on_create), (evt.EVT_N_SET, scp.on_set)))


@dataclass(frozen=True, kw_only=True)
class _Scp:
    records: Records
    child: Child
    believed: frozenset[str]
    clock: Callable[[], float]

    def on_create(self, event: Any) -> tuple[Dataset | int, None]:
        """Answer an N-CREATE."""
        request = event.request
        sop_class, uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID or "")
        return self._answered(event, lambda: self._create(sop_class, uid, event, request.AttributeList)), None

    def on_set(self, event: Any) -> tuple[Dataset | int, None]:
        """Answer an N-SET."""
        request = event.request
        uid = str(request.RequestedSOPInstanceUID or "")
        return self._answered(event, lambda: self._set(uid, event, request.ModificationList)), None

    def _answered(self, event: Any, work: Callable[[], None]) -> Dataset | int:
        try:
            if event.assoc.requestor.ae_title not in self.believed:
                raise _Answer(Status.NOT_AUTHORISED, "This peer's notifications are not believed here")
            work()
        except _Answer as error:
            log.warning("notification refused", status=f"{error.status:#06x}", why=error.comment)
            return _failure(error)
        except Exception:  # noqa: BLE001  the peer gets an answer whatever broke here; the log has the trace
            log.exception("notification not kept")
            return _failure(_Answer(Status.PROCESSING_FAILURE, "The node could not keep it; see its log"))
        return int(Status.SUCCESS)

    def _create(self, sop_class: str, uid: str, event: Any, stream: Any) -> None:
        if not is_well_formed(uid):
            raise _Answer(Status.INVALID_OBJECT, "Affected SOP Instance UID is missing or no UID")
        if sop_class == IAN:
            found = self._read("available", event, stream)
            said = _said(Source.AVAILABLE, uid, found, Claim.COMPLETED, at=self.clock())
            if not said:
                log.info("availability of nothing that the node takes")
            self._keep(said)
            return
        found = self._read("step", event, stream)
        if _claim(found) is not Claim.IN_PROGRESS:
            raise _Answer(Status.INVALID_VALUE, "A new step has the status IN PROGRESS")  # PS3.4 F.7.2.1.2
        with self.records.write() as connection:
            if evidence.of_key(connection, Source.MPPS, uid):
                raise _Answer(Status.DUPLICATE, "The step was created before")
            _note(connection, [_the_step(uid, found, Claim.IN_PROGRESS, at=self.clock())])
            _note(connection, _said(Source.MPPS, uid, found, Claim.IN_PROGRESS, at=self.clock()))

    def _set(self, uid: str, event: Any, stream: Any) -> None:
        found = self._read("step", event, stream)
        with self.records.write() as connection:
            known = evidence.of_key(connection, Source.MPPS, uid)
            step = next((one for one in known if not one.series_uid), None)
            if step is None:
                raise _Answer(Status.NO_SUCH_INSTANCE, "The step was not created here")
            if step.claim is not Claim.IN_PROGRESS:
                raise _Answer(
                    Status.PROCESSING_FAILURE, "The step is over and may not be updated", error_id=_FINAL_ERROR_ID
                )
            claim, at = _claim(found, otherwise=step.claim), self.clock()
            # What an earlier message of the step named stands; a series that is named again is named anew.
            _note(connection, [replace(one, claim=claim, at=at) for one in known])
            study = {**found, "study_uid": found["study_uid"] or step.study_uid}
            _note(connection, _said(Source.MPPS, uid, study, claim, at=at))
        log.info("performed procedure step", state=claim.value, series=len(found["series"]))

    def _keep(self, said: list[Evidence]) -> None:
        with self.records.write() as connection:
            _note(connection, said)

    def _read(self, what: str, event: Any, stream: Any) -> dict[str, Any]:
        data = stream.getvalue() if stream is not None else b""
        if not data:
            raise _Answer(Status.MISSING_ATTRIBUTE, "There is no data set")
        if len(data) > MAXIMUM_BYTES:
            raise _Answer(Status.RESOURCE_LIMIT, f"The data set is larger than {MAXIMUM_BYTES} bytes")
        implicit = str(event.context.transfer_syntax) == IMPLICIT_LE
        request = {"data": base64.b64encode(data).decode("ascii"), "implicit": implicit}
        try:
            return self.child.call(f"node.dicom.notices:{what}", request)
        except Refuse as error:
            raise _Answer(Status.INVALID_VALUE, error.message) from error
        except NodeError as error:
            raise _Answer(Status.PROCESSING_FAILURE, "It could not be read now") from error


def _claim(found: Mapping[str, Any], otherwise: Claim | None = None) -> Claim:
    status = found["status"]
    if not status and otherwise is not None:
        return otherwise
    if status not in _CLAIMS:
        raise _Answer(Status.INVALID_VALUE, "Performed Procedure Step Status is none of PS3.3 C.4.14")
    return _CLAIMS[status]


def _the_step(uid: str, found: Mapping[str, Any], claim: Claim, *, at: float) -> Evidence:
    """The step itself, which may name no series yet: its series is empty."""
    return Evidence(source=Source.MPPS, key=uid, study_uid=found["study_uid"], series_uid="", claim=claim, at=at)


def _said(source: Source, uid: str, found: Mapping[str, Any], claim: Claim, *, at: float) -> list[Evidence]:
    return [
        Evidence(
            source=source,
            key=uid,
            study_uid=found["study_uid"],
            series_uid=series_uid,
            claim=claim,
            named=tuple(named),
            at=at,
        )
        for series_uid, named in found["series"].items()
    ]


def _note(connection: Connection, said: list[Evidence]) -> None:
    for one in said:
        evidence.note(connection, one)


def _failure(error: _Answer) -> Dataset:
    answer = Dataset()
    answer.Status = int(error.status)
    answer.ErrorComment = error.comment
    if error.error_id is not None:
        answer.ErrorID = error.error_id
    return answer
