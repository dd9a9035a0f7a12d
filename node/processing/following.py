"""What follows a slice as soon as it is made, beside the network that makes the next one: measuring and writing."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from node.errors import NodeError
from node.log import log
from node.processing.early import Early
from pipelines.judging import Judging
from pipelines.report import Report

_MEASURING: Final = 2  # threads; slices that were made ahead come faster than one can measure


class Following:
    """Measures the slices of one job in threads of its own, and has those written that are measured.

    Only the verdict counts, and it is given over the whole series: what was not measured here, `report` measures.

    early: writes the objects of slices before the verdict; None where none may be
    rest:  called before each slice that is measured or written; it may take its time
    """

    def __init__(self, judging: Judging, early: Early | None, rest: Callable[[], object] = lambda: None) -> None:
        self._judging, self.early, self._rest = judging, early, rest
        self._made: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._measured: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._measuring = [threading.Thread(target=self._measure, daemon=True) for _ in range(_MEASURING)]
        self._writing = threading.Thread(target=self._write, daemon=True)
        for thread in (*self._measuring, self._writing):
            thread.start()

    def made(self, index: int) -> None:
        """A slice is made. Returns at once."""
        self._made.put(index)

    def report(self) -> Report:
        """The verdict over all slices, all of them made. Raises what a check's second run of the network raises."""
        for _ in self._measuring:
            self._made.put(None)
        for thread in self._measuring:
            thread.join()
        self._measured.put(None)
        report = self._judging.report()
        self._writing.join()
        return report

    def close(self) -> None:
        """Drop what was not begun, wait for what was."""
        for line in (self._made, self._measured):
            while not line.empty():
                line.get()
        for _ in self._measuring:
            self._made.put(None)
        self._measured.put(None)
        for thread in (*self._measuring, self._writing):
            thread.join()

    def _measure(self) -> None:
        self._until_none(self._made, self._measure_one)

    def _write(self) -> None:
        self._until_none(self._measured, lambda index: None if self.early is None else self.early.measured(index))

    def _measure_one(self, index: int) -> None:
        self._judging.measure(index)
        self._measured.put(index)

    def _until_none(self, line: "queue.SimpleQueue[int | None]", do: Callable[[int], None]) -> None:
        broken = False
        while (index := line.get()) is not None:
            try:
                if not broken:
                    self._rest()
                    do(index)
            except NodeError as error:  # an engine that is away: `report` meets it again and waits or says so
                broken = True
                log.info("slices are looked at later", reason=error.message)
            except Exception as error:  # noqa: BLE001  a thread's edge: the stage itself raises it again
                broken = True
                log.warning("what follows a slice broke; its stage does it again", exc_info=error)


class Followings:
    """Those of the jobs that are between `infer` and `derive` in this process.

    rest: as `Following` has it
    """

    def __init__(self, rest: Callable[[], object] = lambda: None) -> None:
        self._rest = rest
        self._of: dict[str, Following] = {}
        self._lock = threading.Lock()

    def begin(self, job_id: str, judging: Judging, early: Early | None) -> Following:
        """Another one for a job takes the place of the one before it."""
        self.end(job_id)
        following = Following(judging, early, self._rest)
        with self._lock:
            self._of[job_id] = following
        return following

    def report(self, job_id: str, judging: Callable[[], Judging]) -> Report:
        """The verdict on a job's result; `judging` makes one anew, for a job whose worker died since."""
        with self._lock:
            following = self._of.get(job_id)
        return judging().report() if following is None else following.report()

    def early(self, job_id: str) -> Early | None:
        """What was written of a job before its verdict."""
        with self._lock:
            following = self._of.get(job_id)
        return None if following is None else following.early

    def end(self, job_id: str) -> None:
        """Forget a job; nothing happens if it is not known."""
        with self._lock:
            following = self._of.pop(job_id, None)
        if following is not None:
            following.close()
