"""Derived images: the labels, references and numbers of DICOM_SPEC 1.1 to 1.5, byte for byte and repeatable."""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import codes, derive, part10, provenance, template, uids
from node.dicom.scale import Scale, to_stored
from node.dicom.source_slices import Source
from node.errors import Refuse
from tests.dicom_phantom import CT, FRAME, ROOT, SERIES, STUDY, derived, everything, item, job, series, write


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """The second source of a series that has everything, and the image derived from it."""
    folder = tmp_path_factory.mktemp("pair")
    made = derived(folder, everything, work=job(z_support=1))
    return pydicom.dcmread(series(folder / "again", everything)[1]), made[1]


# --- 1.5 regenerate -------------------------------------------------------------------------------------------------


def test_uids_are_those_that_the_sources_and_the_job_compute(pair: tuple[Dataset, Dataset]) -> None:
    source, made = pair
    work = job()
    parts = {
        "kind": "DN",
        "study_uid": STUDY,
        "model": "ct_denoise",
        "version": "1.0.0",
        **{name: work[name] for name in ("weights_sha256", "parameters_sha256", "input_digest", "generation")},
    }

    assert made.SeriesInstanceUID == uids.series_uid(**parts)
    assert made.SOPInstanceUID == uids.instance_uid(**parts, role="image", index=2)
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert made.FrameOfReferenceUID == FRAME


def test_numbers_times_and_labels_come_from_the_job(pair: tuple[Dataset, Dataset]) -> None:
    _, made = pair

    assert (made.SeriesNumber, made.InstanceNumber) == (4011, 2)
    assert {made.SeriesDate, made.ContentDate, made.InstanceCreationDate} == {"20260304"}
    assert {made.SeriesTime, made.ContentTime, made.InstanceCreationTime} == {"050607"}
    assert list(made.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "AI_DENOISE"]
    assert made.SyntheticData == "NO"
    assert made.ContentQualification == "RESEARCH"
    assert made.LossyImageCompression == "00"
    assert made.SeriesDescription == "AI DENOISED - Head 2.0 頭部"


def test_times_follow_the_offset_of_the_source_and_none_is_added(tmp_path: Path) -> None:
    def in_india(ds: Dataset, index: int) -> None:
        ds.TimezoneOffsetFromUTC = "+0530"

    made = derived(tmp_path / "a", in_india)[0]
    plain = derived(tmp_path / "b")[0]

    assert (made.SeriesDate, made.SeriesTime) == ("20260304", "093607")
    assert made.TimezoneOffsetFromUTC == "+0530"
    assert "TimezoneOffsetFromUTC" not in plain


def test_instance_numbers_rise_with_the_position(tmp_path: Path) -> None:
    made = derived(tmp_path, slices=6)

    assert [ds.InstanceNumber for ds in made] == [1, 2, 3, 4, 5, 6]
    assert [ds.ImagePositionPatient[2] for ds in made] == [50, 52, 54, 56, 58, 60]


def test_lossy_compression_of_a_source_sticks(tmp_path: Path) -> None:
    def once_lossy(ds: Dataset, index: int) -> None:
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "8.5"
        ds.LossyImageCompressionMethod = "ISO_10918_1"

    source = Source.of(part10.read(series(tmp_path, once_lossy)[0]))

    said = provenance.lossy(source)

    assert list(said.values()) == [
        template.element(0x00282110, "CS", "01"),
        template.element(0x00282112, "DS", "8.5"),
        template.element(0x00282114, "CS", "ISO_10918_1"),
    ]


def test_an_empty_character_set_is_left_out(tmp_path: Path) -> None:
    def no_charset(ds: Dataset, index: int) -> None:
        ds.PatientName, ds.SeriesDescription, ds.SpecificCharacterSet = "A^B", "plain", ""

    made = derived(tmp_path, no_charset)[0]

    assert "SpecificCharacterSet" not in made


