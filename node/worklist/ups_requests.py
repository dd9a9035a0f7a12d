"""What may be written into a workitem: at its creation, by N-SET, and before it may end (PS3.4 CC.2.5, CC.2.6)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from node.dicom.json_model import CHARACTER_SET, Plain
from node.dicom.uids import is_well_formed
from node.worklist import ups_moments
from node.worklist.ups_attributes import (
    ATTRIBUTES,
    CANCELLED_AT,
    CODE_MEANING,
    CODE_SCHEME,
    CODE_VALUE,
    DATE_TIMES,
    DISCONTINUED,
    HUMANS,
    MODIFIED,
    OF_REQUEST,
    OUTPUT,
    PERFORMED,
    PRIORITIES,
    PRIORITY,
    PROGRESS,
    READINESS,
    READINESSES,
    REQUEST,
    SOP_CLASS,
    SOP_INSTANCE,
    STATE,
    STATION_NAME,
    STUDY,
    TRANSACTION,
    WHEN_COMPLETED,
    WORKLIST,
)
from node.worklist.ups_status import PUSH, Refusal, State, Status

EVENT_STATE, EVENT_CANCEL, EVENT_PROGRESS, EVENT_SCP, EVENT_ASSIGNED = 1, 2, 3, 4, 5  # table CC.2.4-1
# (110513, DCM, "Discontinued for unspecified reason"), CID 9300
_UNSPECIFIED: Final = ("110513", "DCM", "Discontinued for unspecified reason")
_REQUEST_VR: Final = dict.fromkeys(OF_REQUEST, "SQ") | {OF_REQUEST[0]: "SH", OF_REQUEST[4]: "SH", OF_REQUEST[5]: "LO"}
_CODE_FORMS: Final = (CODE_VALUE, "00080119", "00080120")  # or Long Code Value, or URN Code Value
_UID_ROOTS: Final = (STUDY,)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A data set as it is kept.

    changed: a value is not as it was sent; that an attribute was added without one is no change
    dropped: something of it is not kept
    """

    attributes: Plain
    changed: bool
    dropped: bool = False


def one(tag: str, attributes: Mapping[str, Any]) -> str:
    """The only value of an attribute as text; empty if there is none."""
    values = attributes.get(tag, {}).get("Value", ())
    return str(values[0]) if values and values[0] is not None else ""


def values(vr: str, *found: Any) -> dict[str, Any]:
    """An entry of the model."""
    return {"vr": vr, "Value": list(found)} if found else {"vr": vr}


def code(value: str, scheme: str, meaning: str) -> Plain:
    """An item of a code sequence (PS3.3 8.8)."""
    return {CODE_VALUE: values("SH", value), CODE_SCHEME: values("SH", scheme), CODE_MEANING: values("LO", meaning)}


def created(sent: Plain, *, uid: str, label: str, at: float, dropped: bool = False) -> Written:
    """What a new workitem holds: every attribute of table CC.2.5-3 of types 1 and 2.

    sent:    of the N-CREATE
    label:   Worklist Label (0074,1202) where it has none
    at:      seconds since the epoch
    dropped: something that was sent is not among `sent`
    raises:  Refusal
    """
    if one(STATE, sent) != State.SCHEDULED:
        raise Refusal(Status.NOT_SCHEDULED, "Procedure Step State is not SCHEDULED")
    kept = {tag: entry for tag, entry in sent.items() if tag in ATTRIBUTES or tag == CHARACTER_SET}
    kept.pop(MODIFIED, None)
    for tag in (SOP_CLASS, SOP_INSTANCE):
        if one(tag, sent) not in ("", PUSH, uid):
            raise Refusal(Status.INVALID_VALUE, "SOP Class or Instance UID is another than the command's")
    given = {tag for tag in sent if tag not in (SOP_CLASS, SOP_INSTANCE, MODIFIED)}
    changed = dropped or len(kept) < len(given)
    for tag, row in ATTRIBUTES.items():
        if row.create == "1":
            if tag not in kept:
                raise Refusal(Status.MISSING_ATTRIBUTE, f"{row.keyword} is missing")
            if not has_value(kept[tag]):
                raise Refusal(Status.MISSING_VALUE, f"{row.keyword} has no value")
        elif row.create == "E":
            changed |= tag in kept and has_value(kept[tag])
            kept[tag] = values(row.vr)
        elif row.create == "2" and tag not in kept:
            kept[tag] = values(row.vr)
    require_valid(kept)
    if not has_value(kept[WORKLIST]):
        kept[WORKLIST], changed = values("LO", label), True
    changed |= _complete_requests(kept)
    kept |= {
        SOP_CLASS: values("UI", PUSH),
        SOP_INSTANCE: values("UI", uid),
        MODIFIED: values("DT", ups_moments.text(at)),
    }
    return Written(attributes=kept, changed=changed)


def _complete_requests(kept: Plain) -> bool:
    changed = False
    for item in kept[REQUEST].get("Value", ()):
        if not one(STUDY, item):
            if not one(STUDY, kept):
                raise Refusal(Status.MISSING_ATTRIBUTE, "A referenced request has no Study Instance UID")
            item[STUDY], changed = kept[STUDY], True
        for tag in OF_REQUEST:
            item.setdefault(tag, values(_REQUEST_VR[tag]))
    return changed


