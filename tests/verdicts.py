"""Verdicts of triage in records, as the tests of flags need them."""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from node.records import triages
from node.records.database import FILE_NAME, Records, migrate
from node.records.tables import JOBS, SETS

FACTS: Mapping[str, Any] = {
    "patient_id": "4711",
    "issuer": "SITE",
    "names": ["DOE^JANE", "", ""],
    "accession": "A-100",
    "placer": "P-1",
    "filler": "F-1",
    "acquired": "20260101115900",
}
STUDY, SERIES, REPORT = "1.2.826.0.1", "1.2.826.0.1.1", "2.25.1234567890"


@functools.cache
def _empty() -> bytes:
    """The file of records that hold nothing: migrating takes seconds on a busy machine, copying none."""
    with tempfile.TemporaryDirectory() as folder:
        migrate(Path(folder))
        return (Path(folder) / FILE_NAME).read_bytes()


def new_records(state: Path) -> Records:
    """Empty records; the caller closes them."""
    state.mkdir(parents=True, exist_ok=True)
    (state / FILE_NAME).write_bytes(_empty())
    return Records(state)


def add_verdict(connection: Connection, job_id: str, flag: str = "FLAG_RAISED", **values: Any) -> dict[str, Any]:
    """A job that ended with this verdict, on record; its row."""
    connection.execute(
        SETS.insert().values(
            id=f"set-{job_id}", series_uid=f"{SERIES}.{job_id}", version=1, state="routed", evidence="", reasons={},
            last_received_at=990.0, frozen_at=991.0,
        )
    )  # fmt: skip
    connection.execute(
        JOBS.insert().values(
            id=job_id, set_id=f"set-{job_id}", rule="triage", pipeline="head-ct-triage", pipeline_version="1",
            engine_sha256="", destinations=[], state="delivered", stage="deliver", started_at=992.0, updated_at=993.0,
            seconds={},
        )
    )  # fmt: skip
    row = verdict(job_id, flag, **values)
    triages.put(connection, row)
    return row


def verdict(job_id: str, flag: str = "FLAG_RAISED", **values: Any) -> dict[str, Any]:
    """A row of the table of verdicts. `values` overrides its columns."""
    analysed = flag != "NOT_ANALYSABLE"
    row = {
        "job_id": job_id,
        "study_uid": STUDY,
        "series_uid": SERIES,
        "scanner": "other",
        "flag": flag,
        "score": {"FLAG_RAISED": 0.87, "FLAG_NOT_RAISED": 0.12}.get(flag),
        "percentile": 0.99 if analysed else None,
        "threshold": 0.5,
        "reasons": [] if analysed else ["The brain is not whole in the scan."],
        "credit_s": 0.0,
        "arrived_at": 990.0,
        "decided_at": 1000.0,
        "report_uid": REPORT,
        "assessment": {},
    }
    return {**row, **values}
