"""The flow: eight stages in order, as one durable workflow. Open this file first.

    receive → assemble → route → prepare → infer → check → derive → deliver

Receiving (`stages/receive.py`) ends with bytes and a record on disk, assembling (`stages/assemble.py`) with a frozen
set. From there on `process` below is what happens. DBOS keeps what each step returned, so a process that is killed
goes on at the step it was in; a step may therefore run twice and must come to the same end. Workflow IDs are computed
from what the work is, so that nothing is queued twice.

What needs one slice only does not wait for these stages: `eager.py` decodes and infers while a series comes in, and
`following.py` measures and writes beside the network. The stages take what lies ready and make the rest.
"""

from typing import Any, Final

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
from dbos import error as dbos_error

from node.errors import EngineOff, Hold, NodeError, NotRegistered, Refuse, Retry
from node.log import log
from node.prepared import Prepared
from node.processing import Work
from node.records.states import JobState
from node.stages.check import why_held
from pipelines.report import Report

SETS_QUEUE: Final = "sets"
_AT_ONCE: Final = 2  # while one set is in the engine, the next is decoded and the last is written

_work: list[Work] = []


def bind(work: Work) -> None:
    """Give the steps their objects; once in a process, before DBOS is launched."""
    _work[:] = [work]


def bound() -> Work:
    """The objects of this process. Raises IndexError before `bind`."""
    return _work[0]


def deliveries_queue(destination: str) -> str:
    return f"deliver-{destination}"


def register_queues(destinations: list[str]) -> None:
    """Make the queues; after DBOS is launched."""
    DBOS.register_queue(SETS_QUEUE, worker_concurrency=_AT_ONCE, polling_interval_sec=0.1, on_conflict="always_update")
    for name in destinations:
        DBOS.register_queue(
            deliveries_queue(name), worker_concurrency=2, polling_interval_sec=0.1, on_conflict="always_update"
        )


def start(set_id: str, run: int) -> None:
    """Queue a frozen set; a second call for the same run changes nothing."""
    with SetWorkflowID(f"{set_id}-{run}"):
        DBOS.enqueue_workflow(SETS_QUEUE, process, set_id)


def start_job(job_id: str, run: str) -> None:
    """Queue one job, gathered from several series or released; a second call for the same run changes nothing."""
    with SetWorkflowID(f"{job_id}-{run}"):
        DBOS.enqueue_workflow(SETS_QUEUE, process_job, job_id)


def start_delivery(job_id: str, destination: str, run: int, attempt: int, pause_s: float | None = None) -> None:
    """Queue an attempt to deliver; a second call for the same one changes nothing."""
    with SetWorkflowID(f"{job_id}-{destination}-{run}-{attempt}"), SetEnqueueOptions(delay_seconds=pause_s):
        DBOS.enqueue_workflow(deliveries_queue(destination), deliver, job_id, destination, run, attempt)


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
def process_job(job_id: str) -> None:
    """One job by itself, from preparing to its deliveries: its series were gathered, or a person released it."""
    _make(job_id)


def _make(job_id: str) -> None:
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
    return bound().route(set_id)


@DBOS.step(retries_allowed=True, max_attempts=5, interval_seconds=2.0, should_retry=_again)
def prepare(job_id: str) -> dict[str, Any]:
    return bound().prepare(job_id)


@DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=2.0, should_retry=_again)
def infer(job_id: str, prepared: dict[str, Any]) -> str:
    return bound().infer(job_id, Prepared.from_json(prepared))


@DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=2.0, should_retry=_again)
def check(job_id: str, prepared: dict[str, Any], result: str) -> dict[str, Any]:
    return bound().check(job_id, Prepared.from_json(prepared), result).to_json()


@DBOS.step(retries_allowed=True, max_attempts=5, interval_seconds=2.0, should_retry=_again)
def derive(job_id: str, prepared: dict[str, Any], result: str) -> list[tuple[str, int, int]]:
    return bound().derive(job_id, Prepared.from_json(prepared), result)


@DBOS.step()
def send(job_id: str, destination: str, attempt: int) -> float | None:
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