# --- 1.1 Series Description -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charset", "text", "wanted"),
    [
        ("ISO_IR 192", "", "AI DENOISED"),
        ("ISO_IR 192", "x" * 64, "AI DENOISED - " + "x" * 50),
        ("ISO_IR 192", "頭" * 64, "AI DENOISED - " + "頭" * 50),
        ("GB18030", "王" * 60, "AI DENOISED - " + "王" * 50),
        (["", "ISO 2022 IR 87"], "山" * 60, "AI DENOISED - " + "山" * 50),
        ("ISO_IR 13", "plain", "AI DENOISED - plain"),
        ("ISO_IR 192", "cold\x1b[2Jmischief", "AI DENOISED"),
    ],
)
def test_the_description_opens_with_the_marker_and_is_cut_between_characters(
    tmp_path: Path, charset: str | list[str], text: str, wanted: str
) -> None:
    ds = Dataset()
    ds.SpecificCharacterSet = charset
    ds.SeriesDescription = text
    stream = BytesIO()
    with pydicom.config.disable_value_validation():
        pydicom.dcmwrite(stream, ds, implicit_vr=False, little_endian=True)
    source = pydicom.filereader.read_dataset(BytesIO(stream.getvalue()), False, True)

    made = provenance.series_description("AI DENOISED", source)

    assert (
        pydicom.charset.decode_bytes(made.value, pydicom.charset.convert_encodings(charset), set()).rstrip() == wanted
    )


# --- 1.2, 1.3 codes and references ----------------------------------------------------------------------------------


def test_the_first_source_is_the_slice_in_the_same_place_and_the_support_follows_nearest_first(tmp_path: Path) -> None:
    made = derived(tmp_path, slices=5, work=job(z_support=2))

    def named(index: int) -> list[tuple[str, str]]:
        return [
            (str(source.ReferencedSOPInstanceUID).rpartition(".")[2], source.SpatialLocationsPreserved)
            for source in made[index].SourceImageSequence
        ]

    assert named(2) == [("3", "YES"), ("2", "NO"), ("4", "NO"), ("1", "NO"), ("5", "NO")]
    assert named(0) == [("1", "YES"), ("2", "NO"), ("3", "NO")]
    for source in made[2].SourceImageSequence:
        (purpose,) = source.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
        assert source.ReferencedSOPClassUID == CT


def test_every_source_is_listed_by_series(tmp_path: Path) -> None:
    made = derived(tmp_path, slices=5)[3]

    (listed,) = made.ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == SERIES
    assert [instance.ReferencedSOPInstanceUID for instance in listed.ReferencedInstanceSequence] == [
        f"{SERIES}.{number}" for number in (1, 2, 3, 4, 5)
    ]


def test_series_that_the_source_refers_to_stay_listed(tmp_path: Path) -> None:
    def referring(ds: Dataset, index: int) -> None:
        instance = item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=f"{ROOT}.9")
        ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=f"{ROOT}.90", ReferencedInstanceSequence=[instance])]

    made = derived(tmp_path, referring)[0]

    assert [listed.SeriesInstanceUID for listed in made.ReferencedSeriesSequence] == [SERIES, f"{ROOT}.90"]


def test_the_derivation_says_what_was_done_by_what(pair: tuple[Dataset, Dataset]) -> None:
    _, made = pair

    assert made.DerivationDescription == (
        "Noise reduction by neural network by ct_denoise 1.0.0; input series 4; "
        'parameters {"clip_hu":[-1024,3071],"strength":1.0}; not a scanner reconstruction. '
        f"Weights sha256:{job()['weights_sha256'][:20]}. Automatic checks: 12 passed."
    )
    (derivation,) = made.DerivationCodeSequence
    assert (derivation.CodeValue, derivation.CodingSchemeDesignator) == ("DL_NR", "99GENAI")
    (scheme,) = made.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99GENAI"
    assert scheme.CodingSchemeResponsibleOrganization == "EXAMPLE VENDOR"


