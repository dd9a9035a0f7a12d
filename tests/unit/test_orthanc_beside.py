"""What the script of deploy/orthanc makes of headers and settings; Orthanc itself runs in tests/integration."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from node.dicom import codes
from node.dicom.triage_codes import FLAGS, REJECTED

FOLDER = Path(__file__).parents[2] / "deploy" / "orthanc"
ORIGINAL: dict[str, Any] = {"ImageType": "ORIGINAL\\PRIMARY\\AXIAL", "Modality": "CT", "ProtocolName": "Head Low Dose"}
OPEN: dict[str, Any] = {
    "AuthenticationEnabled": True,
    "RegisteredUsers": {"admin": "twelve letters"},
    "UserMetadata": {"ImagingNodeSent": 4098, "ImagingNodeMade": 4099, "ImagingNodeLabels": 4100},
    "StableAge": 15,
}


@pytest.fixture(scope="module")
def headers() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        from beside import headers

        yield headers
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def settings(headers: ModuleType) -> ModuleType:
    from beside import settings  # type: ignore[import-not-found]  # as above

    return settings  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "said",
    [
        {"ImageType": "DERIVED\\PRIMARY\\AXIAL"},
        {"ImageType": "ORIGINAL\\SECONDARY\\AXIAL"},
        {"ImageType": "DERIVED\\SECONDARY\\AXIAL\\AI_DENOISE"},
        {"ImageType": "ORIGINAL\\PRIMARY\\AXIAL\\AI_OTHER"},
        {"ImageType": ""},
        {"ContentQualification": "RESEARCH"},
        {"DeviceUID": codes.DEVICE_UID},
        {"DeviceUID": f"1.2.3\\{codes.DEVICE_UID}"},
    ],
)
def test_only_what_was_acquired_is_sent(headers: ModuleType, said: dict[str, str]) -> None:
    assert headers.original(ORIGINAL)
    assert headers.original(ORIGINAL | {"ContentQualification": "PRODUCT", "DeviceUID": "1.2.3"})
    assert not headers.original(ORIGINAL | said)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ([{"Modality": ["CT", "MR"]}], True),
        ([{"Modality": "MR"}], False),
        ([{"Modality": "CT", "ProtocolName": "*low*dose*"}], True),
        ([{"Modality": "CT", "StationName": "*"}], False),
        ([{"Modality": "MR"}, {"ImageType": "AXIAL"}], True),
        ([{"ImageType": "LOCALIZER"}], False),
    ],
)
def test_a_site_chooses_by_patterns(headers: ModuleType, conditions: list[dict[str, Any]], fits: bool) -> None:
    assert headers.chosen(ORIGINAL, tuple(conditions)) is fits


def test_the_script_knows_what_the_node_writes(headers: ModuleType) -> None:
    assert headers.NODE_DEVICE == codes.DEVICE_UID
    assert set(REJECTED) == headers.REJECTED
    flag = {"ConceptNameCodeSequence": [{"CodeValue": "TRIAGE_FLAG"}], "ConceptCodeSequence": [{"CodeValue": "X"}]}
    report = {"ContentSequence": [{"ContentSequence": [flag]}], "ConceptNameCodeSequence": [{"CodeValue": "126000"}]}
    assert headers.described(report)["flag"] == "X"
    source = (FOLDER / "beside" / "results.py").read_text(encoding="utf-8")
    assert {name for name in FLAGS if f'"{name}": ' in source} == {"FLAG_RAISED", "NOT_ANALYSABLE"}


@pytest.mark.parametrize(
    ("text", "label"), [("ct_denoise-1.0.0", "ct_denoise-1-0-0"), ("ä b", "--b"), ("x" * 70, "x" * 64)]
)
def test_labels_are_of_letters_that_orthanc_takes(headers: ModuleType, text: str, label: str) -> None:
    assert headers.label_of(text) == label


def test_settings_are_read(settings: ModuleType) -> None:
    made = settings.settings_of(
        OPEN | {"ImagingNode": {"Way": "rest", "Choose": [{"Modality": "MR"}], "NoResultHours": 2}}
    )
    assert (made.way, made.choose, made.no_result_hours, made.stable_age) == ("rest", ({"Modality": "MR"},), 2, 15.0)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"ImagingNode": {"Wey": "dicom"}}, "Wey is no setting"),
        ({"ImagingNode": {"Way": "mail"}}, "Way is mail"),
        ({"ImagingNode": {"Choose": []}}, "Choose"),
        ({"ImagingNode": {"EverySeconds": 0}}, "above 0"),
        ({"AuthenticationEnabled": False}, "AuthenticationEnabled"),
        ({"RegisteredUsers": {}}, "AuthenticationEnabled"),
        ({"RegisteredUsers": {"admin": "twelve letters", "imaging-node": ""}}, "at least 12"),
        ({"UserMetadata": {}}, "UserMetadata"),
    ],
)
def test_wrong_settings_and_open_doors_keep_orthanc_from_starting(
    settings: ModuleType, changed: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        settings.settings_of(OPEN | changed)


def test_every_variable_of_the_settings_file_is_explained() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)(?::-[^}]*)?\}", (FOLDER / "orthanc.json").read_text(encoding="utf-8")))
    said = set(re.findall(r"`((?:ORTHANC|NODE|SENDER)_[A-Z_]+)", (FOLDER / "README.md").read_text(encoding="utf-8")))
    assert used == said
    assert len(used) > 20
