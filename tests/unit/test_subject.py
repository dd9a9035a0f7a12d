"""Whom a series is of: names and identifiers in the character sets that scanners write."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom.subject import Subject, subject
from tests.dicom_phantom import item, save, slice_of_ct


def read(ds: Dataset, folder: Path, syntax: str = ImplicitVRLittleEndian) -> Subject:
    save(ds, folder / "slice.dcm", syntax)
    return Subject.from_json(subject({"path": str(folder / "slice.dcm")}))


def one(**values: object) -> Dataset:
    ds = slice_of_ct(0)
    ds.SeriesDescription = "plain"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Павлов^Иван"),
        ("ISO_IR 192", "山田^太郎"),
        ("ISO_IR 100", "Müller^Jürgen^^Dr."),
        ("ISO_IR 126", "Διονυσιος"),
        ("ISO_IR 144", "Павлов^Иван"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_are_read_in_their_character_set(character_set: str | list[str], name: str, tmp_path: Path) -> None:
    found = read(one(SpecificCharacterSet=character_set, PatientName=name), tmp_path)

    assert found.names == (*name.split("="), "", "")[:3]


@pytest.mark.filterwarnings("ignore:Incorrect value")  # pydicom, of the misspelling
def test_misspelt_character_set_is_understood(tmp_path: Path) -> None:
    ds = one(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jürgen")
    save(ds, tmp_path / "slice.dcm", ImplicitVRLittleEndian)
    data = (tmp_path / "slice.dcm").read_bytes().replace(b"ISO_IR 100", b"ISO-IR 100")
    (tmp_path / "slice.dcm").write_bytes(data)

    assert subject({"path": str(tmp_path / "slice.dcm")})["names"][0] == "Müller^Jürgen"


def test_bytes_of_another_character_set_are_replaced_and_stop_nothing(tmp_path: Path) -> None:
    save(one(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^J"), tmp_path / "slice.dcm", ImplicitVRLittleEndian)
    data = (tmp_path / "slice.dcm").read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192")
    (tmp_path / "slice.dcm").write_bytes(data)

    assert "\ufffd" in subject({"path": str(tmp_path / "slice.dcm")})["names"][0]


def test_identifiers_and_orders_are_found_where_modalities_put_them(tmp_path: Path) -> None:
    ds = one(
        PatientID="4711",
        IssuerOfPatientID="HIS",
        IssuerOfPatientIDQualifiersSequence=[
            item(UniversalEntityID="1.2.40.0", UniversalEntityIDType="ISO", IdentifierTypeCode="PI")
        ],
        AccessionNumber="",
        RequestAttributesSequence=[
            item(AccessionNumber="A-100", PlacerOrderNumberImagingServiceRequest="P-1"),
            item(FillerOrderNumberImagingServiceRequest="F-1"),
        ],
    )
    found = read(ds, tmp_path, ExplicitVRLittleEndian)

    assert (found.patient_id, found.issuer, found.issuer_entity, found.issuer_type, found.id_type) == (
        "4711", "HIS", "1.2.40.0", "ISO", "PI",
    )  # fmt: skip
    assert (found.accession, found.placer, found.filler) == ("A-100", "P-1", "F-1")
    assert (found.study_uid, found.series_uid) == (ds.StudyInstanceUID, ds.SeriesInstanceUID)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"AcquisitionDateTime": "20260101115900.25+0100"}, "20260101115900+0100"),
        ({"AcquisitionDateTime": "20260101115900", "TimezoneOffsetFromUTC": "-0500"}, "20260101115900-0500"),
        ({"AcquisitionDate": "20260101", "AcquisitionTime": "115900.123"}, "20260101115900"),
        ({"AcquisitionDate": "20260101", "AcquisitionTime": "1159"}, "202601011159"),
        ({"AcquisitionDate": "", "ContentDate": "20260102", "ContentTime": ""}, "20260102"),
    ],
)
def test_time_of_acquisition(values: dict[str, str], wanted: str, tmp_path: Path) -> None:
    ds = slice_of_ct(0)
    for keyword in ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "TimezoneOffsetFromUTC"):
        if keyword in ds:
            del ds[keyword]
    for keyword, value in values.items():
        setattr(ds, keyword, value)

    assert read(ds, tmp_path).acquired == wanted


def test_header_that_says_nothing_gives_an_empty_subject() -> None:
    assert Subject.from_json({}) == Subject()
    assert Subject.from_json(Subject(names=("a", "b", "c"), accession="x").to_json()).names == ("a", "b", "c")