def test_a_caution_stands_where_the_reader_sees_it_before_the_words_of_the_source(tmp_path: Path) -> None:
    found = ["probe_r3", "protocol"]
    made = derived(tmp_path, work=job(cautions=found, marker="AI DENOISED CAUTION"))[0]

    assert made.SeriesDescription.startswith("AI DENOISED CAUTION - ")
    assert made.ImageComments.startswith("CAUTION: probe_r3, protocol. Compare with the original images.")
    assert made.DerivationDescription.endswith("Automatic checks: 10 passed; CAUTION: probe_r3, protocol.")
    assert "ImageComments" not in derived(tmp_path / "clean")[0]


def test_long_parameters_are_named_by_their_digest(tmp_path: Path) -> None:
    made = derived(tmp_path, work=job(parameters={"table": list(range(500))}))[0]

    assert "parameters sha256:cdcdcdcdcdcdcdcdcdcd;" in made.DerivationDescription
    assert len(made[0x0099, 0x1002].value) > 1500


# --- kernel conversion ----------------------------------------------------------------------------------------------


def kernel_job(kernel: str = "AI Hr40-3>soft", **changes: Any) -> dict[str, Any]:
    """What the job of a converted series says otherwise than that of a denoised one."""
    elements = {
        "ConvolutionKernel": kernel,
        "WindowCenter": "40",
        "WindowWidth": "400",
        "WindowCenterWidthExplanation": "soft",
    }
    return {
        "kind": "KC",
        "image_type": ["DERIVED", "SECONDARY", "AXIAL", "AI_KERNEL"],
        "marker": "AI KERNEL Hr40-3>soft",
        "derivation": {
            "value": "DL_KC",
            "scheme": "99GENAI",
            "meaning": "Reconstruction kernel conversion by neural network",
        },
        "elements": elements,
        "series_number": 4012,
    } | changes


def test_a_converted_image_names_both_kernels_and_takes_the_window_of_the_target(tmp_path: Path) -> None:
    def windows(ds: Dataset, index: int) -> None:
        ds.WindowCenter, ds.WindowWidth = ["900", "40"], ["2500", "80"]
        ds.WindowCenterWidthExplanation = ["BONE", "BRAIN"]

    made = derived(tmp_path, everything, windows, work=job(**kernel_job()))[0]

    assert made.ConvolutionKernel == "AI Hr40-3>soft"
    assert (made.WindowCenter, made.WindowWidth, made.WindowCenterWidthExplanation) == (40, 400, "soft")
    assert made.SeriesDescription == "AI KERNEL Hr40-3>soft - Head 2.0 頭部"
    assert made.ImageType[3] == "AI_KERNEL"
    assert made.SeriesNumber == 4012
    assert made.SyntheticData == "NO"
    assert made.DerivationCodeSequence[0].CodeValue == "DL_KC"
    assert made.ContrastBolusAgent == "AGENT"
    assert "VOILUTSequence" not in made


def test_a_denoised_image_keeps_kernel_and_window_of_its_source(tmp_path: Path) -> None:
    made = derived(tmp_path)[0]

    assert list(made.ConvolutionKernel) == ["Hr40", "3"]
    assert (made.WindowCenter, made.WindowWidth) == (40, 400)


# --- 1.4 equipment and the private block ----------------------------------------------------------------------------


def test_the_node_is_the_equipment_and_the_scanner_contributed(pair: tuple[Dataset, Dataset]) -> None:
    _, made = pair

    assert (made.Manufacturer, made.ManufacturerModelName) == ("EXAMPLE VENDOR", "imaging-node")
    assert list(made.SoftwareVersions) == ["0.1.0", "ct_denoise 1.0.0"]
    assert (made.StationName, made.DeviceSerialNumber, made.DeviceUID) == ("NODE1", "SN-1", codes.DEVICE_UID)
    scanner, network = made.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("SCANNER WORKS", "Spiral 9")
    assert (scanner.InstitutionName, scanner.StationName) == ("Test Institution", "CT9")
    assert (scanner.DeviceSerialNumber, list(scanner.SoftwareVersions)) == ("S-99", ["v1", "v2"])
    assert (scanner.DeviceUID, scanner.DateOfLastCalibration) == (f"{ROOT}.6", "20250101")
    assert scanner.ContributionDateTime == "20250102100130.5"
    assert network.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (network.Manufacturer, network.ManufacturerModelName) == ("EXAMPLE VENDOR", "ct_denoise")
    assert list(network.SoftwareVersions) == ["1.0.0", f"sha256:{('ab' * 32)[:20]}"]
    assert network.DeviceUID == codes.model_device_uid("ct_denoise", "1.0.0", "ab" * 32)
    assert network.ContributionDateTime == "20260304050607"
    assert network.ContributionDescription == "Noise reduction by neural network"


