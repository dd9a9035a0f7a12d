"""The node's own workitems: one for each study that is triaged (DICOM_SPEC 3.4). Plain values in, plain values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.dicom.json_model import CHARACTER_SET, Plain, key
from node.dicom.uids import duid
from node.worklist import ups_moments, ups_requests
from node.worklist.ups_attributes import (
    COMMENTS,
    INPUT,
    LABEL,
    MODIFIED,
    OF_REQUEST,
    PERFORMED,
    PRIORITY,
    PROGRESS,
    READINESS,
    REQUEST,
    SOP_CLASS,
    SOP_INSTANCE,
    START,
    STATE,
    STUDY,
    WORKITEM_CODE,
    WORKLIST,
)
from node.worklist.ups_requests import code, one, values
from node.worklist.ups_status import State
from pipelines.triage import Flag

HIGH, MEDIUM = "HIGH", "MEDIUM"  # never LOW: a study that the network missed is not pushed down (DICOM_SPEC 3.4)
_INTERPRETATION: Final = ("110005", "DCM", "Interpretation")
_LABELS: Final = {
    Flag.RAISED: "CT head - AI flag raised",
    Flag.NOT_RAISED: "CT head - AI flag not raised",
    Flag.NOT_ANALYSABLE: "CT head - AI triage not possible",
}
AWAITED: Final = "CT head - AI triage awaited"
WITHDRAWN: Final = "CT head - AI result withdrawn"
_OWN_LABELS: Final = frozenset((*_LABELS.values(), AWAITED, WITHDRAWN))
_NOTE: Final = "AI triage, not a diagnosis."
_MOST_NOTE: Final = 1024
_SERIES: Final = key("SeriesInstanceUID")
_TYPE: Final = key("TypeOfInstances")
_INSTANCES: Final = key("ReferencedSOPSequence")
_CLASS: Final = key("ReferencedSOPClassUID")
_INSTANCE: Final = key("ReferencedSOPInstanceUID")
_RETRIEVAL: Final = key("DICOMRetrievalSequence")
_RETRIEVE_AE: Final = key("RetrieveAETitle")


@dataclass(frozen=True, kw_only=True)
class Input:
    """A series that is to be read. instances: (SOP Class UID, SOP Instance UID); retrieve_ae: where it is to be had"""

    study_uid: str
    series_uid: str
    instances: Sequence[tuple[str, str]]
    retrieve_ae: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the verdicts on a study make of its workitem.

    credit_s: by how much it stands ahead of its arrival
    first:    on top of the list, since nothing is known of it
    job_id:   of the verdict that decides
    """

    priority: str
    label: str
    comments: str
    credit_s: float
    first: bool
    job_id: str | None


def own_uid(study_uid: str, job_id: str = "") -> str:
    """SOP Instance UID of the node's workitem for a study; of a further one, which a verdict asked for by its job."""
    return duid("workitem", study_uid, job_id)


def standing(verdicts: Sequence[Mapping[str, Any]]) -> Standing:
    """Of all verdicts on a study that hold: raised, if any is; else analysed, if any is; else on top.

    verdicts: rows of the table of verdicts
    """
    held = [row for row in verdicts if row["withdrawn_at"] is None]
    for flag in Flag:  # in this order
        some = [row for row in held if row["flag"] == flag.value]
        if not some:
            continue
        best = max(some, key=lambda row: (row["credit_s"], -row["decided_at"]))
        reasons = best["reasons"] if flag is Flag.NOT_ANALYSABLE else ()
        return Standing(
            priority=HIGH if flag is Flag.RAISED else MEDIUM,
            label=_LABELS[flag],
            comments=" ".join((_NOTE, *reasons))[:_MOST_NOTE],
            credit_s=max(row["credit_s"] for row in held) if flag is not Flag.NOT_ANALYSABLE else 0.0,
            first=flag is Flag.NOT_ANALYSABLE,
            job_id=best["job_id"],
        )
    label = WITHDRAWN if verdicts else AWAITED
    return Standing(priority=MEDIUM, label=label, comments=_NOTE, credit_s=0.0, first=False, job_id=None)


