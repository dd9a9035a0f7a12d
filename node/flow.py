"""The flow: eight stages in order, as one durable workflow. Open this file first.

    receive → assemble → route → prepare → infer → check → derive → deliver

Receiving (`stages/receive.py`) ends with bytes and a record on disk, assembling (`stages/assemble.py`) with a frozen
set. From there on `process` below is what happens. DBOS keeps what each step returned, so a process that is killed
goes on at the step it was in; a step may therefore run twice and must come to the same end. Workflow IDs are computed
from what the work is, so that nothing is queued twice.

What needs one slice only does not wait for these stages: `eager.py` decodes and infers while a series comes in, and
`following.py` measures and writes beside the network. The stages take what lies ready and make the rest.

Triage has lines of its own, from assembling to delivering, and while any of it is under way all other work rests
(`processing/precedence.py`).
"""

from typing import Any, Final

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from dbos import error as dbos_error

from node.errors import EngineOff, Hold, NodeError, NotRegistered, Paused, Refuse, Retry
from node.log import log
from node.prepared import Prepared
from node.processing import Work
from node.records.states import JobState
from node.stages.check import why_held
from pipelines.report import Report

# Fixed: jobs that wait must survive an upgrade. A change that old jobs cannot follow raises it; then they begin anew.
VERSION: Final = "1"
SETS_QUEUE: Final = "sets"
URGENT_SETS_QUEUE: Final = "urgent-sets"
_AT_ONCE: Final = 2  # while one set is in the engine, the next is decoded and the last is written
_POLL_S: Final = 0.1

_work: list[Work] = []


def bind(work: Work) -> None:
    """Give the steps their objects; once in a process, before DBOS is launched."""
    _work[:] = [work]


def bound() -> Work:
    """The objects of this process. Raises IndexError before `bind`."""
    return _work[0]


def deliveries_queue(destination: str, *, urgent: bool = False) -> str:
    """The line of a destination. No destination's name makes one line of the other: all others begin with "deliver"."""
    return f"urgent-deliver-{destination}" if urgent else f"deliver-{destination}"


def register_queues(destinations: list[str], *, urgent: bool) -> None:
    """Make the queues; after DBOS is launched. What waits in one that is not made any more is still worked off.

    urgent: whether there are lines that overtake
    """
    names = [SETS_QUEUE, *(deliveries_queue(name) for name in destinations)]
    if urgent:
        names += [URGENT_SETS_QUEUE, *(deliveries_queue(name, urgent=True) for name in destinations)]
    for name in names:
        DBOS.register_queue(
            name, worker_concurrency=_AT_ONCE, polling_interval_sec=_POLL_S, on_conflict="always_update"
        )


def start(set_id: str, run: int, *, urgent: bool = False) -> None:
    """Queue a frozen set; a second call for the same run changes nothing."""
    with SetWorkflowID(f"{set_id}-{run}"):
        if urgent:
            bound().lanes.precedence.expect(set_id)
            DBOS.enqueue_workflow(URGENT_SETS_QUEUE, process_urgent, set_id, run)
        else:
            DBOS.enqueue_workflow(SETS_QUEUE, process, set_id)


def start_job(job_id: str, run: str) -> None:
    """Queue one job by itself: gathered from several series, released, or of a set that came in the urgent line.

    A second call for the same run changes nothing.
    """
    queue = URGENT_SETS_QUEUE if bound().lanes.is_urgent(job_id) else SETS_QUEUE
    with SetWorkflowID(f"{job_id}-{run}"):
        DBOS.enqueue_workflow(queue, process_job, job_id)


def start_delivery(job_id: str, destination: str, run: int, attempt: int, pause_s: float | None = None) -> None:
    """Queue an attempt to deliver; a second call for the same one changes nothing."""
    queue = deliveries_queue(destination, urgent=bound().lanes.is_urgent(job_id))
    with SetWorkflowID(f"{job_id}-{destination}-{run}-{attempt}"), SetEnqueueOptions(delay_seconds=pause_s):
        DBOS.enqueue_workflow(queue, deliver, job_id, destination, run, attempt)


@DBOS.workflow()
def process(set_id: str) -> None:
    """One complete set, from routing to its deliveries."""
    try:
        todo = route(set_id)
    except Exception as error:  # noqa: BLE001  as below, for a set that has no job yet
        give_up(set_id, _verdict(error)[2])
        return
    for job_id in todo:
        _make(job_id)


