"""The input gate names every reason, in any slice of the set, with its value and without a patient."""

import datetime

import pytest

from node.dicom import codes, gate
from node.dicom.geometry import Header

CT, MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2.1"


def header(index: int, **changes: object) -> dict[str, tuple[str, ...]]:
    found = {
        "SOPClassUID": (CT,),
        "SOPInstanceUID": (f"1.2.3.{index + 1}",),
        "StudyInstanceUID": ("1.2.1",),
        "SeriesInstanceUID": ("1.2.2",),
        "FrameOfReferenceUID": ("1.2.4",),
        "Modality": ("CT",),
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "PatientID": ("SECRET-ID",),
        "PatientName": ("SECRET^NAME",),
        "StudyDate": ("20250101",),
        "StudyTime": ("101112.5",),
        "Rows": ("512",),
        "Columns": ("512",),
        "BitsAllocated": ("16",),
        "BitsStored": ("12",),
        "HighBit": ("11",),
        "PixelRepresentation": ("0",),
        "SamplesPerPixel": ("1",),
        "PhotometricInterpretation": ("MONOCHROME2",),
        "RescaleSlope": ("1",),
        "RescaleIntercept": ("-1024",),
        "PixelSpacing": ("0.5", "0.5"),
        "SliceThickness": ("2",),
        "ImagePositionPatient": ("0", "0", str(2 * index)),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
    }
    for keyword, value in changes.items():
        if value is None:
            found.pop(keyword, None)
        else:
            found[keyword] = value if isinstance(value, tuple) else (str(value),)
    return found


def reasons(**changes: object) -> list[str]:
    """The reasons for a set of five slices of which only the fourth is changed."""
    return gate.ineligible([header(index, **(changes if index == 3 else {})) for index in range(5)])


def of_all(**changes: object) -> list[str]:
    """The reasons for a set of five slices that are all changed."""
    return gate.ineligible([header(index, **changes) for index in range(5)])


