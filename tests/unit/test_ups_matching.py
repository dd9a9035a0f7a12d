"""Which workitems a query finds: every matching rule of PS3.4 C.2.2.2 that a worklist has."""

import json
import random
from base64 import b64encode
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from node.child import _serve
from node.dicom import json_model
from node.dicom.json_model import Plain, key, plain
from node.errors import Refuse
from node.worklist import ups_moments
from node.worklist.ups_matching import answer, query
from node.worklist.ups_status import Refusal
from tests.ups_clients import code, items, workitem


def model(found: Dataset) -> Plain:
    return plain(found)[0]


ITEM = model(
    workitem(
        start="20260101120000",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        SpecificCharacterSet="ISO_IR 192",
        ScheduledStationNameCodeSequence=[code("WS1", "99SITE", "Room 1"), code("WS2", "99SITE", "Room 2")],
        InputInformationSequence=[items(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1")],
        ReferencedRequestSequence=[items(StudyInstanceUID="1.2.3", AccessionNumber="A17", RequestedProcedureID="P1")],
        AdmittingDiagnosesDescription="50% [stenosis]",
    )
)


def fits(**keys: Any) -> bool:
    return query(model(items(**keys))).fits(ITEM)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, True),
        ({"PatientID": ""}, True),
        ({"PatientID": "*"}, True),
        ({"PatientID": "4711"}, True),
        ({"PatientID": "471"}, False),
        ({"PatientID": "47*"}, True),
        ({"PatientID": "4?11"}, True),
        ({"PatientID": "4?1"}, False),
        ({"AdmissionID": "*"}, True),  # also where there is none (PS3.4 C.2.2.2.4)
        ({"AdmissionID": "X"}, False),
        ({"AdmittingDiagnosesDescription": "50% [sten*"}, True),  # brackets are characters like others
        ({"AdmittingDiagnosesDescription": "50% s*"}, False),
        ({"ProcedureStepState": "SCHEDULED"}, True),
        ({"ProcedureStepState": "COMPLETED"}, False),
        ({"PatientName": "YAMADA^TAROU"}, True),
        ({"PatientName": "yamada*"}, True),
        ({"PatientName": "山田*"}, True),
        ({"PatientName": "=山田^太郎"}, True),
        ({"PatientName": "Yamada^Tarou=鈴木*"}, False),
        ({"PatientName": "Suzuki*"}, False),
        ({"StudyInstanceUID": "1.2.3.4"}, True),
        ({"StudyInstanceUID": ["1.2.9", "1.2.3.4"]}, True),  # a list of UIDs
        ({"StudyInstanceUID": ["1.2.9", "1.2.8"]}, False),
        ({"ScheduledProcedureStepStartDateTime": "20260101"}, True),
        ({"ScheduledProcedureStepStartDateTime": "20260102"}, False),
        ({"ScheduledProcedureStepStartDateTime": "20260101-20260102"}, True),
        ({"ScheduledProcedureStepStartDateTime": "20260101120000-"}, True),
        ({"ScheduledProcedureStepStartDateTime": "20260101120001-"}, False),
        ({"ScheduledProcedureStepStartDateTime": "-20260101"}, True),
        ({"ScheduledProcedureStepStartDateTime": "-20251231"}, False),
        ({"PatientBirthDate": "19491231-19500102"}, True),
        ({"PatientBirthDate": "19500102-"}, False),
        ({"ScheduledStationNameCodeSequence": []}, True),
        ({"ScheduledStationNameCodeSequence": [items(CodeValue="", CodeMeaning="")]}, True),
        ({"ScheduledStationNameCodeSequence": [items(CodeValue="WS2")]}, True),
        ({"ScheduledStationNameCodeSequence": [items(CodeValue="WS2", CodingSchemeDesignator="99SITE")]}, True),
        ({"ScheduledStationNameCodeSequence": [items(CodeValue="WS2", CodingSchemeDesignator="DCM")]}, False),
        ({"ScheduledStationNameCodeSequence": [items(CodeValue="WS1", CodeMeaning="never matched")]}, True),
        ({"ScheduledWorkitemCodeSequence": [items(CodeValue="110005")]}, True),
        ({"ScheduledWorkitemCodeSequence": [items(CodeValue="110001")]}, False),
        ({"InputInformationSequence": [items(StudyInstanceUID="1.2.3")]}, True),
        ({"InputInformationSequence": [items(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.9")]}, False),
        ({"ReferencedRequestSequence": [items(AccessionNumber="A*")]}, True),
        ({"ReferencedRequestSequence": [items(AccessionNumber="B17")]}, False),
        ({"PatientID": "4711", "ProcedureStepState": "COMPLETED"}, False),  # all keys have to fit
    ],
)
def test_a_key_matches_as_the_standard_says(keys: dict[str, Any], found: bool) -> None:
    assert fits(**keys) is found


@pytest.mark.parametrize(
    ("offset", "moment", "found"),
    [
        ("", "20260101110000+0000", True),
        ("", "20260101120000+0100", True),
        ("", "20260101120000+0000", False),
        ("+0100", "20260101120000", True),
        ("-0500", "20260101060000-", True),
        ("-0500", "20260101060001-", False),
        ("", "20260101060000-0500-20260101060000-0500", True),
    ],
)
def test_times_mean_the_same_in_every_zone(offset: str, moment: str, found: bool) -> None:
    item = model(items(ScheduledProcedureStepStartDateTime="20260101120000+0100"))
    asked = items(ScheduledProcedureStepStartDateTime=moment)
    if offset:
        asked.TimezoneOffsetFromUTC = offset

    assert query(model(asked)).fits(item) is found


def test_a_workitem_may_say_where_its_times_are_local() -> None:
    item = model(items(ScheduledProcedureStepStartDateTime="20260101120000", TimezoneOffsetFromUTC="+0500"))

    assert query(model(items(ScheduledProcedureStepStartDateTime="20260101070000+0000"))).fits(item)
    assert not query(model(items(ScheduledProcedureStepStartDateTime="20260101120000+0000"))).fits(item)


def test_a_number_that_is_none_is_not_kept() -> None:
    """The records hold JSON, and one such value would make all of it unreadable."""
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(Refuse):
            plain(items(PatientSize="1.8", ReferencePixelPhysicalValueX=wrong))


@pytest.mark.parametrize("implicit", [True, False])
def test_what_is_kept_can_be_sent_again_whatever_came(implicit: bool) -> None:
    """Random faults in a workitem: it is refused by the child, or all of it survives records, matching and writing."""
    sound = encode(
        workitem(PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192", PatientSize="1.8"), implicit, True
    )
    assert sound is not None
    chance, kept = random.Random(7), 0
    for _ in range(200):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice([0, 92, 255, chance.randrange(256)])
        request = {"data": b64encode(data).decode(), "implicit": implicit}
        answered = _serve({"function": "node.dicom.workitems:parsed", "request": request})  # as the child does
        if "reply" not in answered:
            assert answered["error"] == "Refuse"
            continue
        attributes = json.loads(json.dumps(answered["reply"]["attributes"], allow_nan=False))
        assert encode(json_model.dataset(attributes), not implicit, True) is not None
        kept += 1
    assert kept > 20


def test_a_date_that_is_none_is_no_query() -> None:
    for wrong in ("yesterday", "20261301", "2026010112-x", "-"):
        with pytest.raises(Refusal):
            query({key("ScheduledProcedureStepStartDateTime"): {"vr": "DT", "Value": [wrong]}})


def test_moments_are_written_so_that_they_are_read_back() -> None:
    begin, end = ups_moments.interval(ups_moments.text(1_767_268_800.25))

    assert begin == pytest.approx(1_767_268_800.25, abs=1e-6)
    assert end == pytest.approx(begin, abs=2e-6)
    assert ups_moments.interval("20261231")[1] == ups_moments.interval("20270101")[0]
    assert ups_moments.interval("2026")[1] == ups_moments.interval("2027")[0]
    assert ups_moments.interval("202612")[1] == ups_moments.interval("202701")[0]


def test_keys_that_nobody_supports_are_said_and_match_everything() -> None:
    assert not query(model(items(PatientID="4711"))).partial
    for keys in ({"Modality": "CT"}, {"TransactionUID": "1.2"}, {"BodyPartExamined": ""}):
        asked = query(model(items(**keys)))
        assert asked.partial, keys
        assert asked.fits(ITEM), keys
    progress = [items(ProcedureStepProgress="5")]
    assert query(model(items(ProcedureStepProgressInformationSequence=progress))).partial
    assert not query(model(items(ProcedureStepProgressInformationSequence=[]))).partial


def test_the_answeredhas_what_was_asked_for_and_nothing_else() -> None:
    keys = model(
        items(
            PatientName="", PatientID="*", AdmissionID="", ScheduledStationNameCodeSequence=[items(CodeValue="WS2")],
            ReferencedRequestSequence=[], Modality="",
        )
    )  # fmt: skip

    found = answer(ITEM, query(keys).wanted)

    assert set(found) == {key(k) for k in (
        "SpecificCharacterSet", "PatientName", "PatientID", "AdmissionID", "ScheduledStationNameCodeSequence",
        "ReferencedRequestSequence",
    )}  # fmt: skip
    assert found[key("AdmissionID")] == {"vr": "LO"}
    stations = found[key("ScheduledStationNameCodeSequence")]["Value"]
    assert [sorted(item) for item in stations] == [[key("CodeValue")]] * 2  # every item, of each what was asked for
    assert found[key("ReferencedRequestSequence")] == ITEM[key("ReferencedRequestSequence")]
