"""What a derived image keeps and loses of its source: every row of the table of DICOM_SPEC 1.5."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from node.dicom import codes, part10
from tests.dicom_phantom import derived, everything, item, job, series, write


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """The second source of a series that has everything, and the image derived from it."""
    folder = tmp_path_factory.mktemp("pair")
    made = derived(folder, everything, work=job(z_support=1))
    return pydicom.dcmread(series(folder / "again", everything)[1]), made[1]


KEPT = (
    "SpecificCharacterSet PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime "
    "StudyID StudyDescription AccessionNumber ReferringPhysicianName RequestAttributesSequence FrameOfReferenceUID "
    "PositionReferenceIndicator AcquisitionDate AcquisitionTime AcquisitionDateTime AcquisitionNumber "
    "IrradiationEventUID KVP XRayTubeCurrent Exposure CTDIvol ProtocolName PatientPosition ReferencedImageSequence "
    "BodyPartExamined PixelSpacing ImageOrientationPatient ImagePositionPatient SliceThickness BitsStored "
    "BitsAllocated HighBit PixelRepresentation RescaleSlope RescaleIntercept RescaleType WindowCenter WindowWidth "
    "ConvolutionKernel ContrastBolusAgent ContrastBolusRoute ContrastBolusVolume QualityControlImage "
    "RecognizableVisualFeatures BurnedInAnnotation Modality Rows Columns PhotometricInterpretation"
)
DROPPED = (
    "ReferencedPerformedProcedureStepSequence PerformedProcedureStepID PerformedProcedureStepStartDate "
    "PerformedProtocolCodeSequence OperatorsName PerformingPhysicianName IconImageSequence SOPInstanceStatus "
    "OriginalAttributesSequence SourceInstanceSequence QueryRetrieveView GantryID ImagesInAcquisition "
    "SmallestImagePixelValue LargestImagePixelValue VOILUTSequence InstanceCreatorUID InstitutionName "
    "DateOfLastCalibration DataSetTrailingPadding"
)


@pytest.mark.parametrize("keyword", KEPT.split())
def test_what_the_table_keeps_is_kept(pair: tuple[Dataset, Dataset], keyword: str) -> None:
    source, made = pair

    assert made[keyword] == source[keyword]


@pytest.mark.parametrize("keyword", DROPPED.split())
def test_what_the_table_drops_is_gone(pair: tuple[Dataset, Dataset], keyword: str) -> None:
    source, made = pair

    assert keyword in source
    assert keyword not in made


def test_overlays_and_foreign_private_groups_are_gone(pair: tuple[Dataset, Dataset]) -> None:
    source, made = pair

    assert (0x6000, 0x3000) in source
    assert not [tag for tag in made if tag.tag.group >> 8 == 0x60]
    assert {element.tag.group for element in made if element.tag.is_private} == {0x0099}
    assert made[0x0099, 0x0010].value == codes.PRIVATE_CREATOR


def test_private_elements_inside_kept_sequences_are_gone(tmp_path: Path) -> None:
    def hidden(ds: Dataset, index: int) -> None:
        inner = item(ScheduledProcedureStepID="S")
        inner.private_block(0x0029, "HIDDEN", create=True).add_new(1, "LO", "secret")
        ds.RequestAttributesSequence = [inner]

    made = derived(tmp_path, hidden)[0]

    assert [element.tag.group for element in made.RequestAttributesSequence[0]] == [0x0040]


@pytest.mark.parametrize("present", ["absent", "empty", "stated"])
def test_laterality_and_body_part_keep_their_state(tmp_path: Path, present: str) -> None:
    def state(ds: Dataset, index: int) -> None:
        if present != "absent":
            ds.Laterality = "L" if present == "stated" else ""

    made = derived(tmp_path, state)[0]

    assert ("Laterality" in made) is (present != "absent")
    assert made.get("Laterality", None) == {"absent": None, "empty": "", "stated": "L"}[present]


@pytest.mark.parametrize("part", [None, "", "PARTIALBODY", "KNEE"])
def test_the_side_is_stated_as_unknown_where_the_body_part_may_have_one(tmp_path: Path, part: str | None) -> None:
    def somewhere(ds: Dataset, index: int) -> None:
        del ds.BodyPartExamined
        if part is not None:
            ds.BodyPartExamined = part

    made = derived(tmp_path, somewhere)[0]

    assert made.get("BodyPartExamined") == part
    assert made["Laterality"].is_empty


def test_type_2_attributes_that_a_source_lacks_are_empty(tmp_path: Path) -> None:
    def lacking(ds: Dataset, index: int) -> None:
        del ds.AcquisitionNumber, ds.KVP, ds.StudyID

    made = derived(tmp_path, lacking)[0]

    assert all(made[keyword].is_empty for keyword in ("AcquisitionNumber", "KVP", "StudyID"))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (b"ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".encode()),
        (b"\\ISO 2022 IR 87 ", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (b"ISO_IR 100", "Müller^Jürgen".encode("latin-1")),
        (b"GB18030 ", "Wang^XiaoDong=王^小东".encode("gb18030")),
        (b"ISO_IR 100", b"Name^With \xff\xfe bytes of no meaning"),
    ],
)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_a_name_in_any_character_set_passes_byte_for_byte(
    tmp_path: Path, charset: bytes, name: bytes, syntax: pydicom.uid.UID | None
) -> None:
    name += b" " * (len(name) % 2)
    sources = series(tmp_path / "in", **({"syntax": syntax} if syntax else {}))
    for path in sources:
        _replace_value(path, 0x00080005, charset)
        _replace_value(path, 0x00100010, name)

    reply = write(tmp_path, sources)

    made = part10.read(reply["instances"][0]["path"]).dataset
    assert part10.raw(made, 0x00080005) == charset
    assert part10.raw(made, 0x00100010) == name


def _replace_value(path: str, tag: int, value: bytes) -> None:
    part = part10.read(path)
    data = Path(path).read_bytes()
    element = part.dataset._dict[pydicom.tag.Tag(tag)]
    start = len(data) - len(part.data) + element.value_tell
    size = 4 if element.is_implicit_VR else 2
    length = len(value).to_bytes(size, "little")
    Path(path).write_bytes(data[: start - size] + length + value + data[start + element.length :])
