"""How long jobs took from their last slice to the last result confirmed everywhere, counted within the transaction that
delivers them: a job counts once, whatever is killed, runs twice or is added later.

Beside the times of each job (`arrived_at`, `delivered_at`) there are sums, because every scrape asks for all jobs that
were ever delivered.
"""

from bisect import bisect_left
from typing import Final

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from node.records.tables import JOBS, TURNAROUNDS

BOUNDS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 4 * 3600, 24 * 3600)
"""Upper bounds of the buckets. The records hold their places: other bounds need a migration."""


def note(connection: Connection, job_id: str, *, at: float) -> None:
    """A job was delivered everywhere; the first time counts."""
    first = update(JOBS).where(JOBS.c.id == job_id, JOBS.c.delivered_at.is_(None)).values(delivered_at=at)
    if not connection.execute(first).rowcount:
        return
    query = select(JOBS.c.pipeline, JOBS.c.modality, JOBS.c.arrived_at).where(JOBS.c.id == job_id)
    job = connection.execute(query).one()
    seconds = max(at - job.arrived_at, 0.0)  # a clock that was set back
    row = {
        "pipeline": job.pipeline,
        "modality": job.modality,
        "bucket": bisect_left(BOUNDS_S, seconds),
        "jobs": 1,
        "seconds": seconds,
    }
    more = {"jobs": TURNAROUNDS.c.jobs + 1, "seconds": TURNAROUNDS.c.seconds + seconds}
    keys = ["pipeline", "modality", "bucket"]
    connection.execute(insert(TURNAROUNDS).values(row).on_conflict_do_update(index_elements=keys, set_=more))


def every(connection: Connection) -> dict[tuple[str, str], tuple[list[int], float]]:
    """By (modality, pipeline): how many jobs are in each bucket, one more than there are bounds, and their seconds."""
    found: dict[tuple[str, str], tuple[list[int], float]] = {}
    for row in connection.execute(select(TURNAROUNDS)).all():
        counts, total = found.get((row.modality, row.pipeline), ([0] * (len(BOUNDS_S) + 1), 0.0))
        counts[row.bucket] += row.jobs
        found[row.modality, row.pipeline] = counts, total + row.seconds
    return found
