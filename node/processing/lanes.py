"""Which lane a job is in: that of triage, which overtakes the other in every line of the worker."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from node import lane
from node.processing.precedence import Precedence
from node.records import jobs
from node.records.database import Records
from node.stages.infer import Closed
from pipelines.pipeline import Pipeline

_KEPT: Final = 4096  # jobs whose lane is remembered


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of a worker's jobs. Safe for threads.

    precedence: makes the other lane rest while there is work in the urgent one
    """

    records: Records
    pipelines: Mapping[str, Pipeline]
    precedence: Precedence
    _known: OrderedDict[str, bool] = field(default_factory=OrderedDict, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def is_urgent(self, job_id: str) -> bool:
        """Whether a job is one of a triage; not if its pipeline is none of this node's any more."""
        with self._turn:
            if job_id in self._known:
                return self._known[job_id]
        with self.records.read() as connection:
            pipeline = self.pipelines.get(jobs.get(connection, job_id)["pipeline"])
        urgent = pipeline is not None and pipeline.triage is not None
        with self._turn:
            self._known[job_id] = urgent
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return urgent

    @contextmanager
    def making(self, job_id: str) -> Iterator[None]:
        """Everything from preparing a job to its objects: of an urgent one, others rest meanwhile."""
        if not self.is_urgent(job_id):
            yield
            return
        with self.precedence.working(job_id):
            yield

    @contextmanager
    def stage(self, job_id: str) -> Iterator[None]:
        """One stage of a job. One that is not urgent begins when it may. Raises Closed if the worker ends before."""
        if self.is_urgent(job_id):
            with lane.urgently():
                yield
            return
        if not self.precedence.give_way():
            raise Closed
        yield
