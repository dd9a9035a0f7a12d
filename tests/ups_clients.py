"""Those who work with the worklist, by pynetdicom: who creates, who reads, who watches."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE, evt
from pynetdicom.association import Association

from node.worklist.ups_status import ALL_ITEMS, EVENT, PULL, PUSH, QUERY, WATCH
from tests.peers import HOST

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


@contextmanager
def association(port: int, *, called: str, calling: str = "READER", syntax: str = EXPLICIT) -> Iterator[Association]:
    """An open association for the five SOP classes, released at the end."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    for sop_class in (PUSH, PULL, WATCH, EVENT, QUERY):
        ae.add_requested_context(sop_class, syntax)
    opened = ae.associate(HOST, port, ae_title=called)
    assert opened.is_established
    try:
        yield opened
    finally:
        opened.release()


class Subscriber:
    """Listens for events when it is there. `status`: what it answers."""

    def __init__(self, port: int, ae_title: str) -> None:
        self.port, self.ae_title, self.status = port, ae_title, 0x0000
        self.heard: list[tuple[str, int, Dataset]] = []
        self.was_scp: list[bool] = []
        self.hold = threading.Event()
        self.hold.set()

    @contextmanager
    def there(self) -> Iterator[None]:
        ae = AE(ae_title=self.ae_title)
        ae.add_supported_context(EVENT, EXPLICIT, scu_role=True, scp_role=True)
        server = ae.start_server(
            (HOST, self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._on_event)]
        )
        try:
            yield
        finally:
            server.shutdown()

    def _on_event(self, event: Any) -> tuple[int, None]:
        self.hold.wait(20)
        assert event.request.AffectedSOPClassUID == PUSH
        # The requestor, the node, has the role of the SCP: so this acceptor is SCU.
        self.was_scp.append(bool(event.assoc.accepted_contexts[0].as_scu))
        if self.status == 0x0000:
            self.heard.append((str(event.request.AffectedSOPInstanceUID), event.event_type, event.event_information))
        return self.status, None

    @property
    def types(self) -> list[int]:
        return [event_type for _, event_type, _ in self.heard]

    @property
    def states(self) -> list[str]:
        return [found.ProcedureStepState for _, event_type, found in self.heard if event_type == 1]


def items(**values: Any) -> Dataset:
    """A data set of these attributes by keyword; lists of data sets become sequences."""
    found = Dataset()
    for keyword, value in values.items():
        is_sequence = isinstance(value, list) and (not value or isinstance(value[0], Dataset))
        setattr(found, keyword, Items(value) if is_sequence else value)
    return found


