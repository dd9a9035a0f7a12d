"""Sends notices until they are acknowledged: a thread for each channel, so that a silent receiver holds up no other.

What is to be told stands in the records. A notice is noted as sent before its first byte goes; a process that is killed
after that, or a connection that breaks, leads to the same message once more, under the same control id. What nobody
acknowledged in time raises an alarm, which stands in the records, too.
"""

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.errors import Refuse, Retry
from node.log import log
from node.metrics import METRICS
from node.peers.carrier import Broken, Busy, Unreachable
from node.peers.telling import NotTaken, NotThere, Teller, Told
from node.records import notices, triages
from node.records.database import Records
from node.records.notices import FLAG, Notice
from node.records.states import NoticeState
from node.settings.flags import Channel

_FIRST_PAUSE_S: Final = 1.0
_JITTER: Final = 0.2
_LONGEST_ASKED_S: Final = 3600.0  # a flag is urgent: who asks for a day is asked again in an hour
_ALARM_EVERY_S: Final = 1.0
_END_S: Final = 1.0


class _Dropped(Exception):
    """The verdict was withdrawn before the notice was sent."""


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """How an attempt failed. `channel`: the receiver is away, so that nothing else need be tried now either."""

    trouble: str
    state: NoticeState
    channel: bool = False
    final: bool = False
    answer: str | None = None
    after_s: float = 0.0


class Notices(AbstractContextManager["Notices"]):
    """Tells all channels. Inside its `with` block the threads run; `tick` gives them something to do.

    clock: seconds since the epoch
    """

    def __init__(
        self, records: Records, tellers: Sequence[tuple[Channel, Teller]], *, clock: Callable[[], float]
    ) -> None:
        self._records, self._clock = records, clock
        self._lanes = {one.name: _Lane(records, one, teller, clock) for one, teller in tellers}
        self._alarms_at = 0.0

    def __enter__(self) -> Self:
        with self._records.write() as connection:
            notices.end_unknown(connection, self._lanes.keys(), at=self._clock())
        for lane in self._lanes.values():
            lane.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._lanes.values():
            lane.stop()
        until = time.monotonic() + _END_S  # one that waits for an answer goes down with the process; it is sent again
        for lane in self._lanes.values():
            lane.join(max(0.0, until - time.monotonic()))

    def tick(self) -> None:
        """Wake the channels that have something to be told, and raise alarms. Returns at once."""
        if not self._lanes:
            return
        with self._records.read() as connection:
            waiting = notices.due_channels(connection, at=self._clock())
        for name in waiting & self._lanes.keys():
            self._lanes[name].wake()
        if time.monotonic() >= self._alarms_at:
            self._alarms_at = time.monotonic() + _ALARM_EVERY_S
            self._raise_alarms()

    def _raise_alarms(self) -> None:
        now = self._clock()
        for name, lane in self._lanes.items():
            before = now - lane.settings.alarm_s
            with self._records.read() as connection:
                late = notices.overdue(connection, name, before=before)
            if late:
                with self._records.write() as connection:
                    notices.raise_alarms(connection, late, at=now)
                log.error("nobody acknowledged verdicts", channel=name, count=len(late))


