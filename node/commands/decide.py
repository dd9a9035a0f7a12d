"""`imaging-node release`, `discard` and `withdraw`: what a person decides of a job."""

import time
from typing import Any, Final

from node.errors import BadSetting
from node.records import jobs, notices
from node.records.database import Records
from node.records.states import JobState
from node.worklist import withdraw as withdrawing
from pipelines.report import Report

_MOST_CHARACTERS: Final = 400
_DISCARDABLE: Final = (JobState.HELD, JobState.REFUSED, JobState.FAILED, JobState.DEAD, JobState.PAUSED)


def release(records: Records, key: str, *, by: str, why: str) -> dict[str, Any]:
    """Let a result leave that checks held. It is made again, and leaves marked with a caution that names the checks.

    key:     start of the job's id, 8 characters or more
    by, why: who decides and the reason; they stand in the job's events
    returns: job (its id) and findings (the names that are let pass)
    raises:  BadSetting if there is no such job, or no check held it
    """
    require_words(by, why)
    with records.write() as connection:
        job = _job(jobs.by_prefix(connection, key), key)
        report = Report.from_json(job["report"]) if job["report"] else None
        if job["state"] != JobState.HELD or report is None or not report.failed:
            raise BadSetting(
                f"The job is {job['state']}, not held by a check.", fix="Only what a check held can be released."
            )
        names = sorted({finding.name for finding in report.failed})
        jobs.release(connection, job["id"], by=by, why=why, findings=names, at=time.time())
    return {"job": job["id"], "findings": names}


def discard(records: Records, key: str, *, by: str, why: str) -> dict[str, Any]:
    """End a job that will not be delivered; nothing of it leaves, whatever is replayed. As `release`."""
    require_words(by, why)
    with records.write() as connection:
        job = _job(jobs.by_prefix(connection, key), key)
        if job["state"] not in _DISCARDABLE:
            raise BadSetting(f"The job is {job['state']}.", fix="Only what was stopped can be discarded.")
        jobs.discard(connection, job["id"], by=by, why=why, at=time.time())
    return {"job": job["id"]}


def withdraw(records: Records, key: str, *, by: str, why: str) -> dict[str, Any]:
    """Take back the verdict of a triage: everybody who carried its flag is told, and its objects are rejected.

    key:     start of the job's id, 8 characters or more
    by, why: who decides and the reason; receivers get the reason, so that it names no patient
    returns: job (its id) and channels (those that are told, by name)
    raises:  BadSetting if there is no such job, or no verdict of it that holds
    """
    require_words(by, why)
    with records.write() as connection:
        job = _job(jobs.by_prefix(connection, key), key)
        if not withdrawing.withdraw(connection, job["id"], by=by, why=why, at=time.time()):
            raise BadSetting("The job has no verdict that holds.", fix="See `imaging-node flags`.")
        told = notices.of_job(connection, job["id"], notices.WITHDRAWAL)
    return {"job": job["id"], "channels": sorted(one["channel"] for one in told)}


def _job(found: dict[str, Any] | None, key: str) -> dict[str, Any]:
    if found is None:
        raise BadSetting(f"The records know no single job {key!a}.", fix="See `imaging-node jobs`.")
    return found


def require_words(by: str, why: str) -> None:
    """Who decides, and why, have to be said. Raises BadSetting."""
    for name, text in (("--by", by), ("--reason", why)):
        if not text.strip() or len(text) > _MOST_CHARACTERS or not text.isprintable():
            raise BadSetting(f"{name} needs 1 to {_MOST_CHARACTERS} printable characters.", fix="Say who and why.")