def code(value: str, scheme: str = "DCM", meaning: str = "meaning") -> Dataset:
    return items(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def workitem(
    *, priority: str = "MEDIUM", start: str = "20260101120000", label: str = "AI-TRIAGE", **more: Any
) -> Dataset:
    """A workitem as an SCU sends it: table CC.2.5-3, types 1 and 2."""
    values: dict[str, Any] = {
        "TransactionUID": "",
        "ScheduledProcedureStepPriority": priority,
        "ProcedureStepLabel": "Read it",
        "WorklistLabel": label,
        "ScheduledProcessingParametersSequence": [],
        "ScheduledStationNameCodeSequence": [],
        "ScheduledStationClassCodeSequence": [],
        "ScheduledStationGeographicLocationCodeSequence": [],
        "ScheduledProcedureStepStartDateTime": start,
        "ScheduledWorkitemCodeSequence": [code("110005", meaning="Interpretation")],
        "CommentsOnTheScheduledProcedureStep": "",
        "InputReadinessState": "READY",
        "InputInformationSequence": [],
        "StudyInstanceUID": "1.2.3.4",
        "PatientName": "DOE^JANE",
        "PatientID": "4711",
        "IssuerOfPatientID": "",
        "IssuerOfPatientIDQualifiersSequence": [],
        "OtherPatientIDsSequence": [],
        "PatientBirthDate": "19500101",
        "PatientSex": "F",
        "AdmissionID": "",
        "IssuerOfAdmissionIDSequence": [],
        "AdmittingDiagnosesDescription": "",
        "AdmittingDiagnosesCodeSequence": [],
        "ReferencedRequestSequence": [],
        "ProcedureStepState": "SCHEDULED",
        "ProcedureStepProgressInformationSequence": [],
        "UnifiedProcedureStepPerformedProcedureSequence": [],
    }
    return items(**{**values, **more})


def create(opened: Association, uid: str, found: Dataset | None = None) -> int:
    return _status(opened.send_n_create(workitem() if found is None else found, PUSH, uid)[0])


def change_state(opened: Association, uid: str, state: str, transaction: str | None) -> int:
    wanted = items(ProcedureStepState=state)
    if transaction is not None:
        wanted.TransactionUID = transaction
    return _status(opened.send_n_action(wanted, 1, PUSH, uid, meta_uid=PULL)[0])


def set_values(opened: Association, uid: str, **values: Any) -> int:
    return _status(opened.send_n_set(items(**values), PUSH, uid, meta_uid=PULL)[0])


def get(opened: Association, uid: str, tags: Sequence[int] = ()) -> tuple[int, Dataset | None]:
    status, found = opened.send_n_get(list(tags), PUSH, uid, meta_uid=PULL)
    return _status(status), found


def ask_to_cancel(opened: Association, uid: str, **values: Any) -> int:
    said = items(**values) if values else None
    return _status(opened.send_n_action(said, 2, PUSH, uid, meta_uid=WATCH)[0])


def subscribe(opened: Association, receiver: str, uid: str = ALL_ITEMS, *, lock: bool = False) -> int:
    wanted = items(ReceivingAE=receiver, DeletionLock="TRUE" if lock else "FALSE")
    return _status(opened.send_n_action(wanted, 3, PUSH, uid, meta_uid=WATCH)[0])


def unsubscribe(opened: Association, receiver: str, uid: str = ALL_ITEMS, *, action: int = 4) -> int:
    return _status(opened.send_n_action(items(ReceivingAE=receiver), action, PUSH, uid, meta_uid=WATCH)[0])


def find(opened: Association, *, sop_class: str = PULL, **keys: Any) -> tuple[list[Dataset], list[int]]:
    """The answers, and every status."""
    identifier = items(**{"SOPInstanceUID": "", **keys})
    answers, statuses = [], []
    for status, found in opened.send_c_find(identifier, sop_class):
        statuses.append(_status(status))
        if found is not None:
            answers.append(found)
    return answers, statuses


def found_uids(opened: Association, **keys: Any) -> list[str]:
    return [str(one.SOPInstanceUID) for one in find(opened, **keys)[0]]


def performed() -> Dataset:
    """What a step needs to be COMPLETED."""
    return items(
        PerformedStationNameCodeSequence=[code("WS1", "99SITE")],
        PerformedProcedureStepStartDateTime="20260101130000",
        PerformedWorkitemCodeSequence=[code("110005", meaning="Interpretation")],
        PerformedProcedureStepEndDateTime="20260101131000",
        OutputInformationSequence=[],
    )


def _status(found: Dataset) -> int:
    assert "Status" in found, "no answer"
    return int(found.Status)


# Types 1 and 2 of table CC.2.5-3 (N-CREATE, SCP), written down here anew so that the node's own table is checked.
TYPE_1 = (
    "SOPClassUID SOPInstanceUID ScheduledProcedureStepPriority ScheduledProcedureStepModificationDateTime "
    "ProcedureStepLabel WorklistLabel ScheduledProcedureStepStartDateTime InputReadinessState ProcedureStepState"
)
TYPE_2 = (
    "ScheduledProcessingParametersSequence ScheduledStationNameCodeSequence ScheduledStationClassCodeSequence "
    "ScheduledStationGeographicLocationCodeSequence ScheduledWorkitemCodeSequence CommentsOnTheScheduledProcedureStep "
    "InputInformationSequence StudyInstanceUID PatientName PatientID IssuerOfPatientID "
    "IssuerOfPatientIDQualifiersSequence OtherPatientIDsSequence PatientBirthDate PatientSex AdmissionID "
    "IssuerOfAdmissionIDSequence AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence "
    "ReferencedRequestSequence ProcedureStepProgressInformationSequence UnifiedProcedureStepPerformedProcedureSequence"
)
OF_REQUEST = (
    "AccessionNumber IssuerOfAccessionNumberSequence OrderPlacerIdentifierSequence OrderFillerIdentifierSequence "
    "RequestedProcedureID RequestedProcedureDescription RequestedProcedureCodeSequence"
)
OF_INPUT = "TypeOfInstances StudyInstanceUID SeriesInstanceUID ReferencedSOPSequence DICOMRetrievalSequence"


def missing(found: Dataset) -> list[str]:
    """What a workitem lacks of what it has to have."""
    lacks = [keyword for keyword in TYPE_1.split() if not found.get(keyword)]
    lacks += [keyword for keyword in TYPE_2.split() if keyword not in found]
    for item in found.get("ReferencedRequestSequence", ()):
        lacks += [f"ReferencedRequestSequence.{keyword}" for keyword in OF_REQUEST.split() if keyword not in item]
        lacks += [] if item.get("StudyInstanceUID") else ["ReferencedRequestSequence.StudyInstanceUID"]
    for item in found.get("InputInformationSequence", ()):
        lacks += [f"InputInformationSequence.{keyword}" for keyword in OF_INPUT.split() if not item.get(keyword)]
    return lacks