def test_equipment_that_contributed_before_stays_between(tmp_path: Path) -> None:
    def worked_on(ds: Dataset, index: int) -> None:
        ds.Manufacturer = ""
        ds.ContributingEquipmentSequence = [item(Manufacturer="WORKSTATION", DeviceUID=f"{ROOT}.66")]

    made = derived(tmp_path, worked_on)[0]

    assert [equipment.Manufacturer for equipment in made.ContributingEquipmentSequence] == [
        "UNKNOWN",
        "WORKSTATION",
        "EXAMPLE VENDOR",
    ]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "20250102100130.5"),
        ({"AcquisitionDateTime": "20250102"}, "20250102"),
        ({"AcquisitionDateTime": "2025010111:11:11"}, None),
        ({"AcquisitionDate": ""}, None),
    ],
)
def test_the_scanner_contributed_when_it_acquired(tmp_path: Path, changes: dict[str, str], wanted: str | None) -> None:
    def acquired(ds: Dataset, index: int) -> None:
        with pydicom.config.disable_value_validation():
            for keyword, value in changes.items():
                setattr(ds, keyword, value)

    with warnings.catch_warnings(action="ignore"):  # of pydicom, when it writes and reads the broken source
        made = derived(tmp_path, acquired)[0]

    assert made.ContributingEquipmentSequence[0].get("ContributionDateTime") == wanted


def test_the_private_block_is_declared_safe(pair: tuple[Dataset, Dataset]) -> None:
    _, made = pair

    values = [made[0x0099, number].value for number in (0x1001, 0x1002, 0x1003, 0x1004)]
    assert values == ["ab" * 32, '{"clip_hu":[-1024,3071],"strength":1.0}', "ef" * 32, "0"]
    (declared,) = made.PrivateDataElementCharacteristicsSequence
    assert declared.PrivateGroupReference == 0x0099
    assert declared.PrivateCreatorReference == codes.PRIVATE_CREATOR
    assert declared.BlockIdentifyingInformationStatus == "SAFE"


# --- pixels ---------------------------------------------------------------------------------------------------------


def scale(**changes: Any) -> Scale:
    return Scale(**({"slope": 1.0, "intercept": -1024.0, "lowest": 0, "highest": 4095, "padding": None} | changes))


def test_hu_become_stored_values_rounded_and_clipped_to_what_the_bits_hold() -> None:
    hu = np.array([[-2000, 0.4], [0.6, 9999]], np.float32)

    assert to_stored(hu, scale(), nothing=None).tolist() == [[0, 1024], [1025, 4095]]
    assert to_stored(hu, scale(slope=0.5), nothing=None).tolist() == [[0, 2049], [2049, 4095]]


def test_padding_is_restored_exactly_and_no_other_pixel_becomes_padding() -> None:
    nothing, was = np.array([[True, False], [False, False]]), np.array([[0, 100], [2000, 4095]], "<u2")
    hu = np.array([[40, -1024], [-1022, 40]], np.float32)

    assert to_stored(hu, scale(padding=(0, 3)), nothing=nothing, was=was).tolist() == [[0, 4], [4, 1064]]


@pytest.mark.parametrize("wild", [np.nan, np.inf])
def test_a_voxel_that_is_no_number_is_refused(wild: float) -> None:
    with pytest.raises(Refuse, match="1 voxels of a slice are not finite"):
        to_stored(np.array([[wild, 0], [0, 0]], np.float32), scale(), nothing=None)


