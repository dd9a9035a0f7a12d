"""What follows a slice as soon as it is made, beside the network that makes the next one."""

import queue
import threading
from collections.abc import Callable, Sequence

from node.errors import NodeError
from node.log import log
from pipelines.pipeline import Report
from pipelines.run import Judging


class Following:
    """Measures the slices of one job in a thread of its own, in the order in which they are made.

    Only the verdict counts, and it is given over the whole series: what was not measured here, `report` measures.

    after: called with the index of each slice when it is measured
    """

    def __init__(self, judging: Judging, *, after: Sequence[Callable[[int], None]] = ()) -> None:
        self._judging, self._after = judging, after
        self._made: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self._thread.start()

    def made(self, index: int) -> None:
        """A slice is made. Returns at once."""
        self._made.put(index)

    def report(self) -> Report:
        """The verdict over all slices, all of them made. Raises what a check's second run of the network raises."""
        self.close()
        return self._judging.report()

    def close(self) -> None:
        """Wait for what was begun. A second call does nothing."""
        self._made.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (index := self._made.get()) is not None:
            try:
                self._judging.measure(index)
                for call in self._after:
                    call(index)
            except NodeError as error:  # an engine that is away: `report` meets it again and waits or says so
                log.info("slices are measured later", reason=error.message)
                return
            except Exception as error:  # noqa: BLE001  a thread's edge: `report` raises it again where it is handled
                log.warning("a slice could not be measured", exc_info=error)
                return


class Followings:
    """Those of the jobs that are between `infer` and `check` in this process."""

    def __init__(self) -> None:
        self._of: dict[str, Following] = {}
        self._lock = threading.Lock()

    def begin(self, job_id: str, judging: Judging) -> Following:
        """Another one for a job takes the place of the one before it."""
        self.end(job_id)
        following = Following(judging)
        with self._lock:
            self._of[job_id] = following
        return following

    def report(self, job_id: str, judging: Callable[[], Judging]) -> Report:
        """The verdict on a job's result; `judging` makes one anew, for a job whose worker died since."""
        with self._lock:
            following = self._of.pop(job_id, None)
        return judging().report() if following is None else following.report()

    def end(self, job_id: str) -> None:
        """Forget a job; nothing happens if it is not known."""
        with self._lock:
            following = self._of.pop(job_id, None)
        if following is not None:
            following.close()
