"""The verdicts of one scanner in the order in which they were made, for what compares new ones with old ones."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from node.records.tables import JOBS
from node.records.worklist_tables import TRIAGES

_OLDEST: Final = 1000  # verdicts in which those to compare with are looked for
_NEWEST: Final = 2000  # verdicts of which something is said

Verdict = Row[tuple[str, float | None]]
"""Flag and percentile."""


def history(connection: Connection, scanner: str, *, baseline: int) -> tuple[list[Verdict], list[Verdict]]:
    """The first verdicts up to the analysed one that makes `baseline` of them, and the newest 2,000 after it.

    Of the network and threshold that made the scanner's newest result only: another one starts from the beginning.
    What was withdrawn does not count.
    """
    now = _of_now(connection, scanner)
    if now is None:
        return [], []
    order = (TRIAGES.c.decided_at, TRIAGES.c.job_id)
    query = select(TRIAGES.c.flag, TRIAGES.c.percentile, *order).join(JOBS, JOBS.c.id == TRIAGES.c.job_id).where(*now)
    oldest = connection.execute(query.order_by(*order).limit(_OLDEST)).all()
    analysed = [place for place, row in enumerate(oldest) if row.percentile is not None]
    if len(analysed) < baseline:
        return _verdicts(oldest), []
    first = oldest[: analysed[baseline - 1] + 1]
    at, job_id = first[-1].decided_at, first[-1].job_id
    after = or_(TRIAGES.c.decided_at > at, and_(TRIAGES.c.decided_at == at, TRIAGES.c.job_id > job_id))
    newer = connection.execute(query.where(after).order_by(*(column.desc() for column in order)).limit(_NEWEST)).all()
    return _verdicts(first), _verdicts(newer[::-1])


def _of_now(connection: Connection, scanner: str) -> list[ColumnElement[bool]] | None:
    """Conditions for the verdicts that may be compared; None while the scanner has none."""
    mine = [TRIAGES.c.scanner == scanner, TRIAGES.c.withdrawn_at.is_(None)]
    query = select(JOBS.c.engine_sha256, JOBS.c.pipeline, TRIAGES.c.threshold)
    query = query.join(JOBS, JOBS.c.id == TRIAGES.c.job_id).where(*mine).order_by(TRIAGES.c.decided_at.desc())
    found = connection.execute(query.limit(1)).one_or_none()
    if found is None:
        return None
    made = [JOBS.c.engine_sha256 == found.engine_sha256, JOBS.c.pipeline == found.pipeline]
    return [*mine, *made, TRIAGES.c.threshold == found.threshold]


def _verdicts(rows: Sequence[Any]) -> list[Verdict]:
    return list(rows)