def test_unchanged_voxels_give_the_pixels_of_the_source(tmp_path: Path) -> None:
    sources = series(tmp_path / "in", everything)
    reply = write(tmp_path, sources)

    for source, instance in zip(sources, reply["instances"], strict=True):
        assert pydicom.dcmread(instance["path"]).PixelData == pydicom.dcmread(source).PixelData


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    sources = series(tmp_path / "in", everything)

    first = write(tmp_path, sources)
    before = [Path(instance["path"]).read_bytes() for instance in first["instances"]]
    second = write(tmp_path, sources)

    assert first == second
    assert before == [Path(instance["path"]).read_bytes() for instance in second["instances"]]


def test_the_reply_describes_the_files(tmp_path: Path) -> None:
    sources = series(tmp_path / "in")
    reply = write(tmp_path, sources)

    assert reply["series_description"] == "AI DENOISED - Head 2.0 頭部"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{n:05d}.dcm" for n in (1, 2, 3, 4)]
    for number, instance in enumerate(reply["instances"], start=1):
        data = Path(instance["path"]).read_bytes()
        ds = pydicom.dcmread(BytesIO(data))
        assert (instance["bytes"], instance["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert instance["sop_instance_uid"] == ds.SOPInstanceUID
        assert instance["sop_class_uid"] == ds.SOPClassUID == CT
        assert reply["series_instance_uid"] == ds.SeriesInstanceUID
        assert instance["source_sop_instance_uid"] == f"{SERIES}.{number}"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_type": ["ORIGINAL", "PRIMARY", "AXIAL"]}, "Image Type ORIGINAL/PRIMARY/AXIAL is not that of DN"),
        ({"image_type": ["DERIVED", "SECONDARY", "AXIAL", "AI_KERNEL"]}, "is not that of DN"),
        ({"synthetic": True}, "Synthetic Data True is not that of DN"),
        ({"purpose": {"value": "109100", "scheme": "DCM", "meaning": "x"}}, "with purpose 109100 is not that of DN"),
        ({"kind": "SEG"}, "the kind SEG is not one that is written in this version"),
        ({"series_number": 2**31}, "is no IS"),
        ({"started": "2026-03-04T05:06:07"}, "has no UTC offset"),
        ({"operation": "Rauschunterdrückung"}, "not ASCII"),
        ({"elements": {"PatientName": "X"}}, "PatientName replaces what the source says"),
        (kernel_job(elements={}), "nothing replaces what the source says"),
        (kernel_job(kernel="B30f"), "Convolution Kernel 'B30f' could pass for a scanner's"),
        (kernel_job(kernel="AI B70f>STANDARDS"), "Convolution Kernel 'AI B70f>STANDARDS' could pass for a scanner's"),
    ],
)
def test_a_job_that_would_lie_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refuse, match=message):
        derived(tmp_path, work=job(**changes))

    assert not list(tmp_path.glob("out/*"))


def test_primary_as_second_value_is_allowed_where_the_specification_allows_it(tmp_path: Path) -> None:
    made = derived(tmp_path, work=job(image_type=["DERIVED", "PRIMARY", "AXIAL", "AI_DENOISE"]))

    assert made[0].ImageType[1] == "PRIMARY"


def test_a_result_of_another_shape_is_refused(tmp_path: Path) -> None:
    sources = series(tmp_path / "in")
    np.save(tmp_path / "r.npy", np.zeros((3, 48, 40), np.float32))

    with pytest.raises(Refuse, match=r"The result is float32 \(3, 48, 40\), the sources are float32 \(4, 48, 40\)"):
        derive.write_series({"sources": sources, "result": f"{tmp_path}/r.npy", "out": f"{tmp_path}/o", "job": job()})


def test_sources_out_of_order_are_refused_by_the_last_check(tmp_path: Path) -> None:
    sources = series(tmp_path / "in")
    np.save(tmp_path / "r.npy", np.zeros((4, 48, 40), np.float32))

    with pytest.raises(Refuse, match="the slices do not rise along their normal"):
        derive.write_series(
            {"sources": sources[::-1], "result": f"{tmp_path}/r.npy", "out": f"{tmp_path}/o", "job": job()}
        )