@DBOS.workflow()
def process_urgent(set_id: str, run: int) -> None:
    """One complete set that a triage may take. Its other jobs go to the end of the line that all others stand in."""
    with bound().lanes.precedence.working(set_id):
        try:
            todo = sort_out(set_id)
        except Exception as error:  # noqa: BLE001  as in `process`
            give_up(set_id, _verdict(error)[2])
            return
        for job_id in todo["urgent"]:
            _make(job_id)
    for job_id in todo["other"]:
        start_job(job_id, f"set-{run}")


@DBOS.workflow()
def process_job(job_id: str) -> None:
    """One job by itself, from preparing to its deliveries."""
    _make(job_id)


def _make(job_id: str) -> None:
    with bound().lanes.making(job_id):
        _make_now(job_id)


def _make_now(job_id: str) -> None:
    try:
        prepared = prepare(job_id)
        result = infer(job_id, prepared)
        report = check(job_id, prepared, result)
        if Report.from_json(report).held:
            stop(job_id, JobState.HELD, *why_held(Report.from_json(report)))
            return
        for destination, run, attempt in derive(job_id, prepared, result):
            start_delivery(job_id, destination, run, attempt)
    except Exception as error:  # noqa: BLE001  the edge of the flow: every fault ends one job, never the worker
        stop(job_id, *_verdict(error))


@DBOS.workflow()
def deliver(job_id: str, destination: str, run: int, attempt: int) -> None:
    """One attempt; the next one is queued for later, so that a silent destination holds nothing up."""
    pause_s = send(job_id, destination, attempt)
    if pause_s is not None:
        start_delivery(job_id, destination, run, attempt + 1, pause_s)


def _again(error: BaseException) -> bool:
    return isinstance(error, Retry)


@DBOS.step()
def route(set_id: str) -> list[str]:
    return sorted(bound().route(set_id), key=lambda job_id: not bound().lanes.is_urgent(job_id))


@DBOS.step()
def sort_out(set_id: str) -> dict[str, list[str]]:
    """Make the jobs of a set, and tell those of a triage from the others."""
    todo, lanes = bound().route(set_id), bound().lanes
    return {
        "urgent": [job_id for job_id in todo if lanes.is_urgent(job_id)],
        "other": [job_id for job_id in todo if not lanes.is_urgent(job_id)],
    }


@DBOS.step(retries_allowed=True, max_attempts=5, interval_seconds=2.0, should_retry=_again)
def prepare(job_id: str) -> dict[str, Any]:
    with bound().lanes.stage(job_id):
        return bound().prepare(job_id)


@DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=2.0, should_retry=_again)
def infer(job_id: str, prepared: dict[str, Any]) -> str:
    with bound().lanes.stage(job_id):
        return bound().infer(job_id, Prepared.from_json(prepared))


@DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=2.0, should_retry=_again)
def check(job_id: str, prepared: dict[str, Any], result: str) -> dict[str, Any]:
    with bound().lanes.stage(job_id):
        return bound().check(job_id, Prepared.from_json(prepared), result).to_json()


@DBOS.step(retries_allowed=True, max_attempts=5, interval_seconds=2.0, should_retry=_again)
def derive(job_id: str, prepared: dict[str, Any], result: str) -> list[tuple[str, int, int]]:
    with bound().lanes.stage(job_id):
        return bound().derive(job_id, Prepared.from_json(prepared), result)


@DBOS.step()
def send(job_id: str, destination: str, attempt: int) -> float | None:
    with bound().lanes.stage(job_id):
        return bound().attempt(job_id, destination, attempt).pause_s


@DBOS.step()
def give_up(set_id: str, reason: str) -> None:
    bound().give_up(set_id, reason)


@DBOS.step()
def stop(job_id: str, state: str, cause: str, reason: str) -> None:
    bound().stop(job_id, JobState(state), cause=cause, reason=reason)


def _verdict(error: Exception) -> tuple[str, str, str]:
    """The state that a fault leaves a job with, its cause from a closed set, and the reason in words."""
    if isinstance(error, dbos_error.DBOSMaxStepRetriesExceeded) and error.errors:
        error = error.errors[-1]
    if isinstance(error, Paused):
        return JobState.PAUSED, "paused", str(error)
    if isinstance(error, EngineOff):
        return JobState.HELD, "engine_off", str(error)
    if isinstance(error, NotRegistered):
        return JobState.HELD, "not_registered", str(error)
    if isinstance(error, Hold):
        return JobState.HELD, "worker_died", str(error)
    if isinstance(error, Refuse):
        return JobState.REFUSED, "input_refused", str(error)
    if isinstance(error, NodeError):
        return JobState.FAILED, "retries_exhausted", str(error)
    log.exception("a stage broke", exc_info=error)
    return JobState.FAILED, "fault", f"A stage broke with {type(error).__name__}; see the worker's log, then replay."
