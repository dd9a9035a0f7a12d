"""Those who say that something is complete, by pynetdicom: a scanner with MPPS, an archive with availability."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE
from pynetdicom.association import Association

from tests.peers import HOST

MPPS, IAN = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.4.33"
CT = "1.2.840.10008.5.1.4.1.1.2"

Named = Mapping[str, Sequence[str]]
"""Series Instance UID -> SOP Instance UIDs."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    comment: str
    error_id: int | None


@contextmanager
def association(port: int, *, called: str, calling: str = "OTHER") -> Iterator[Association]:
    """An open association for both SOP classes, released at the end."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    for sop_class in (MPPS, IAN):
        ae.add_requested_context(sop_class, "1.2.840.10008.1.2.1")
    opened = ae.associate(HOST, port, ae_title=called)
    assert opened.is_established
    try:
        yield opened
    finally:
        opened.release()


def create_step(opened: Association, uid: str, *, study_uid: str, status: str = "IN PROGRESS") -> Answer:
    """N-CREATE of a step that has no series yet, as a scanner sends it at the start of an examination."""
    found = step(status, {})
    found.ScheduledStepAttributesSequence = Items([_uids(StudyInstanceUID=study_uid)])
    return _answer(opened.send_n_create(found, MPPS, uid)[0])


def set_step(opened: Association, uid: str, status: str | None, named: Named) -> Answer:
    """N-SET of a step."""
    return _answer(opened.send_n_set(step(status, named), MPPS, uid)[0])


def step(status: str | None, named: Named, *, sop_class: str = CT) -> Dataset:
    """The data set of a step."""
    found = Dataset()
    if status is not None:
        found.PerformedProcedureStepStatus = status
    series = []
    for series_uid, uids in named.items():
        one = _uids(SeriesInstanceUID=series_uid)
        one.ReferencedImageSequence = Items(
            [_uids(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid) for uid in uids]
        )
        one.ReferencedNonImageCompositeSOPInstanceSequence = Items([])
        series.append(one)
    found.PerformedSeriesSequence = Items(series)
    return found


def notify(opened: Association, uid: str, *, study_uid: str, named: Named, availability: str = "ONLINE") -> Answer:
    """N-CREATE of an availability notification."""
    found = _uids(StudyInstanceUID=study_uid)
    found.ReferencedPerformedProcedureStepSequence = Items([])
    series = []
    for series_uid, uids in named.items():
        one = _uids(SeriesInstanceUID=series_uid)
        one.ReferencedSOPSequence = Items(
            [
                _uids(
                    ReferencedSOPClassUID=CT,
                    ReferencedSOPInstanceUID=instance,
                    InstanceAvailability=availability,
                    RetrieveAETitle="ARCHIVE",
                )
                for instance in uids
            ]
        )
        series.append(one)
    found.ReferencedSeriesSequence = Items(series)
    return _answer(opened.send_n_create(found, IAN, uid)[0])


def _uids(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _answer(found: Dataset) -> Answer:
    return Answer(status=int(found.Status), comment=found.get("ErrorComment", ""), error_id=found.get("ErrorID"))