class _Lane:
    """One channel's thread."""

    def __init__(self, records: Records, settings: Channel, teller: Teller, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._records, self._teller, self._clock = records, teller, clock
        self._work, self._stopping = threading.Event(), threading.Event()
        self._failures, self._paused_until = 0, 0.0  # in a row, of the channel
        self._refusals: dict[str, int] = {}  # by control id; a restart asks some times more
        self._thread = threading.Thread(target=self._run, name=f"tell-{settings.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._work.set()

    def stop(self) -> None:
        self._stopping.set()
        self._work.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.wait()
            self._work.clear()
            try:
                self._round()
            except Exception as error:  # noqa: BLE001  the thread lives as long as its process: what is due stays due
                log.error("telling a channel broke", channel=self.settings.name, **_fault(error))
                self._paused_until = time.monotonic() + self.settings.retry_longest_s

    def _round(self) -> None:
        """Tell all that is due, unless the receiver is away."""
        if time.monotonic() < self._paused_until:
            return
        with self._records.read() as connection:
            found = notices.due(connection, self.settings.name, at=self._clock())
        for notice in found:
            if self._stopping.is_set() or not self._tell(notice):
                return

    def _tell(self, notice: Notice) -> bool:
        """One attempt. Returns whether the receiver is there for the next notice."""
        told, began = Told.from_json(notice.body), False

        def before() -> None:
            nonlocal began
            with self._records.write() as connection:
                if not notices.sending(connection, notice, at=self._clock()):
                    raise _Dropped
            began = True

        try:
            answer = self._teller.tell(told, control_id=notice.control_id, before=before)
        except _Dropped:
            return True
        except Exception as error:  # noqa: BLE001  the edge: whatever happened, the notice stays
            return self._failed(notice, self._failure(notice, error, began))
        self._failures = 0
        self._refusals.pop(notice.control_id, None)
        now = self._clock()
        with self._records.write() as connection:
            counts = notices.delivered(connection, notice, answer=answer, at=now)
            if counts and notice.kind == FLAG:
                triages.acknowledged(connection, notice.job_id, at=now)
        if counts and notice.kind == FLAG:
            waited_s = max(now - notice.since, 0.0)
            METRICS.triage_flag_to_acknowledgement.labels(channel=self.settings.name).observe(waited_s)
        log.info("acknowledged", channel=self.settings.name, job=notice.job_id[:12], kind=notice.kind)
        return True

    def _failure(self, notice: Notice, error: Exception, began: bool) -> _Failure:
        """What an error means for a notice. What the receiver refused or never saw is as it was before."""
        was, unsure = notice.state, NoticeState.SENT if began else notice.state
        if isinstance(error, NotTaken):
            count = self._refusals.get(notice.control_id, 0) + 1
            self._refusals[notice.control_id] = count
            final = count >= self.settings.refusals
            return _Failure(trouble=error.message, state=was, final=final, answer=error.answer)
        if isinstance(error, NotThere):
            return _Failure(trouble=error.message, state=was)
        if isinstance(error, Busy):
            after_s = min(error.after_s, _LONGEST_ASKED_S)
            return _Failure(trouble=error.message, state=was, channel=True, after_s=after_s)
        if isinstance(error, Unreachable):
            return _Failure(trouble=error.message, state=was, channel=True)
        if isinstance(error, Broken | Retry):
            return _Failure(trouble=error.message, state=unsure, channel=True)
        if isinstance(error, Refuse):
            return _Failure(trouble=str(error), state=was, final=True)
        log.error("an attempt to tell broke", channel=self.settings.name, **_fault(error))
        trouble = f"The attempt broke with {type(error).__name__}; see the worker's log."
        return _Failure(trouble=trouble, state=unsure, channel=True)

    def _failed(self, notice: Notice, failure: _Failure) -> bool:
        now, settings = self._clock(), self.settings
        self._failures = self._failures + 1 if failure.channel else 0
        pause_s = max(self._pause(self._failures - 1 if failure.channel else notice.attempts), failure.after_s)
        state = failure.state
        if failure.final or now - notice.since > settings.retry_hours * 3600:
            state = NoticeState.LOST if state is NoticeState.SENT else NoticeState.DEAD
            self._refusals.pop(notice.control_id, None)
        with self._records.write() as connection:
            notices.attempted(
                connection,
                notice,
                state=state,
                trouble=failure.trouble,
                answer=failure.answer,
                next_at=now + pause_s,
                at=now,
            )
        log.warning(
            "not acknowledged", channel=settings.name, job=notice.job_id[:12], kind=notice.kind, state=state.value,
            attempt=notice.attempts + 1, why=failure.trouble,
        )  # fmt: skip
        if failure.channel:
            self._paused_until = time.monotonic() + pause_s
        return not failure.channel

    def _pause(self, times: int) -> float:
        """Seconds after `times` earlier failures: 1 s doubling to the longest, ±20 %."""
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(times, 16), self.settings.retry_longest_s)
        return pause_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  spreads load, guards nothing


def _fault(error: Exception) -> dict[str, str]:
    """What broke, and where. Not what the error says: one of the records quotes whole notices."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"fault": type(error).__name__, "at": where}