def changed(
    known: Plain, sent: Plain, *, at: float, never_low: bool, dropped: bool = False
) -> tuple[Written, set[int]]:
    """What a workitem holds after an N-SET, and the types of the events that this makes.

    never_low: a priority LOW becomes MEDIUM
    raises:    Refusal; then nothing of it is done
    """
    asked = {tag: entry for tag, entry in sent.items() if tag != TRANSACTION}
    if STATE in asked and asked[STATE] != known[STATE]:
        status = Status.NEVER_SCHEDULED if one(STATE, asked) == State.SCHEDULED else Status.INVALID_VALUE
        raise Refusal(status, "The state is changed by N-ACTION")
    new: Plain = {}
    dropped_here = dropped
    for tag, entry in asked.items():
        if tag == CHARACTER_SET or entry == known.get(tag):
            continue
        row = ATTRIBUTES.get(tag)
        if row is None and tag not in (SOP_CLASS, SOP_INSTANCE):
            dropped_here = True
            continue
        if row is None or row.set == "-":
            raise Refusal(Status.INVALID_VALUE, f"{'A UID' if row is None else row.keyword} may not be set")
        if row.set == "1" and not has_value(entry):
            raise Refusal(Status.MISSING_VALUE, f"{row.keyword} has no value")
        new[tag] = entry
    require_valid(new)
    coerced = never_low and one(PRIORITY, new) == "LOW"
    if coerced:
        new[PRIORITY] = values("CS", "MEDIUM")
    events = {
        event
        for event, tags in (
            (EVENT_STATE, (READINESS,)),
            (EVENT_PROGRESS, (PROGRESS,)),
            (EVENT_ASSIGNED, (STATION_NAME, HUMANS)),
        )
        if any(tag in new for tag in tags)
    }
    merged = known | new
    if new:
        merged[MODIFIED] = values("DT", ups_moments.text(at))
        merged = _in_one_set(merged, known, sent)
    return Written(attributes=merged, changed=coerced, dropped=dropped_here), events


def _in_one_set(merged: Plain, known: Plain, sent: Plain) -> Plain:
    """Name the set of what came last where the workitem had none; who encodes it sees whether it has all characters."""
    if CHARACTER_SET in sent and CHARACTER_SET not in known:
        return merged | {CHARACTER_SET: sent[CHARACTER_SET]}
    return merged


def require_valid(attributes: Plain) -> None:
    """Values that everybody depends on. Raises Refusal."""
    for tag, allowed in ((PRIORITY, PRIORITIES), (READINESS, READINESSES)):
        if tag in attributes and one(tag, attributes) not in allowed:
            raise Refusal(Status.INVALID_VALUE, f"{ATTRIBUTES[tag].keyword} is none of its values")
    for tag, entry in attributes.items():
        row = ATTRIBUTES.get(tag)
        if row is not None and entry["vr"] != row.vr:
            raise Refusal(Status.INVALID_VALUE, f"{row.keyword} is not of VR {row.vr}")
        if tag in DATE_TIMES and has_value(entry):
            _require_moment(tag, one(tag, attributes))
        if entry["vr"] == "SQ":
            _require_codes(entry, ATTRIBUTES[tag].keyword if tag in ATTRIBUTES else tag)
    if not all(is_well_formed(one(tag, attributes) or "1.2") for tag in _UID_ROOTS):
        raise Refusal(Status.INVALID_VALUE, "Study Instance UID is no UID")


def _require_moment(tag: str, value: str) -> None:
    try:
        ups_moments.interval(value)
    except (ValueError, OverflowError) as error:
        raise Refusal(Status.INVALID_VALUE, f"{ATTRIBUTES[tag].keyword} is no date and time") from error


def _require_codes(entry: Mapping[str, Any], keyword: str) -> None:
    """Items of code sequences have a code and its meaning (PS3.3 8.8)."""
    for item in entry.get("Value", ()) if keyword.endswith("CodeSequence") else ():
        if not any(one(form, item) for form in _CODE_FORMS) or not one(CODE_MEANING, item):
            raise Refusal(Status.MISSING_ATTRIBUTE, f"{keyword} has an item without code or meaning"[:64])


def may_complete(attributes: Plain) -> bool:
    """Whether the requirements of the final state COMPLETED are met (table CC.2.5-3, codes R and P)."""
    performed = attributes.get(PERFORMED, {}).get("Value", ())
    return bool(performed) and all(
        all(tag in item and has_value(item[tag]) for tag in WHEN_COMPLETED) and OUTPUT in item for item in performed
    )


def cancelled(attributes: Plain, *, at: float, reason: Plain | None = None) -> Plain:
    """The progress that a workitem needs to be CANCELED: when and why, filled in where nobody said (code X).

    reason: of a request to cancel: Reason For Cancellation, Discontinuation Reason, contact
    """
    items = attributes.get(PROGRESS, {}).get("Value", ())
    item: Plain = {**(items[0] if items else {}), **(reason or {})}
    if not one(CANCELLED_AT, item):
        item[CANCELLED_AT] = values("DT", ups_moments.text(at))
    if not has_value(item.get(DISCONTINUED, {"vr": "SQ"})):
        item[DISCONTINUED] = values("SQ", code(*_UNSPECIFIED))
    return attributes | {PROGRESS: values("SQ", item, *items[1:]), MODIFIED: values("DT", ups_moments.text(at))}


def has_value(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the model has any value; a sequence, whether it has any item."""
    return any(value not in (None, "") for value in _of(entry))


def _of(entry: Mapping[str, Any]) -> Iterable[Any]:
    found: Iterable[Any] = entry.get("Value", ())
    return found
