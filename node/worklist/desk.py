"""Where a verdict goes: into the list, to those who are told, into the figures; and back, when it no longer holds."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from node.peers.dimse.ups_sending import UpsEvents
from node.records import workitems
from node.settings.worklist import Worklist
from node.worklist import watch
from node.worklist.flags import queue_flag
from node.worklist.notices import Notices
from node.worklist.ups_arrivals import Arrivals
from node.worklist.withdraw import Retractions, already_rejected, supersede


@dataclass(frozen=True, kw_only=True)
class Desk(AbstractContextManager["Desk"]):
    """Passes verdicts on. Inside its `with` block others are told.

    clock: seconds since the epoch
    """

    settings: Worklist
    arrivals: Arrivals
    notices: Notices
    events: UpsEvents
    retractions: Retractions
    clock: Callable[[], float] = time.time
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.events.close)
            stack.enter_context(self.notices)
            self._stack.push(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def routed(self, job_id: str) -> None:
        """A triage's job is to be made: its study is in the list from now on."""
        self.arrivals.note(job_id)

    def decided(self, connection: Connection, row: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """A new verdict, in the transaction that records it.

        row:   of the table of verdicts
        facts: whom and what it is of, as `node.dicom.subject.subject` gives them
        """
        watch.decided(connection, row, self.settings.scanners)
        supersede(connection, row, at=self.clock())
        if already_rejected(connection, row, at=self.clock()):
            return  # its images were taken back while it was made: nobody hears of it
        queue_flag(connection, row, self.settings.channels, facts)
        current = {**row, "withdrawn_at": None}
        workitems.tell(connection, current)

    def tick(self) -> None:
        """Tell what is due, and read what was taken back."""
        self.retractions.tick()
        self.notices.tick()
        self.events.tick()
