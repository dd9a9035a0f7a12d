"""Whether a series is complete: functions of what is known of it, for the stage `assemble` and `imaging-node show`.

Evidence, best first (DESIGN decision 8):

1. a peer that is believed named the instances (MPPS, Instance Availability, an archive's event), and all are here;
2. the archive says how many instances the series has, and all of them are here;
3. every association that brought slices was released, the sender has none open, and the slices are contiguous;
4. nothing came for a while.

An association that was aborted, or whose receiver died, says that slices are missing, not that the series is complete:
only a later association of the same sender that was released mends that.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from node.dicom import codes, stacks
from node.dicom.geometry import stack
from node.dicom.scan import Header
from node.records import evidence
from node.records.evidence import Claim, Evidence
from node.records.open_series import OpenSeries
from node.records.states import Ending

_FEWEST_FOR_SPACING = 3  # two gaps are the fewest that can be called even


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Not complete yet, and for what the node waits. `until`: seconds since the epoch, where time alone will end it."""

    reason: str
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Complete, and how the node knows. `at_once`: nothing more can be expected, however soon the last slice came."""

    evidence: str
    at_once: bool = False


def by_word(said: Sequence[Evidence], here: Collection[str] | int) -> Complete | Waiting | None:
    """What peers say of a series; None if they leave it to the slices.

    here: SOP Instance UIDs that were received, or, to find out whether they are needed, only their number: then
          Waiting is certain, and None means that the UIDs have to be compared
    """
    over = [one for one in said if one.claim is Claim.COMPLETED]
    names, number = evidence.named(over), max((one.instances or 0 for one in over), default=0)
    count = here if isinstance(here, int) else len(here)
    sources = ", ".join(sorted({one.source.value for one in over}))
    if count < number or count < len(names):
        return Waiting(reason=f"{sources} names {max(number, len(names))} instances, {count} are here")
    if not over or isinstance(here, int):
        return None
    if missing := len(names - set(here)):
        return Waiting(reason=f"{sources} names {len(names)} instances, {missing} of them are not here")
    if count == max(number, len(names)):
        return Complete(evidence=f"{sources} names {count} instances, all are here", at_once=True)
    return None  # more is here than was named: an older word, or another step of the same series


def unfinished(said: Sequence[Evidence]) -> Waiting | None:
    """Only silence completes a series whose procedure step goes on, or ended before its time."""
    last = {one.key: one.claim for one in said}  # oldest first: the newest word of each step stands
    if Claim.DISCONTINUED in last.values():
        return Waiting(reason="the procedure step was discontinued")
    if Claim.IN_PROGRESS in last.values():
        return Waiting(reason="the procedure step is in progress")
    return None


def not_released(associations: Sequence[dict[str, Any]], *, open_from_sender: int) -> Waiting | None:
    """What speaks against the sender being done; None if nothing does.

    associations:      those that brought slices of the series: opened_at, closed_at, ending
    open_from_sender:  associations of the same AE titles that are open now, whatever they carry
    """
    if open_from_sender:
        return Waiting(reason=f"{open_from_sender} association(s) of the sender are open")
    if any(a["closed_at"] is None for a in associations):
        return Waiting(reason="the association that brings it is open")
    if not associations:
        return Waiting(reason="the association that brought it was not recorded")
    mended = [a["opened_at"] for a in associations if a["ending"] == Ending.RELEASED]
    broken = [a for a in associations if a["ending"] != Ending.RELEASED]
    if any(all(opened <= a["opened_at"] for opened in mended) for a in broken):
        return Waiting(reason="an association broke off and no later one was released")
    return None


def not_settled(
    series: OpenSeries, associations: Sequence[dict[str, Any]], *, now: float, settle_s: float
) -> Waiting | None:
    """Whether a sender that released has been away long enough; None if it has."""
    # One association per image is a habit of some senders: wait a few of their pauses, not only `settle_s`.
    ordered = sorted(associations, key=lambda a: float(a["opened_at"]))
    pause_s, latest = 0.0, float(ordered[0]["closed_at"])
    for association in ordered[1:]:
        pause_s = max(pause_s, association["opened_at"] - latest)
        latest = max(latest, association["closed_at"])
    wanted_s = max(settle_s, 3 * pause_s)
    until = max(latest, series.last_at) + wanted_s
    if now < until:
        return Waiting(reason=f"the sender released {now - latest:.1f} s ago; {wanted_s:.1f} s are wanted", until=until)
    return None


def contiguous(headers: Sequence[Header]) -> Complete | Waiting:
    """Whether the slices themselves say that none is missing."""
    classes = {value for header in headers for value in header.get("SOPClassUID", ())}
    if classes and classes <= codes.MULTI_FRAME.keys():
        return whole_objects(headers)
    if len(headers) < _FEWEST_FOR_SPACING:
        return Waiting(reason=f"{len(headers)} slice(s) cannot show that none is missing")
    found = stack(headers)
    if found.problem is not None:
        parts = stacks.split([[header] for header in headers])
        if len(parts) > 1 and _are_alike(parts):
            return Complete(
                evidence=f"associations released, {len(parts)} stacks of {len(parts[0].slices)} even slices each"
            )
        return Waiting(reason=f"the slices do not show that none is missing: {found.problem}")
    return Complete(
        evidence=f"associations released, {len(headers)} slices every {found.gap_mm or 0:.3f} mm",
        at_once=counts_its_images(headers),
    )


def _are_alike(parts: Sequence[stacks.Part]) -> bool:
    """Whether the phases of a set have as many slices each, and none has a gap."""
    return len({len(part.slices) for part in parts}) == 1 and all(
        stack([one.header for one in part.slices]).problem is None for part in parts
    )


def counts_its_images(headers: Sequence[Header]) -> bool:
    """Whether Images in Acquisition (0020,1002) says that these are all: one acquisition, one number, as many."""
    acquisitions = {header.get("AcquisitionNumber", ()) for header in headers}
    stated = {header.get("ImagesInAcquisition", ()) for header in headers}
    return len(acquisitions) == 1 and stated == {(str(len(headers)),)}


def whole_objects(headers: Sequence[Header]) -> Complete | Waiting:
    """The same for Enhanced objects: each is whole by itself, unless it is part of a concatenation (C.7.6.16.2.2.4)."""
    parts: Counter[str] = Counter()
    totals: dict[str, int] = {}
    frames = 0
    for header in headers:
        number = _number(header, "NumberOfFrames")
        if number < 1:
            return Waiting(reason="a multi-frame object does not say how many frames it has")
        frames += number
        for uid in header.get("ConcatenationUID", ()):
            parts[uid] += 1
            totals[uid] = max(totals.get(uid, 0), _number(header, "InConcatenationTotalNumber"))
    for uid, count in parts.items():
        if totals[uid] == 0:  # Type 3: a sender need not say it
            return Waiting(reason=f"{count} part(s) of a concatenation are here, which does not say how many it has")
        if count < totals[uid]:
            return Waiting(reason=f"{count} of {totals[uid]} parts of a concatenation are here")
    return Complete(evidence=f"associations released, {len(headers)} object(s) with {frames} frames")


def _number(header: Header, keyword: str) -> int:
    text = "".join(header.get(keyword, ()))
    return int(text) if text.isascii() and text.isdigit() else 0
