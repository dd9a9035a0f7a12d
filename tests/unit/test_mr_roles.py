"""T1, T2 and FLAIR are told by their sequence parameters; what was given contrast agent is none of them."""

from pathlib import Path
from typing import Any

import pydicom
import pytest

from pipelines import mr_contrast
from pipelines.match import Header
from pipelines.mr_roles import ROLES, contrast_refused
from pipelines.role import Series

DATA = Path(__file__).parents[3] / "shared" / "data" / "dicom"
HEAD = {"Modality": "MR", "ImageType": "ORIGINAL\\PRIMARY\\M\\ND", "MagneticFieldStrength": "3"}
SPOILED = HEAD | {"ScanningSequence": "GR", "SequenceVariant": "SP", "MRAcquisitionType": "3D", "RepetitionTime": "8",
                  "EchoTime": "3", "FlipAngle": "12"}  # fmt: skip
MPRAGE = SPOILED | {"ScanningSequence": "GR\\IR", "RepetitionTime": "2300", "InversionTime": "900", "FlipAngle": "9"}
SPIN_ECHO = HEAD | {"ScanningSequence": "SE", "MRAcquisitionType": "2D", "RepetitionTime": "500", "EchoTime": "12"}
T2 = SPIN_ECHO | {"RepetitionTime": "5000", "EchoTime": "100"}
FLAIR = HEAD | {"ScanningSequence": "SE\\IR", "MRAcquisitionType": "2D", "RepetitionTime": "9000", "EchoTime": "120",
                "InversionTime": "2500"}  # fmt: skip
FLAIR_3D = FLAIR | {"MRAcquisitionType": "3D", "RepetitionTime": "5000", "InversionTime": "1800", "EchoTime": "388"}


def header(values: dict[str, str], **changes: str | None) -> Header:
    merged = {**values, **changes}
    return {keyword: tuple(text.split("\\")) if text else () for keyword, text in merged.items() if text is not None}


def against(role: str, values: dict[str, str], **changes: str | None) -> list[str]:
    judge = ROLES[role].judge
    assert judge is not None
    return judge([header(values, **changes)] * 3)


@pytest.mark.parametrize(
    ("role", "values"),
    [("t1", SPOILED), ("t1", MPRAGE), ("t1", SPIN_ECHO), ("t2", T2), ("flair", FLAIR), ("flair", FLAIR_3D)],
)
def test_a_series_fits_its_own_role_and_no_other(role: str, values: dict[str, str]) -> None:
    fitting = [name for name in ROLES if not against(name, values)]

    assert fitting == [role]


@pytest.mark.parametrize(
    ("role", "values", "changes", "reason"),
    [
        ("t2", T2, {"RepetitionTime": "500"}, "RepetitionTime 500 to 500 ms; T2 needs 2000 to 15000 ms"),
        ("t2", T2, {"EchoTime": "20"}, "EchoTime 20 to 20 ms; T2 needs 60 to 160 ms"),
        ("t2", T2, {"EchoTime": None}, "EchoTime is missing or no number in 3 of 3 slices; T2 needs it"),
        ("t2", T2, {"EchoTime": "x"}, "EchoTime is missing or no number in 3 of 3 slices; T2 needs it"),
        ("t2", FLAIR, {}, "ScanningSequence is IR\\SE with an inversion; T2 needs another sequence"),
        ("t2", T2, {"ScanningSequence": "SE\\EP"}, "ScanningSequence is EP\\SE; T2 needs another sequence"),
        ("t2", T2, {"ScanningSequence": None}, "ScanningSequence is missing; T2 needs another sequence"),
        ("flair", FLAIR, {"InversionTime": "180"}, "InversionTime 180 to 180 ms; FLAIR needs 1500 to 3000 ms"),
        ("flair", FLAIR, {"InversionTime": None},
         "InversionTime is missing or no number in 3 of 3 slices; FLAIR needs it"),
        ("flair", FLAIR, {"EchoTime": "388"}, "EchoTime 388 to 388 ms; FLAIR needs 70 to 200 ms"),
        ("flair", T2, {}, "ScanningSequence is SE without an inversion; FLAIR needs another sequence"),
        ("t1", SPOILED, {"RepetitionTime": "25"},
         "RepetitionTime 25 to 25 ms; T1 by 3-D spoiled gradient echo needs 3 to 15 ms"),
        ("t1", SPOILED, {"FlipAngle": "3"},
         "FlipAngle 3 to 3 degrees; T1 by 3-D spoiled gradient echo needs 8 to 40 degrees"),
        ("t1", SPOILED, {"AngioFlag": "Y"}, "AngioFlag is Y; T1 needs no angiography"),
        ("t1", SPOILED, {"SeriesDescription": "TOF 3D slab"}, "a description holds TOF; T1 needs another sequence"),
        ("t1", MPRAGE, {"InversionTime": None},
         "InversionTime is missing or no number in 3 of 3 slices; T1 by inversion-prepared gradient echo needs it"),
        ("t1", MPRAGE, {"MRAcquisitionType": "2D"},
         "MRAcquisitionType is 2D; T1 by inversion-prepared gradient echo needs 3D"),
        ("t1", SPIN_ECHO, {"SequenceVariant": "SK\\MTC"},
         "SequenceVariant holds MTC; magnetisation transfer changes the contrast"),
        ("t1", SPIN_ECHO, {"BodyPartExamined": "C-SPINE"}, "BodyPartExamined is CSPINE; T1 needs the head"),
        ("t1", SPIN_ECHO, {"MagneticFieldStrength": "0.35"}, "MagneticFieldStrength is 0.35 T; T1 needs 1.4 to 3.1 T"),
        ("t1", SPIN_ECHO, {"ImageType": "DERIVED\\PRIMARY\\SUBTRACTION"},
         "ImageType holds SUBTRACTION; T1 needs a magnitude image of one sequence"),
    ],
)  # fmt: skip
def test_what_speaks_against_a_series_is_said_with_its_values(
    role: str, values: dict[str, str], changes: dict[str, str | None], reason: str
) -> None:
    assert against(role, values, **changes) == [reason]


