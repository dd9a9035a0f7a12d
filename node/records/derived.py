"""The series that a job made: of its images, in one form or two, and of what goes beside them."""

from typing import Final

from sqlalchemy import Connection, select

from node.dicom.uids import form_series_uid
from node.records.tables import DELIVERIES, JOBS, RESULTS, SERIES, SETS

_MAIN: Final = ("classic", "enhanced", "report")
"""The form that a result is known by, where a destination gets several: the first of these."""


def study_and_series(
    connection: Connection, key: str, destination: str | None = None, *, form: str | None = None
) -> tuple[str, str]:
    """Study Instance UID, and Series Instance UID of the derived series in the form that a destination takes.

    form: of another one, of the map for one
    """
    row = connection.execute(
        select(SERIES.c.study_uid, JOBS.c.series_uid)
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .join(SERIES, SERIES.c.series_uid == SETS.c.series_uid)
        .where(JOBS.c.id == key)
    ).one()
    return str(row.study_uid), form_series_uid(str(row[1]), form or main(forms(connection, key, destination)))


def main(made: list[str]) -> str:
    """The form that a result is known by, of those that a destination gets; the map of a result never is."""
    return next((one for one in _MAIN if one in made), "classic")


def forms(connection: Connection, key: str, destination: str | None) -> list[str]:
    """The forms in which a destination gets the results of a job; what goes beside images is one, too."""
    found = connection.execute(
        select(RESULTS.c.form)
        .join(DELIVERIES, DELIVERIES.c.sop_instance_uid == RESULTS.c.sop_instance_uid)
        .where(DELIVERIES.c.job_id == key, DELIVERIES.c.destination == destination)
        .distinct()
        .order_by(RESULTS.c.form)
    )
    return list(found.scalars().all())