def attributes(
    facts: Mapping[str, Any], *, uid: str, input_: Input, now: Standing, worklist: str, queued_at: float, at: float
) -> Plain:
    """A new workitem of the node.

    facts:     of `node.dicom.workitems.study`; empty if nobody could read them
    worklist:  Worklist Label (0074,1202)
    queued_at: when the study came, seconds since the epoch
    """
    request = {**facts.get("order", {}), STUDY: values("UI", input_.study_uid)}
    sent: Plain = {
        **facts.get("patient", {}),
        STATE: values("CS", State.SCHEDULED.value),
        START: values("DT", ups_moments.text(queued_at)),
        READINESS: values("CS", "READY"),
        WORKLIST: values("LO", worklist),
        WORKITEM_CODE: values("SQ", code(*_INTERPRETATION)),
        STUDY: values("UI", input_.study_uid),
        REQUEST: values("SQ", request),
        INPUT: values("SQ", _input(input_)),
        **_said(now),
    }
    if terms := facts.get("character_set"):
        sent[CHARACTER_SET] = values("CS", *terms)
    return ups_requests.created(sent, uid=uid, label=worklist, at=at).attributes


def with_input(known: Plain, input_: Input) -> Plain:
    """The workitem with one more series to read, or with what has come of a series since."""
    others = [item for item in known[INPUT].get("Value", ()) if one(_SERIES, item) != input_.series_uid]
    return known | {INPUT: values("SQ", *others, _input(input_))}


def has_input(known: Plain, input_: Input) -> bool:
    """Whether exactly these images of the series are to be read already."""
    for item in known[INPUT].get("Value", ()):
        if one(_SERIES, item) == input_.series_uid:
            return {one(_INSTANCE, each) for each in item[_INSTANCES].get("Value", ())} == {
                uid for _, uid in input_.instances
            }
    return False


def told(known: Plain, now: Standing, *, at: float) -> Plain:
    """The workitem after a verdict. What a peer wrote into it stays: a label of its own, a priority above ours."""
    said = _said(now)
    if one(LABEL, known) not in _OWN_LABELS:
        del said[LABEL]
    raised_by_peer = one(PRIORITY, known) == HIGH and one(LABEL, known) != _LABELS[Flag.RAISED]
    if raised_by_peer:
        del said[PRIORITY]
    if all(known.get(tag) == entry for tag, entry in said.items()):
        return known
    return known | said | {MODIFIED: values("DT", ups_moments.text(at))}


def again(known: Plain, *, uid: str, input_: Input, now: Standing, queued_at: float, at: float) -> Plain:
    """A further workitem for a study whose earlier one has ended: the same patient and order, nothing performed."""
    sent = {tag: entry for tag, entry in known.items() if tag not in (PROGRESS, PERFORMED, SOP_CLASS, SOP_INSTANCE)}
    sent |= {
        STATE: values("CS", State.SCHEDULED.value),
        START: values("DT", ups_moments.text(queued_at)),
        INPUT: values("SQ", _input(input_)),
        **_said(now),
    }
    return ups_requests.created(sent, uid=uid, label=one(WORKLIST, known), at=at).attributes


def anew(known: Plain, *, uid: str, at: float) -> Plain:
    """The same once more, for a study that nobody has read though it was claimed: nothing performed."""
    sent = {tag: entry for tag, entry in known.items() if tag not in (PROGRESS, PERFORMED, SOP_CLASS, SOP_INSTANCE)}
    sent[STATE] = values("CS", State.SCHEDULED.value)
    return ups_requests.created(sent, uid=uid, label=one(WORKLIST, known), at=at).attributes


def retrieve_ae(known: Plain) -> str:
    """Where the images of a workitem are to be had; empty if it does not say."""
    for item in known[INPUT].get("Value", ()):
        for way in item.get(_RETRIEVAL, {}).get("Value", ()):
            return one(_RETRIEVE_AE, way)
    return ""


def accession(known: Plain) -> str:
    """Accession Number (0008,0050) of the first request; empty if there is none."""
    requests = known.get(REQUEST, {}).get("Value", ())
    return one(OF_REQUEST[0], requests[0]) if requests else ""


def _said(now: Standing) -> Plain:
    return {
        PRIORITY: values("CS", now.priority),
        LABEL: values("LO", now.label),
        COMMENTS: values("LT", now.comments),
    }


def _input(input_: Input) -> Plain:
    """An item of Input Information (0040,4021), PS3.3 10.26 (Referenced Instances and Access)."""
    item = {
        _TYPE: values("CS", "DICOM"),
        STUDY: values("UI", input_.study_uid),
        _SERIES: values("UI", input_.series_uid),
        _INSTANCES: values(
            "SQ",
            *({_CLASS: values("UI", uid), _INSTANCE: values("UI", instance)} for uid, instance in input_.instances),
        ),
    }
    if input_.retrieve_ae:
        item[_RETRIEVAL] = values("SQ", {_RETRIEVE_AE: values("AE", input_.retrieve_ae)})
    return item
