"""Which form of a derived series goes to which destination, and under which Series Instance UID."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.dicom.uids import form_series_uid
from node.records import deliveries, derived, instances, jobs, sets
from node.records.database import Records, migrate
from node.records.instances import Ending, Instance

JOB, CLASSIC_SERIES = "ab" * 32, "2.25.1"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """Records with a job for the destinations `plain` and `modern`."""
    migrate(tmp_path)
    source = Instance(
        sop_instance_uid="1.2.3", sop_class_uid="1.2", study_uid="1.2.9", series_uid="1.2.4", transfer_syntax="1.2.840",
        patient_key="", file="x", bytes=1, sha256="0" * 64, pixel_sha256="", header={}, association="a",
        received_at=1.0,
    )  # fmt: skip
    with closing(Records(tmp_path)) as found:
        with found.write() as connection:
            instances.open_association(connection, key="a", calling_ae="A", receiver="r", at=1.0)
            instances.close_association(connection, key="a", at=1.0, ending=Ending.RELEASED)
            instances.add(connection, source)
            set_id = sets.freeze(connection, instances.of_series(connection, "1.2.4"), evidence="test", at=2.0)
            job = {"id": JOB, "set_id": set_id, "rule": "r", "pipeline": "p", "pipeline_version": "1",
                   "engine_sha256": "e", "destinations": ["plain", "modern"]}  # fmt: skip
            jobs.add(connection, at=2.0, job=job)
        yield found


def result(uid: str, form: str | None) -> dict[str, Any]:
    row = {"sop_instance_uid": uid, "sop_class_uid": "1.2", "source_sop_instance_uid": "1.2.3", "file": uid,
           "bytes": 1, "sha256": "0" * 64}  # fmt: skip
    return row | ({"form": form} if form else {})


def going(
    records: Records, results: list[dict[str, Any]], forms: dict[str, str] | None
) -> dict[str, tuple[set[str], str]]:
    """Destination -> what is on its way there, and the series that it will be found in."""
    with records.write() as connection:
        jobs.finish_derive(
            connection, JOB, at=3.0, series_uid=CLASSIC_SERIES, description="", results=results, forms=forms
        )
    with records.read() as connection:
        return {
            name: (
                {parcel.sop_instance_uid for parcel in deliveries.unconfirmed(connection, JOB, name)},
                derived.study_and_series(connection, JOB, name)[1],
            )
            for name in ("plain", "modern")
        }


def test_each_destination_gets_its_form_and_nothing_of_the_other(records: Records) -> None:
    made = [result("1", "classic"), result("2", "classic"), result("3", "enhanced")]

    assert going(records, made, {"modern": "enhanced", "plain": "classic"}) == {
        "plain": ({"1", "2"}, CLASSIC_SERIES),
        "modern": ({"3"}, form_series_uid(CLASSIC_SERIES, "enhanced")),
    }


def test_a_form_that_was_not_made_is_replaced_by_the_one_that_was(records: Records) -> None:
    assert going(records, [result("1", "classic")], {"modern": "enhanced"}) == {
        "plain": ({"1"}, CLASSIC_SERIES),
        "modern": ({"1"}, CLASSIC_SERIES),
    }


def test_without_a_word_of_forms_all_is_classic(records: Records) -> None:
    assert going(records, [result("1", None)], None)["modern"] == ({"1"}, CLASSIC_SERIES)


def test_a_map_goes_along_where_the_job_says_so_whatever_the_form(records: Records) -> None:
    made = [result("1", "classic"), result("3", "enhanced"), result("9", "map")]
    with records.write() as connection:
        jobs.note(connection, JOB, at=2.5, maps=["modern"])

    assert going(records, made, {"modern": "enhanced", "plain": "classic"}) == {
        "plain": ({"1"}, CLASSIC_SERIES),
        "modern": ({"3", "9"}, form_series_uid(CLASSIC_SERIES, "enhanced")),
    }
    with records.read() as connection:
        of_map = derived.study_and_series(connection, JOB, "modern", form="map")[1]
        assert of_map == form_series_uid(CLASSIC_SERIES, "map")
        assert derived.forms(connection, JOB, "modern") == ["enhanced", "map"]
        assert derived.forms(connection, JOB, "plain") == ["classic"]


def test_the_number_of_a_maps_series_is_in_use(records: Records) -> None:
    with records.write() as connection:
        jobs.note(connection, JOB, at=2.5, series_number=4021, map_series_number=4022)
        assert {4021, 4022} <= jobs.series_numbers(connection, "1.2.9")


def test_the_series_of_a_form_is_computed_and_another_one() -> None:
    assert form_series_uid(CLASSIC_SERIES, "classic") == CLASSIC_SERIES
    assert form_series_uid(CLASSIC_SERIES, "enhanced") != CLASSIC_SERIES
    assert form_series_uid(CLASSIC_SERIES, "enhanced") == form_series_uid(CLASSIC_SERIES, "enhanced")
    assert form_series_uid("2.25.2", "enhanced") != form_series_uid(CLASSIC_SERIES, "enhanced")
