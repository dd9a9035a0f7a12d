"""What may be urgent: a series that a rule of a triage may take. A wrong guess costs time and nothing else.

Whether there is a triage is `stages/route.py`'s to say, of the whole set; here it is told early, so that the set does
not wait in a line until somebody finds out.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.dicom import codes, stacks
from node.dicom.scan import Header
from node.records import open_series
from node.records.database import Records
from node.records.instances import Instance
from node.records.open_series import OpenSeries
from node.settings import Rule
from pipelines.match import Condition, misfits
from pipelines.pipeline import Pipeline
from pipelines.triage import Triage

_MANY: Final = 64  # slices like the one that is known: more than any triage asks for


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What one rule of a triage asks of a series."""

    where: Mapping[str, Condition]
    modality: str
    triage: Triage


class Urgency:
    """Tells by the rules and headers alone what may be urgent."""

    def __init__(self, rules: Iterable[Rule], pipelines: Mapping[str, Pipeline]) -> None:
        self._asked = [
            _Asked(where=rule.where, modality=pipeline.takes.modality, triage=pipeline.triage)
            for rule in rules
            if (pipeline := pipelines[rule.pipeline]).triage is not None
        ]

    @property
    def knows_any(self) -> bool:
        """Whether any rule is of a triage; without one nothing is urgent."""
        return bool(self._asked)

    def may_be(self, header: Header, sop_class_uid: str) -> bool:
        """Whether a series with such an object in it may be urgent, as far as one header tells.

        Of an object with many frames, what the header does not say may stand in its functional groups.
        """
        framed = sop_class_uid in codes.MULTI_FRAME
        return any(
            one.modality in header.get("Modality", ())
            and not misfits({k: c for k, c in one.where.items() if not framed or k in header}, [header])
            and (framed or not one.triage.candidate([header] * _MANY))
            for one in self._asked
        )

    def is_urgent(self, members: Sequence[Instance]) -> bool:
        """Whether a complete set may be urgent: one of its stacks is what a triage is for."""
        likely = [one for one in members if self.may_be(one.header, one.sop_class_uid)]
        if not likely:
            return False
        if any(one.sop_class_uid in codes.MULTI_FRAME for one in likely):
            return True  # only the child could tell more, and it is not asked before the set has its turn
        parts = stacks.split([[member.header] for member in members])
        return any(self._is_candidate([one.header for one in part.slices]) for part in parts)

    def _is_candidate(self, headers: Sequence[Header]) -> bool:
        return any(not misfits(one.where, headers) and not one.triage.candidate(headers) for one in self._asked)


@dataclass(kw_only=True)
class OpenUrgency:
    """Which of the open series may be urgent, so that they are looked at first. Safe for threads.

    Once it may be, a series stays so until it is frozen.
    """

    records: Records
    urgency: Urgency
    _found: dict[str, tuple[int, bool]] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, series: OpenSeries) -> bool:
        """Whether this one may be, by the first and the newest object of it."""
        if not self.urgency.knows_any:
            return False
        with self._turn:
            instances, urgent = self._found.get(series.series_uid, (0, False))
        if urgent or instances == series.instances:
            return urgent
        with self.records.read() as connection:
            ends = open_series.ends(connection, series.series_uid)
        urgent = any(self.urgency.may_be(header, sop_class_uid) for header, sop_class_uid in ends)
        with self._turn:
            self._found[series.series_uid] = series.instances, urgent
        return urgent

    def forget_others(self, series_uids: set[str]) -> None:
        """Keep what is known of these series only: those that are open."""
        with self._turn:
            for uid in self._found.keys() - series_uids:
                del self._found[uid]