def test_every_slice_is_asked() -> None:
    judge = ROLES["t2"].judge
    assert judge is not None

    found = judge([header(T2), header(T2, EchoTime="20"), header(T2, ContrastBolusAgent="GADOVIST")])

    assert found == [
        "EchoTime 20 to 100 ms; T2 needs 60 to 160 ms",
        "contrast agent was given: ContrastBolusAgent has a value in 1 of 3 slices",
    ]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("mr_t2_siemens_trio", "t2"),
        ("mr_t1_uih", "t1"),
        ("mr_t1_ge_fruit", "t1"),
        ("mr_dwi_toshiba", None),
        ("mr_t1gd_siemens_vs-seg-001", "t1"),  # with contrast agent, of which its header is silent
    ],
)
def test_real_headers_have_the_role_that_they_should(name: str, role: str | None) -> None:
    if not DATA.exists():
        pytest.skip("../shared/data is not here")
    dataset = pydicom.dcmread(min((DATA / name).glob("*.dcm")), stop_before_pixels=True)
    wanted = (
        "Modality ImageType ScanningSequence SequenceVariant MRAcquisitionType RepetitionTime EchoTime InversionTime "
    )
    wanted += "FlipAngle MagneticFieldStrength SeriesDescription ProtocolName BodyPartExamined ContrastBolusAgent"
    found = {k: "\\".join(map(str, _many(dataset[k].value))) for k in wanted.split() if k in dataset}

    assert [one for one in ROLES if not against(one, found)] == ([role] if role else [])


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, pydicom.multival.MultiValue) else [value]


@pytest.mark.parametrize(
    "changes",
    [
        {"ContrastBolusAgent": "GADOVIST"},
        {"ContrastBolusAgent": "NONE"},  # a value is a value (DICOM_SPEC 1.5)
        {"ContrastBolusAgentSequence": "1 item"},
        {"ContrastBolusRoute": "IV"},
        {"ContrastBolusVolume": "7.5"},
        {"ContrastBolusVolume": "unknown"},
        {"ContrastBolusTotalDose": "7.5"},
        {"ContrastBolusStartTime": "101500"},
        {"ContrastBolusIngredient": "GADOLINIUM"},
        {"ContrastBolusAgentAdministered": "YES"},
        {"ImageType": "ORIGINAL\\PRIMARY\\T1\\POST_CONTRAST"},
    ],
)
@pytest.mark.parametrize(("role", "values"), [("t1", SPOILED), ("t2", T2), ("flair", FLAIR)])
def test_contrast_agent_in_a_header_is_refused_in_every_role(
    role: str, values: dict[str, str], changes: dict[str, str]
) -> None:
    (reason,) = against(role, values, **changes)

    assert reason.startswith("contrast agent was given: ")
    assert reason.endswith(" in 3 of 3 slices")


