"""Assemble: instances of a series become a frozen, complete set. By evidence; a quiet timer is the last resort.

Evidence, best first (DESIGN decision 8):

1. the archive says how many instances the series has, and all of them are here;
2. every association that brought slices was released, the sender has none open, and the slices are contiguous;
3. nothing came for `quiet_s`.

An association that was aborted, or whose receiver died, says that slices are missing, not that the series is complete:
only a later association of the same sender that was released mends that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import OperationalError

from node.dicom.geometry import stack
from node.errors import Retry
from node.log import log
from node.records import instances, sets
from node.records.database import Records
from node.records.instances import Instance
from node.records.sets import OpenSeries
from node.records.states import Ending
from node.settings import Assemble

_FEWEST_FOR_SPACING = 3  # two gaps are the fewest that can be called even


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Not complete yet, and for what the node waits."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Complete, and how the node knows."""

    evidence: str


def released_and_settled(
    series: OpenSeries, associations: Sequence[dict[str, Any]], *, open_from_sender: int, now: float, settle_s: float
) -> Waiting | None:
    """What still speaks against the sender being done; None if nothing does.

    associations:      those that brought slices of the series: opened_at, closed_at, ending
    open_from_sender:  associations of the same AE titles that are open now, whatever they carry
    """
    if open_from_sender:
        return Waiting(reason=f"{open_from_sender} association(s) of the sender are open")
    if not associations:
        return Waiting(reason="the association that brought it was not recorded")
    mended = [a["opened_at"] for a in associations if a["ending"] == Ending.RELEASED]
    broken = [a for a in associations if a["ending"] != Ending.RELEASED]
    if any(all(opened <= a["opened_at"] for opened in mended) for a in broken):
        return Waiting(reason="an association broke off and no later one was released")
    # One association per image is a habit of some senders: wait a few of their pauses, not only `settle_s`.
    ordered = sorted(associations, key=lambda a: float(a["opened_at"]))
    pause_s, latest = 0.0, ordered[0]["closed_at"]
    for association in ordered[1:]:
        pause_s = max(pause_s, association["opened_at"] - latest)
        latest = max(latest, association["closed_at"])
    wanted_s = max(settle_s, 3 * pause_s)
    if now - max(latest, series.last_at) < wanted_s:
        return Waiting(reason=f"the sender released {now - latest:.1f} s ago; {wanted_s:.1f} s are wanted")
    return None


def contiguous(members: Sequence[Instance]) -> Complete | Waiting:
    """Whether the slices themselves say that none is missing."""
    if len(members) < _FEWEST_FOR_SPACING:
        return Waiting(reason=f"{len(members)} slice(s) cannot show that none is missing")
    found = stack([member.header for member in members])
    if found.problem is not None:
        return Waiting(reason=f"the slices do not show that none is missing: {found.problem}")
    return Complete(evidence=f"associations released, {len(members)} slices every {found.gap_mm or 0:.3f} mm")


class Assembler:
    """Looks at the open series and freezes those that are complete.

    ask:    Number of Series Related Instances at the archive for a Series Instance UID; None if it does not know.
            Raises Retry if it cannot be reached: the other evidence decides then.
    """

    def __init__(
        self,
        records: Records,
        settings: Assemble,
        *,
        clock: Callable[[], float],
        ask: Callable[[str, str], int | None] | None = None,
    ) -> None:
        self._records, self._settings, self._clock, self._ask = records, settings, clock, ask
        self._broken: dict[str, int] = {}  # series -> how many instances it had when looking at it broke
        self._waiting: dict[str, tuple[int, Waiting]] = {}  # series -> (instances then, what its slices lacked)

    def waiting(self) -> dict[str, str]:
        """Series that the slices themselves call incomplete, and why."""
        return {uid: waiting.reason for uid, (_, waiting) in self._waiting.items()}

    def freeze_complete(self, *, everything_is_here: bool = False) -> list[str]:
        """Freeze what is complete; returns the new sets.

        everything_is_here: the caller knows that no more will come
        """
        with self._records.read() as connection:
            series_list = sets.open_series(connection)
        frozen = []
        for series in series_list:
            if self._broken.get(series.series_uid) == series.instances:
                continue
            try:
                set_id = self._freeze_if_complete(series, everything_is_here=everything_is_here)
            except OperationalError:
                raise  # the records are locked or their disk is full: no fault of this series
            except Exception:  # noqa: BLE001  one series that breaks this must not keep all others waiting
                log.exception("a series could not be looked at; it waits for another slice or another start")
                self._broken[series.series_uid] = series.instances
                continue
            if set_id is not None:
                frozen.append(set_id)
        return frozen

    def _freeze_if_complete(self, series: OpenSeries, *, everything_is_here: bool) -> str | None:
        verdict = Complete(evidence="all files of the folder") if everything_is_here else self._look_at(series)
        if isinstance(verdict, Waiting):
            return None
        set_id = self._freeze(series, verdict)
        if set_id is not None:
            self._waiting.pop(series.series_uid, None)
        return set_id

    def _look_at(self, series: OpenSeries) -> Complete | Waiting:
        now = self._clock()
        # A clock that was set back must not stop the timer: what came in the future counts as quiet.
        if not 0 <= now - series.last_at < self._settings.quiet_s:
            return Complete(evidence=f"nothing came for {self._settings.quiet_s:g} s")
        with self._records.read() as connection:
            keys = instances.association_keys(connection, series.series_uid)
            associations = instances.associations(connection, keys)
            senders = sorted({a["calling_ae"] for a in associations})
            open_now = instances.open_from(connection, senders)
        waiting = released_and_settled(
            series, associations, open_from_sender=open_now, now=now, settle_s=self._settings.settle_s
        )
        if waiting is not None:
            return waiting
        known = self._waiting.get(series.series_uid)
        if known is not None and known[0] == series.instances:
            return known[1]
        verdict = self._ask_archive(series) or contiguous(self._members(series))
        if isinstance(verdict, Waiting):
            self._waiting[series.series_uid] = (series.instances, verdict)
        return verdict

    def _ask_archive(self, series: OpenSeries) -> Complete | Waiting | None:
        if self._ask is None:
            return None
        members = self._members(series)
        try:
            count = self._ask(members[0].study_uid, series.series_uid)
        except Retry as error:
            log.warning("archive not asked", why=error.message)
            return None
        if count is None or count < len(members):
            return None  # it is still receiving itself
        if count == len(members):
            return Complete(evidence=f"the archive has {count} instances of the series, {len(members)} are here")
        return Waiting(reason=f"the archive has {count} instances of the series, {len(members)} are here")

    def _members(self, series: OpenSeries) -> list[Instance]:
        with self._records.read() as connection:
            return [member for _, member in instances.of_series(connection, series.series_uid)]

    def _freeze(self, series: OpenSeries, complete: Complete) -> str | None:
        with self._records.write() as connection:
            members = instances.of_series(connection, series.series_uid)
            return sets.freeze(connection, members, evidence=complete.evidence, at=self._clock())
