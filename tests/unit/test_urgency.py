"""What may be urgent is told by rules and headers: roughly while a series comes in, rightly when it is whole."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.dicom.scan import Header
from node.processing.urgency import OpenUrgency, Urgency
from node.records import instances, open_series, sets, urgent
from node.records.database import Records
from node.records.instances import Instance
from node.records.states import JobState
from node.records.tables import JOBS
from node.settings import Assemble, parse
from node.stages.assemble import Assembler
from tests.running_node import settings_for
from tests.urgent_case import PIPELINES, RULES, TRIAGE
from tests.verdicts import new_records

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
LUNG = {"ImageType": ("DERIVED",), "BodyPartExamined": ("LUNG",)}
BY_NAME = {one.name: one for one in PIPELINES}


def urgency(tmp_path: Path, *rules: dict[str, Any]) -> Urgency:
    settings = parse(settings_for(tmp_path, rules=rules or RULES), source="the test")
    return Urgency(settings.rules, BY_NAME)


def header(number: int = 0, **values: Any) -> dict[str, tuple[str, ...]]:
    given = {
        "Modality": "CT",
        "BodyPartExamined": "HEAD",
        "ImagePositionPatient": ("0", "0", f"{number}"),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "PixelSpacing": ("1", "1"),
        **values,
    }
    return {k: v if isinstance(v, tuple) else (v,) for k, v in given.items() if v is not None}


def instance(number: int, *, series: str = "1.2.2", sop_class: str = CT, **values: Any) -> Instance:
    return Instance(
        sop_instance_uid=f"{series}.{number + 1}",
        sop_class_uid=sop_class,
        study_uid=f"{series}.0",
        series_uid=series,
        transfer_syntax="1.2.840.10008.1.2.1",
        patient_key="p",
        file=f"{series}.{number}.dcm",
        bytes=10,
        sha256=f"{series}{number:040x}"[:64],
        pixel_sha256=f"{number:064x}",
        header=header(number, **values),
        association=series,
        received_at=time.time(),
    )


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path / "state")) as made:
        yield made


@pytest.mark.parametrize(
    ("given", "sop_class", "expected"),
    [
        (header(), CT, True),
        (header(BodyPartExamined="ABDOMEN"), CT, False),
        (header(BodyPartExamined=None), CT, False),
        (header(Modality="MR"), CT, False),
        (header(Modality=None), CT, False),
        ({}, CT, False),
        # what the object does not say may stand in its functional groups, what it says does not
        (header(BodyPartExamined=None), ENHANCED_CT, True),
        (header(BodyPartExamined="ABDOMEN"), ENHANCED_CT, False),
    ],
)  # fmt: skip
def test_one_header_tells_roughly(tmp_path: Path, given: Header, sop_class: str, expected: bool) -> None:
    assert urgency(tmp_path).may_be(given, sop_class) is expected


def test_a_rule_without_conditions_leaves_it_to_the_triage(tmp_path: Path) -> None:
    plain = urgency(tmp_path, {"name": "all", "pipeline": TRIAGE})
    assert plain.may_be(header(), CT)
    assert not plain.may_be(header(BodyPartExamined="ABDOMEN"), CT)
    assert plain.is_urgent([instance(n) for n in range(4)])
    assert not plain.is_urgent([instance(n, BodyPartExamined="ABDOMEN") for n in range(4)])


def test_without_a_triage_nothing_is_urgent(tmp_path: Path) -> None:
    other = urgency(tmp_path, RULES[1])
    assert not other.knows_any
    assert not other.may_be(header(), CT)
    assert not other.is_urgent([instance(0)])


def test_a_set_is_urgent_if_one_of_its_stacks_is(tmp_path: Path) -> None:
    heads = [instance(n, ImageType=("ORIGINAL", "PRIMARY")) for n in range(4)]
    lungs = [replace(one, header={**one.header, **LUNG}) for one in heads]

    asked = urgency(tmp_path)
    assert asked.is_urgent(heads)
    assert asked.is_urgent([*lungs, *heads])
    assert not asked.is_urgent(lungs)


def test_an_open_series_stays_urgent_whatever_comes_next(tmp_path: Path, records: Records) -> None:
    looking = OpenUrgency(records=records, urgency=urgency(tmp_path))

    def look() -> bool:
        with records.read() as connection:
            (series,) = open_series.every(connection)
        return looking(series)

    def comes(one: Instance) -> None:
        with records.write() as connection:
            instances.add(connection, one)

    comes(instance(0, BodyPartExamined="NECK"))
    assert not look()
    comes(instance(1))
    assert look()
    comes(instance(2, BodyPartExamined="NECK"))
    assert look()
    looking.forget_others(set())
    assert not look(), "by the first and the newest"


def test_two_assemblers_share_the_series_and_none_is_frozen_twice(tmp_path: Path, records: Records) -> None:
    asked = urgency(tmp_path)
    looking = OpenUrgency(records=records, urgency=asked)
    both = {
        is_urgent: Assembler(
            records,
            Assemble(),
            clock=time.time,
            mine=lambda series, is_urgent=is_urgent: looking(series) is is_urgent,  # type: ignore[misc]
            urgent=asked.is_urgent,
        )
        for is_urgent in (True, False)
    }
    with records.write() as connection:
        for number in range(4):
            instances.add(connection, instance(number, series="1.2.3", BodyPartExamined="ABDOMEN"))
            instances.add(connection, instance(number, series="1.2.4"))
            # not every slice says what it shows: the rule does not fit
            told = None if number in (0, 3) else "HEAD"
            instances.add(connection, instance(number, series="1.2.5", BodyPartExamined=told))
        looked_at = instances.of_series(connection, "1.2.4")

    found = {}
    for is_urgent, assembler in both.items():
        for set_id in assembler.freeze_complete(everything_is_here=True):
            with records.read() as connection:
                row = sets.get(connection, set_id)
            found[row["series_uid"]] = (is_urgent, bool(row["urgent"]))
    with records.write() as connection:
        assert sets.freeze(connection, looked_at, evidence="x", at=1.0) is None, "somebody else was faster"
        to_start = {kind: len(sets.to_start(connection, urgent=kind)) for kind in (True, False)}

    assert found["1.2.3"] == (False, False)
    assert found["1.2.4"] == (True, True)
    assert found["1.2.5"] == (False, False)
    assert to_start == {True: 1, False: 2}


def test_what_is_under_way_is_known_until_it_has_a_verdict(tmp_path: Path, records: Records) -> None:
    def under_way() -> dict[str, float]:
        with records.read() as connection:
            return urgent.under_way(connection, [TRIAGE])

    with records.write() as connection:
        instances.add(connection, instance(0))
        members = instances.of_series(connection, "1.2.2")
        set_id = sets.freeze(connection, members, evidence="x", at=10.0, urgent=True)
    assert under_way() == {set_id: 10.0}
    with records.write() as connection:
        connection.execute(sets.SETS.update().values(state="routed"))
        for name, at in ((TRIAGE, 12.0), ("other", 11.0)):
            connection.execute(
                JOBS.insert().values(
                    id=name, set_id=set_id, rule="r", pipeline=name, pipeline_version="1", engine_sha256="",
                    destinations=[], state=JobState.RUNNING, stage="infer", started_at=at, updated_at=at, seconds={},
                )
            )  # fmt: skip
    assert under_way() == {set_id: 12.0}
    with records.write() as connection:
        connection.execute(JOBS.update().where(JOBS.c.id == TRIAGE).values(state=JobState.DELIVERING))
    assert under_way() == {}
