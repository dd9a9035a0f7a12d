"""Assemble: instances of a series become a frozen, complete set. By evidence; a quiet timer is the last resort.

What counts as evidence, and in which order, stands in `node/completeness.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import OperationalError

from node import completeness
from node.completeness import Complete, Waiting
from node.errors import Retry
from node.log import log
from node.metrics import METRICS
from node.records import evidence, instances, open_series, restored, sets
from node.records.database import Records
from node.records.evidence import Evidence
from node.records.instances import Instance
from node.records.open_series import OpenSeries
from node.settings import Assemble


@dataclass(kw_only=True)
class _Known:
    """What was read of a series already; most of it never changes.

    instances:    how many the series had when `by_slices` was found out
    row:          the newest instance whose association is known
    associations: those that brought instances; None where one of them may have ended since
    words:        how often peers spoke of it and when last, as `said` was read
    compared:     (instances, words) for which `by_word` had the UIDs compared
    """

    instances: int = 0
    by_slices: Complete | Waiting | None = None
    by_archive: Complete | Waiting | None = None
    asked: bool = False
    row: int = 0
    keys: set[str] = field(default_factory=set)
    associations: list[dict[str, Any]] | None = None
    words: tuple[int, float] = (0, 0.0)
    said: Sequence[Evidence] = ()
    compared: tuple[int, tuple[int, float]] | None = None
    by_word: Complete | Waiting | None = None


class Assembler:
    """Looks at the open series and freezes those that are complete.

    ask:    Number of Series Related Instances at the archive for a Series Instance UID; None if it does not know.
            Raises Retry if it cannot be reached: the other evidence decides then.
    mine:   which of the open series are this one's to look at
    urgent: whether a complete set overtakes the others
    """

    def __init__(
        self,
        records: Records,
        settings: Assemble,
        *,
        clock: Callable[[], float],
        ask: Callable[[str, str], int | None] | None = None,
        mine: Callable[[OpenSeries], bool] = lambda series: True,
        urgent: Callable[[Sequence[Instance]], bool] = lambda members: False,
    ) -> None:
        self._records, self._settings, self._clock, self._ask = records, settings, clock, ask
        self._mine, self._urgent = mine, urgent
        self._broken: dict[str, int] = {}  # series -> how many instances it had when looking at it broke
        self._known: dict[str, _Known] = {}
        self._cut_off: dict[str, float] = {}  # series that a restore found half received -> until when they wait

    def freeze_complete(self, *, everything_is_here: bool = False) -> list[str]:
        """Freeze what is complete; returns the new sets.

        everything_is_here: the caller knows that no more will come
        """
        with self._records.read() as connection:
            every = open_series.every(connection)
        waiting = [series for series in every if self._mine(series)]
        with self._records.read() as connection:
            words = open_series.spoken_of(connection) if waiting else {}
            self._cut_off = restored.cut_off(connection) if waiting else {}
            senders = open_series.open_senders(connection) if waiting else {}
        self._known = {uid: self._known[uid] for one in waiting if (uid := one.series_uid) in self._known}
        frozen = []
        for series in waiting:
            uid = series.series_uid
            if self._broken.get(uid) == series.instances:
                continue
            try:
                if everything_is_here:
                    verdict: Complete | Waiting = Complete(evidence="all files of the folder")
                else:
                    verdict = self._look_at(series, words.get(uid, (0, 0.0)), senders)
                set_id = self._freeze(series, verdict) if isinstance(verdict, Complete) else None
            except OperationalError:
                raise  # the records are locked or their disk is full: no fault of this series
            except Exception:  # noqa: BLE001  one series that breaks this must not keep all others waiting
                log.exception("a series could not be looked at; it waits for another slice or another start")
                self._broken[uid] = series.instances
                continue
            if set_id is not None:
                frozen.append(set_id)
        return frozen

    def look(self, series_uid: str) -> Complete | Waiting | None:
        """What would be found out about a series now; None if nothing of it waits."""
        with self._records.read() as connection:
            series = open_series.of_uid(connection, series_uid)
            if series is None:
                return None
            words, senders = open_series.spoken_of(connection), open_series.open_senders(connection)
            self._cut_off = restored.cut_off(connection)
        return self._look_at(series, words.get(series_uid, (0, 0.0)), senders)

    def _look_at(self, series: OpenSeries, words: tuple[int, float], senders: dict[str, int]) -> Complete | Waiting:
        now, settings = self._clock(), self._settings
        known = self._known.setdefault(series.series_uid, _Known())
        word = self._by_word(series, known, words)
        if isinstance(word, Complete):
            return word
        # A clock that was set back must not stop a timer: what came in the future counts as long ago.
        named_until = max(series.last_at, words[1]) + settings.named_wait_s
        if word is not None and now - series.last_at >= 0 and now < named_until:
            return Waiting(reason=word.reason, until=named_until)
        if now < self._cut_off.get(series.series_uid, 0.0) and (cut := self._by_its_sender(series, known)) is not None:
            return cut
        unfinished = completeness.unfinished(known.said)
        if not 0 <= now - series.last_at < settings.quiet_s:
            but = [one.reason for one in (word, unfinished) if one is not None]
            return Complete(evidence="; but ".join([f"nothing came for {settings.quiet_s:g} s", *but]))
        found = word or unfinished or self._by_senders_and_slices(series, known, senders, now)
        if isinstance(found, Waiting) and found.until is None:
            return Waiting(reason=found.reason, until=series.last_at + settings.quiet_s)
        return found

    def _by_word(self, series: OpenSeries, known: _Known, words: tuple[int, float]) -> Complete | Waiting | None:
        if not words[0]:
            return None
        if known.words != words:
            with self._records.read() as connection:
                known.said = evidence.of_series(connection, series.series_uid)
            known.words = words
        if known.compared != (series.instances, words):
            known.by_word = completeness.by_word(known.said, series.instances)
            if known.by_word is None:
                with self._records.read() as connection:
                    here = open_series.uids(connection, series.series_uid)
                known.by_word = completeness.by_word(known.said, here)
            known.compared = (series.instances, words)
        return known.by_word

    def _by_its_sender(self, series: OpenSeries, known: _Known) -> Complete | Waiting | None:
        """What is known of a series that was coming in when a backup was taken; None once its sender came again.

        Its sender has an answer to each slice and need not come again by itself: silence says nothing.
        """
        self._read_associations(series, known)
        if completeness.not_released(known.associations or [], open_from_sender=0) is None:
            return None
        if not known.asked:
            known.by_archive, known.asked = self._ask_archive(series), True
        if known.by_archive is not None:
            return known.by_archive
        return Waiting(
            reason="a restore cut it off; have it sent again, or `imaging-node replay` it as it is",
            until=self._cut_off[series.series_uid],
        )

    def _by_senders_and_slices(
        self, series: OpenSeries, known: _Known, senders: dict[str, int], now: float
    ) -> Complete | Waiting:
        self._read_associations(series, known)
        associations = known.associations or []
        open_now = sum(senders.get(title, 0) for title in {a["calling_ae"] for a in associations})
        waiting = completeness.not_released(associations, open_from_sender=open_now)
        if waiting is not None:
            return waiting
        waiting = completeness.not_settled(series, associations, now=now, settle_s=self._settings.settle_s)
        if waiting is not None and not self._has_its_number(series, known):
            return waiting
        if known.by_slices is None:
            with self._records.read() as connection:
                known.by_slices = completeness.contiguous(open_series.headers(connection, series.series_uid))
        if waiting is not None:
            at_once = isinstance(known.by_slices, Complete) and known.by_slices.at_once
            return known.by_slices if at_once else waiting
        if not known.asked:
            known.by_archive, known.asked = self._ask_archive(series), True
        return known.by_archive or known.by_slices

    def _read_associations(self, series: OpenSeries, known: _Known) -> None:
        if known.instances != series.instances:
            with self._records.read() as connection:
                more, known.row = open_series.associations_after(connection, series.series_uid, known.row)
            if more - known.keys:
                known.keys |= more
                known.associations = None
            known.instances, known.by_slices, known.by_archive, known.asked = series.instances, None, None, False
        if known.associations is None or any(a["closed_at"] is None for a in known.associations):
            with self._records.read() as connection:
                known.associations = instances.associations(connection, sorted(known.keys))

    def _has_its_number(self, series: OpenSeries, known: _Known) -> bool:
        """Whether the slices are worth a look before the sender has settled: their number is what they state."""
        if known.by_slices is not None:
            return True
        with self._records.read() as connection:
            stated = open_series.stated_number(connection, series.series_uid)
        return str(stated) == str(series.instances)

    def _ask_archive(self, series: OpenSeries) -> Complete | Waiting | None:
        if self._ask is None:
            return None
        try:
            count = self._ask(series.study_uid, series.series_uid)
        except Retry as error:
            log.warning("archive not asked", why=error.message)
            return None
        if count is None or count < series.instances:
            return None  # it is still receiving itself
        reason = f"the archive has {count} instances of the series, {series.instances} are here"
        return Complete(evidence=reason) if count == series.instances else Waiting(reason=reason)

    def _freeze(self, series: OpenSeries, complete: Complete) -> str | None:
        with self._records.read() as connection:
            members = instances.of_series(connection, series.series_uid)
        urgent = self._urgent([member for _, member in members])
        now = self._clock()
        with self._records.write() as connection:
            set_id = sets.freeze(connection, members, evidence=complete.evidence, at=now, urgent=urgent)
        if set_id is not None:
            METRICS.stage_seconds.labels(stage="assemble", pipeline="").observe(max(now - series.last_at, 0.0))
        return set_id