def test_a_plain_series_has_no_reason() -> None:
    assert gate.ineligible([header(index) for index in range(5)], complete=True, today=datetime.date(2025, 6, 1)) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        # DICOM_SPEC 1.6
        ({"ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "LOCALIZER stands in ImageType in 1 of 5 slices"),
        ({"LossyImageCompression": "01"}, "LossyImageCompression is set in 1 of 5 slices"),
        ({"MultienergyCTAcquisition": "YES"}, "multi-energy CT in 1 of 5 slices"),
        ({"ImageType": ("DERIVED", "PRIMARY", "AXIAL", "VMI")}, "multi-energy CT in 1 of 5 slices"),
        (
            {"ImagePositionPatient": ("0", "0", "6.5")},
            "uneven slices: a gap of 2.50 mm after slice 3 of 5, not 2.00 mm",
        ),
        ({"ImagePositionPatient": ("0", "0", "4")}, "1 of 5 slices lie at the position of another slice"),
        ({"SOPInstanceUID": "1.2.3.1"}, "1 of 5 slices repeat the SOP Instance UID of another one"),
        # the loop guard
        ({"SyntheticData": "YES"}, "SyntheticData is not NO in 1 of 5 slices"),
        (
            {"ImageType": ("DERIVED", "SECONDARY", "AXIAL", "AI_DENOISE")},
            "a value of ImageType starts with AI_ in 1 of 5 slices",
        ),
        ({"DeviceUID": codes.DEVICE_UID}, "the equipment that is named is this product in 1 of 5 slices"),
        (
            {"EquipmentDeviceUID": ("1.2", codes.DEVICE_UID)},
            "the equipment that is named is this product in 1 of 5 slices",
        ),
        # what no pipeline can take
        ({"Rows": "0"}, "Rows is 0, not within 1 to 4096"),
        ({"Columns": "65535"}, "Columns is 65535, not within 1 to 4096"),
        ({"Rows": None}, "Rows is missing or unreadable, not within 1 to 4096"),
        ({"BitsAllocated": "8"}, "BitsAllocated is 8, not 16"),
        ({"BitsStored": "0"}, "BitsStored is 0, not within 12 to 16"),
        ({"BitsStored": "64"}, "BitsStored is 64, not within 12 to 16"),
        ({"HighBit": "3"}, "HighBit is 3, where BitsStored is 12"),
        ({"PixelRepresentation": "2"}, "PixelRepresentation is 2, neither 0 nor 1"),
        ({"SamplesPerPixel": "3"}, "SamplesPerPixel is 3, not 1"),
        ({"NumberOfFrames": "-1"}, "NumberOfFrames is -1, not 1"),
        ({"NumberOfFrames": "999999"}, "NumberOfFrames is 999999, not 1"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation is RGB, not MONOCHROME1 or MONOCHROME2"),
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "PhotometricInterpretation is PALETTE COLOR, not MONOCHROME1 or MONOCHROME2",
        ),
        ({"RescaleSlope": "-1"}, "RescaleSlope is -1, not within 0.001 to 10"),
        ({"RescaleSlope": "0"}, "RescaleSlope is 0, not within 0.001 to 10"),
        ({"RescaleSlope": "1e30"}, "RescaleSlope is 1e+30, not within 0.001 to 10"),
        ({"RescaleSlope": "NaN"}, "RescaleSlope holds 'NaN', which is not a finite number"),
        ({"RescaleSlope": "inf"}, "RescaleSlope holds 'inf', which is not a finite number"),
        ({"RescaleSlope": "1e400"}, "RescaleSlope holds '1e400', which is not a finite number"),
        ({"RescaleSlope": ("1", "2")}, "RescaleSlope has 2 values, not 1"),
        ({"RescaleSlope": ()}, "RescaleSlope is empty"),
        ({"RescaleIntercept": None}, "RescaleIntercept is missing"),
        ({"RescaleIntercept": "1e9"}, "RescaleIntercept is 1e+09, beyond 65536"),
        ({"RescaleType": "US"}, "RescaleType is US, not HU"),
        ({"PixelSpacing": ("0", "0")}, "PixelSpacing is 0 and 0 mm, not positive"),
        ({"PixelSpacing": ("-1", "1")}, "PixelSpacing is -1 and 1 mm, not positive"),
        ({"PixelSpacing": ("99", "99")}, "PixelSpacing is 99 and 99 mm, more than 20 mm"),
        ({"SliceThickness": "thick"}, "SliceThickness holds 'thick', which is not a finite number"),
        ({"KVP": "0"}, "KVP is 0, not positive"),
        ({"ImageOrientationPatient": ("0",) * 6}, "ImageOrientationPatient has vectors of length 0 and 0, not 1"),
        ({"ImageType": None}, "ImageType is missing in 1 of 5 slices"),
        ({"ImageType": ("DERIVED", "SECONDARY", "MPR")}, "value 3 of ImageType is not AXIAL in 1 of 5 slices"),
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation is not NO in 1 of 5 slices"),
        ({"PatientSpeciesDescription": "Canine"}, "the species stated is not human in 1 of 5 slices"),
        ({"StudyDate": "20251345"}, "StudyDate is not a date in 1 of 5 slices"),
        ({"StudyTime": "996060"}, "StudyTime is not a time in 1 of 5 slices"),
        ({"FrameOfReferenceUID": "1.2.9"}, "2 frames of reference in one set of 5 slices"),
        ({"StudyInstanceUID": "1.2.9"}, "2 studies in one set of 5 slices"),
        ({"Rows": "256"}, "2 numbers of rows in one set of 5 slices"),
        ({"PatientID": "OTHER"}, "the slices do not all name the same patient"),
        ({"Modality": "MR"}, "mixed modalities in one set: CT, MR"),
        ({"Modality": "MR"}, "the modality is MR, but the SOP class is that of CT"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID is missing in 1 of 5 slices"),
        ({"SeriesInstanceUID": "1.2."}, "SeriesInstanceUID is not a valid UID in 1 of 5 slices"),
        ({"SOPClassUID": None}, "the SOP class is missing"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
            "the SOP class 1.2.840.10008.5.1.4.1.1.7 is neither a CT nor an MR image",
        ),
        (
            {"SOPClassUID": ENHANCED},
            "the frames of the Enhanced CT object are not known one by one",
        ),
    ],
)  # fmt: skip
def test_one_slice_of_the_set_is_enough(changes: dict[str, object], reason: str) -> None:
    assert reason in reasons(**changes)


def test_a_frame_of_reference_for_each_slice_is_a_trace_of_de_identification() -> None:
    headers = [header(index, FrameOfReferenceUID=f"1.2.4.{index + 1}") for index in range(5)]

    assert gate.ineligible(headers) == []


def test_one_slice_alone_has_no_gap() -> None:
    assert gate.ineligible([header(0)]) == ["1 slice: no gap between slices can be measured"]


def test_an_empty_set_is_a_reason() -> None:
    assert gate.ineligible([]) == ["the set holds no instance"]


def test_an_mr_series_needs_no_hounsfield_scale() -> None:
    changes = {"SOPClassUID": MR, "Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}

    assert of_all(**changes, ImageType=("ORIGINAL", "PRIMARY", "OTHER")) == []


def test_a_date_in_the_future_is_a_reason_where_today_is_known() -> None:
    headers = [header(index, StudyDate="20991231") for index in range(5)]

    assert gate.ineligible(headers) == []
    assert gate.ineligible(headers, today=datetime.date(2026, 1, 1)) == [
        "StudyDate lies in the future in 5 of 5 slices"
    ]


def test_a_scan_without_a_patient_is_a_reason_once_the_header_is_complete() -> None:
    headers: list[Header] = [header(index, PatientID=None, PatientName=()) for index in range(5)]

    assert gate.ineligible(headers) == []
    assert gate.ineligible(headers, complete=True) == [
        "neither Patient ID nor Patient's Name has a value in 5 of 5 slices"
    ]


def test_the_device_of_another_of_our_networks_can_be_named_too() -> None:
    headers = [header(index, EquipmentDeviceUID="1.2.99") for index in range(5)]

    assert gate.ineligible(headers, own_devices={"1.2.99"}) == [
        "the equipment that is named is this product in 5 of 5 slices"
    ]


def test_no_reason_names_a_patient() -> None:
    spoiled = {"PatientBirthDate": "SECRET", "StudyDate": "SECRET", "Modality": "SE\nCT"}

    assert not any("SECRET" in reason or "\n" in reason for reason in reasons(**spoiled))