@pytest.mark.parametrize(
    "changes",
    [
        {"ContrastBolusAgent": ""},
        {"ContrastBolusVolume": "0"},
        {"ContrastBolusTotalDose": "0.0"},
        {"ContrastBolusAgentAdministered": "NO"},
        {"ImageType": "ORIGINAL\\PRIMARY\\T1\\NONE"},
    ],
)
def test_an_empty_word_on_contrast_agent_is_none(changes: dict[str, str]) -> None:
    assert against("t1", SPOILED, **changes) == []


@pytest.mark.parametrize(
    "text",
    [
        "AX T1 +C", "T1 + C", "SAG C+", "t1_mprage_tra_p2_iso +KM", "T1 nach KM", "T1 mKM", "AX T1 GD", "T1GD",
        "t1_GAD", "AX T1 POST", "T1_POST", "POSTGAD AX", "T1 post contrast", "T1 MPR POSTCONTRAST", "T1 CE",
        "ce-t1", "T1C", "T1 with contrast", "GADOVIST 7,5", "T1 Kontrastmittel", "T1 FS INJ", "dotarem ax",
        "W CONTRAST", "VIBE+C",
    ],
)  # fmt: skip
def test_words_for_contrast_agent_are_found(text: str) -> None:
    assert mr_contrast.words(text)
    assert any("holds a word for contrast agent" in line for line in against("t1", SPOILED, SeriesDescription=text))
    assert any("holds a word for contrast agent" in line for line in against("t1", SPOILED, ProtocolName=text))


@pytest.mark.parametrize(
    "text",
    [
        "AX T1 POSTERIOR FOSSA", "POST FOSSA T1", "T1 POST OP", "AX T1 PRE", "T1 ohne KM", "T1 w/o contrast",
        "T1 WO GD", "T1 WITHOUT CONTRAST", "BRAIN W/WO CONTRAST", "PRE CONTRAST T1", "T1 vor KM", "T1 non contrast",
        "AX FLAIR", "t1_mprage_sag_p2_iso", "T2 TSE TRA", "CERVICAL", "GDP", "CSF FLOW", "COR T1", "ADC", "PRE-GD",
        "nativ",
    ],
)  # fmt: skip
def test_words_that_only_look_like_it_are_not(text: str) -> None:
    assert mr_contrast.words(text) == []


def series(uid: str, time: str | None, **changes: str | None) -> Series:
    values = {**T2, "AcquisitionDate": "20260105"} | ({"AcquisitionTime": time} if time else {})
    return Series(uid=uid, headers=[header(values, **changes)] * 3)


AGENT = {"ContrastBolusAgent": "GADOVIST"}


BEFORE = "contrast agent was given before the series for flair was acquired, as another series says"
UNTOLD = "another series has contrast agent, and the times of acquisition do not say if flair is older"


@pytest.mark.parametrize(
    ("time", "reasons"),
    [
        ("101000", [BEFORE]),
        ("101500.25", [BEFORE]),
        ("1015", [BEFORE]),
        ("1016", []),
        ("101500.3", []),
        (None, [UNTOLD.replace("flair", "t2"), UNTOLD]),
    ],
)
def test_a_series_acquired_after_another_that_had_contrast_agent_is_refused(
    time: str | None, reasons: list[str]
) -> None:
    chosen = {"t2": series("1", "090000"), "flair": series("2", "101500.25")}

    assert contrast_refused(chosen, [*chosen.values(), series("3", time, **AGENT)]) == reasons
    assert contrast_refused(chosen, [*chosen.values(), series("3", time)]) == []


def test_the_time_of_injection_counts_where_it_is_earlier() -> None:
    chosen = {"flair": series("2", "101500")}

    later = [*chosen.values(), series("3", "102000", **AGENT)]
    told = [*chosen.values(), series("3", "102000", **AGENT, ContrastBolusStartTime="101200")]

    assert contrast_refused(chosen, later) == []
    assert len(contrast_refused(chosen, told)) == 1


def test_contrast_agent_of_a_ct_says_nothing_about_an_mr() -> None:
    chosen = {"flair": series("2", "101500")}

    assert contrast_refused(chosen, [series("3", "090000", Modality="CT", **AGENT)]) == []
