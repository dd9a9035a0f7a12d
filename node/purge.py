"""Removes received files, results and arrays that have been kept long enough. The records stay and say so."""

import shutil
from collections.abc import Callable

from node.log import log
from node.metrics import METRICS
from node.records import notices, purging
from node.records.database import Records
from node.records.purging import Purge
from node.spool import Spool

DAY_S = 24 * 3600.0


def purge(
    records: Records, spool: Spool, *, keep_days: float, clock: Callable[[], float], dry_run: bool = False
) -> list[Purge]:
    """Remove what belongs to series that were done with so many days ago. Returns what was, or would be, removed.

    A series is looked at again, and its files are removed, inside the transaction that notes it: one that comes to life
    in between is left alone, and after a crash the next run goes on. Nothing held, waiting, failed or dead is touched.
    """
    before = clock() - keep_days * DAY_S
    with records.read() as connection:
        series = purging.due(connection, before=before)
    done = []
    for series_uid in series:
        with records.read() if dry_run else records.write() as connection:
            one = purging.of_series(connection, series_uid, before=before)
            if one is None:
                continue
            done.append(one)
            if dry_run:
                continue
            for file in one.files:
                spool.discard(file)
            for job_id in one.jobs:
                shutil.rmtree(spool.results(job_id), ignore_errors=True)
                shutil.rmtree(spool.work / job_id, ignore_errors=True)
                notices.forget(connection, job_id)
            purging.note(connection, one, at=clock())
        METRICS.instances_purged.inc(len(one.files))
        METRICS.purged_bytes.inc(one.bytes)
    if done and not dry_run:
        spool.remove_empty_folders()
        log.info("purged", series=len(done), instances=sum(len(one.files) for one in done))
    return done
