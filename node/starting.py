"""From complete series to queued work: sets are frozen and started, urgent ones by a thread of their own.

A look at many open series takes its time, and an archive that is asked about one may be silent for seconds; a case that
a triage may take waits for none of that.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, Self

from node import flow
from node.log import log
from node.processing.precedence import Precedence
from node.processing.urgency import OpenUrgency, Urgency
from node.records import open_series, sets, urgent
from node.records.database import Records
from node.settings import Assemble, Rule
from node.stages.assemble import Assembler
from pipelines.pipeline import Pipeline

_LOOK_S: Final = 0.15
_STUCK_S: Final = 300.0  # an urgent set that nothing has happened to for so long


class Starting:
    """The assemblers of a worker. Between `__enter__` and `__exit__` urgent sets start by themselves.

    ask:    as `Assembler` has it
    beside: called several times a second, by another thread, while there are urgent lines
    clock:  seconds since the epoch
    """

    def __init__(
        self,
        *,
        records: Records,
        settings: Assemble,
        rules: Sequence[Rule],
        pipelines: Mapping[str, Pipeline],
        precedence: Precedence,
        ask: Callable[[str, str], int | None] | None,
        clock: Callable[[], float],
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        self._records, self._precedence, self._clock, self._beside = records, precedence, clock, beside
        self._triages = [name for name, one in pipelines.items() if one.triage is not None]
        urgency = Urgency(rules, pipelines)
        self._has_urgent, self._is_urgent = urgency.knows_any, OpenUrgency(records=records, urgency=urgency)
        self._urgent, self._other = (
            Assembler(records, settings, clock=clock, ask=ask, mine=mine, urgent=urgency.is_urgent)
            for mine in (self._is_urgent, lambda series: not self._is_urgent(series))
        )
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._broke: BaseException | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._has_urgent:
            with self._records.read() as connection:
                under_way = urgent.under_way(connection, self._triages)
            for set_id in under_way:  # of the worker before this one
                self._precedence.expect(set_id)
            for name, step in (("urgent", self._freeze_and_start), ("beside", self._beside)):
                thread = threading.Thread(target=self._run, args=(step,), name=name, daemon=True)
                thread.start()
                self._stack.callback(thread.join)
            self._stack.callback(self._closed.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self, *, everything_is_here: bool = False) -> None:
        """Freeze what is complete and start what is frozen, as far as it does not start by itself.

        everything_is_here: the caller knows that no more will come
        raises:             what broke a thread of the urgent ones
        """
        if self._broke is not None:
            raise self._broke
        self.freeze(everything_is_here=everything_is_here)
        if everything_is_here or not self._has_urgent:  # without a triage nothing overtakes any more, whatever it was
            self._start_urgent()
        self._start(urgent=False)

    def freeze(self, *, everything_is_here: bool = False) -> None:
        """Freeze what is complete, as `look`, and start nothing."""
        if self._has_urgent and everything_is_here:
            self._freeze_urgent(everything_is_here=True)
        self._other.freeze_complete(everything_is_here=everything_is_here)

    def is_stuck(self) -> bool:
        """Whether an urgent set has been waiting for minutes: then no score says which study comes first."""
        if not self._has_urgent:
            return False
        with self._records.read() as connection:
            under_way = urgent.under_way(connection, self._triages)
        return any(self._clock() - since > _STUCK_S for since in under_way.values())

    def _freeze_urgent(self, *, everything_is_here: bool) -> None:
        with self._turn:
            with self._records.read() as connection:
                self._is_urgent.forget_others({one.series_uid for one in open_series.every(connection)})
            self._urgent.freeze_complete(everything_is_here=everything_is_here)

    def _start_urgent(self) -> None:
        with self._turn:
            self._start(urgent=True)

    def _start(self, *, urgent: bool) -> None:
        with self._records.read() as connection:
            waiting = sets.to_start(connection, urgent=urgent)
        for set_id, run in waiting:
            flow.start(set_id, run, urgent=urgent and self._has_urgent)
            with self._records.write() as connection:
                sets.started(connection, set_id, run)

    def _freeze_and_start(self) -> None:
        self._freeze_urgent(everything_is_here=False)
        self._start_urgent()

    def _run(self, step: Callable[[], None]) -> None:
        while not self._closed.wait(_LOOK_S):
            try:
                step()
            except BaseException as error:  # noqa: BLE001  a thread's edge: the worker's next look raises it
                log.exception("a thread of the urgent lines ended")
                self._broke = error
                return
