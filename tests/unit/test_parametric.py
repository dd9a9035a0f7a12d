"""The map beside derived images: what its values mean, and what it says of itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import parametric, parametric_checks, part10, source_slices
from node.dicom.job import Job
from node.dicom.quantized import Quantized
from node.dicom.uids import form_series_uid
from node.errors import Refuse
from tests import dicom_lint, map_phantom

FACTORS = {"SCE": 1, "ZSR": 4}
KINDS = tuple(FACTORS)
_SAME = "PatientName PatientID PatientSex StudyInstanceUID StudyDescription StudyDate FrameOfReferenceUID"


def written(folder: Path, kind: str, **changes: Any) -> tuple[Path, NDArray[np.float32], list[str]]:
    """A map on disk, its values, and the files of its sources."""
    sources = map_phantom.series(folder / "in")
    made = map_phantom.values(kind, factor=FACTORS[kind])
    reply = map_phantom.write(folder, kind, sources, made, **changes)
    return Path(reply["instances"][0]["path"]), made, sources


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_of_maps_gets_the_values_back_to_half_a_step(tmp_path: Path, kind: str) -> None:
    path, made, _ = written(tmp_path, kind)

    read = highdicom.pm.ParametricMap.from_file(path)
    item = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    shown = read.get_frames(apply_real_world_transform=True)

    assert shown.shape == made.shape
    assert np.abs(shown - made).max() <= item.RealWorldValueSlope / 2 * (1 + 1e-6)
    assert item.RealWorldValueSlope <= np.abs(made).max() / 32767 * (1 + 1e-6), "all of the 16 bits are used"
    assert (shown[made == 0.0] == 0.0).all(), "nothing is exactly nothing"
    assert (shown < 0.0).any() == (kind == "ZSR")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_with_a_voxel_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    made = map_phantom.values("SCE")
    made[2, 7, 7] = value

    with pytest.raises(Refuse, match="1 voxels of slice 3"):
        map_phantom.write(tmp_path, "SCE", map_phantom.series(tmp_path / "in"), made)
    assert not list((tmp_path / "out").glob("*"))


def test_a_deviation_below_zero_is_refused_and_an_addition_is_not(tmp_path: Path) -> None:
    sources, made = map_phantom.series(tmp_path / "in"), map_phantom.values("ZSR")
    assert made.min() < 0.0

    map_phantom.write(tmp_path, "ZSR", sources, made)
    with pytest.raises(Refuse, match="not negative"):
        map_phantom.write(tmp_path, "SCE", sources, made)


@pytest.mark.parametrize("value", [0.0, 7.25])
@pytest.mark.parametrize("signed", [True, False])
def test_a_map_that_is_the_same_everywhere_keeps_its_value(value: float, signed: bool) -> None:
    made = np.full((3, 8, 8), value, np.float32)

    mapping = Quantized.of(made, signed=signed)
    shown = mapping.stored(made[0]) * mapping.slope + mapping.intercept

    assert np.allclose(shown, value, rtol=1e-6)
    assert mapping.window(made)[1] >= 1.0


def test_a_map_is_in_stored_values_of_the_images(tmp_path: Path) -> None:
    def rescaled(ds: Dataset, index: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = "2.5", "3"

    made = map_phantom.values("SCE")
    plain = map_phantom.write(tmp_path, "SCE", map_phantom.series(tmp_path / "in"), made)
    scaled = map_phantom.write(tmp_path, "SCE", map_phantom.series(tmp_path / "of", rescaled), made, out="also")

    one, other = (
        highdicom.pm.ParametricMap.from_file(reply["instances"][0]["path"]).get_frames(apply_real_world_transform=True)
        for reply in (plain, scaled)
    )
    assert np.allclose(one, 2.5 * other, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_write_the_same_bytes(tmp_path: Path, kind: str) -> None:
    sources, made = map_phantom.series(tmp_path / "in"), map_phantom.values(kind, factor=FACTORS[kind])

    one, other = (map_phantom.write(tmp_path, kind, sources, made, out=out) for out in ("one", "two"))

    assert Path(one["instances"][0]["path"]).read_bytes() == Path(other["instances"][0]["path"]).read_bytes()
    assert one["instances"][0]["sha256"] == other["instances"][0]["sha256"]


def test_what_highdicom_draws_is_not_in_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    real = parametric._constructed

    def watched(*given: Any) -> Any:
        made = real(*given)
        drawn.append([str(one.DimensionOrganizationUID) for one in made.DimensionIndexSequence])
        return made

    monkeypatch.setattr(parametric, "_constructed", watched)
    path, _, sources = written(tmp_path, "SCE")
    map_phantom.write(tmp_path, "SCE", sources, map_phantom.values("SCE"), out="again")

    assert drawn[0] != drawn[1], "the control: highdicom draws a UID at random"
    ds = pydicom.dcmread(path)
    organization = ds.DimensionOrganizationSequence[0].DimensionOrganizationUID
    assert ds.DimensionIndexSequence[0].DimensionOrganizationUID == organization
    assert not any(uid in path.read_bytes().decode("latin-1") for uid in drawn[0])
    assert (ds.ContentDate, ds.ContentTime, ds.InstanceCreationTime) == ("20260304", "050607", "050607")


def test_the_uids_are_those_of_the_work_and_of_nothing_else(tmp_path: Path) -> None:
    sources = map_phantom.series(tmp_path / "in")
    made = map_phantom.values("SCE")
    first = map_phantom.write(tmp_path, "SCE", sources, made)["instances"][0]["sop_instance_uid"]

    same = map_phantom.write(tmp_path, "SCE", sources, made * 2, out="b")["instances"][0]["sop_instance_uid"]
    later = map_phantom.write(tmp_path, "SCE", sources, made, out="c", generation=1)
    images = Job.of(map_phantom.job("SCE"))
    study = map_phantom.dicom_phantom.STUDY

    assert same == first, "other values of the same work: the caller raises the generation"
    assert later["instances"][0]["sop_instance_uid"] != first
    assert first not in {images.instance_uid(study, index) for index in range(1, 6)} | {images.enhanced_uid(study)}
    assert pydicom.dcmread(tmp_path / "out/map.dcm").SeriesInstanceUID == form_series_uid(
        images.series_uid(study), "map"
    )


def test_every_frame_names_its_sources_and_lies_where_the_image_does(tmp_path: Path) -> None:
    path, _, _ = written(tmp_path, "ZSR")
    ds = pydicom.dcmread(path)

    frames = ds.PerFrameFunctionalGroupsSequence
    depths = [float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in frames]
    assert depths == [49.25 + 0.5 * number for number in range(20)]
    assert ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 0.5
    for number, frame in enumerate(frames):
        named = frame.DerivationImageSequence[0].SourceImageSequence
        nearest = [int(one.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1 for one in named]
        assert nearest[0] == number // 4
        assert len(nearest) == (2 if number // 4 in (0, 4) else 3)
        assert {one.SpatialLocationsPreserved for one in named} == {"NO"}
        assert frame.DerivationImageSequence[0].DerivationCodeSequence[0].CodeValue == "113062"
    assert len(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 5


def test_series_of_other_roles_are_sources_too(tmp_path: Path) -> None:
    other = {
        "role": "t2",
        "series_uid": "1.2.3.9",
        "slices": [[map_phantom.MR, f"1.2.3.9.{number}", 0] for number in range(1, 4)],
        "reach": [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]],
        "resampled": True,
    }
    path, _, _ = written(tmp_path, "SCE", others=[other], z_support=0)
    ds = pydicom.dcmread(path)

    named = ds.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence
    assert [one.SpatialLocationsPreserved for one in named] == ["YES", "NO", "NO"]
    assert [one.ReferencedSOPInstanceUID for one in named][1:] == ["1.2.3.9.1", "1.2.3.9.2"]
    assert [one.SeriesInstanceUID for one in ds.ReferencedSeriesSequence][1:] == ["1.2.3.9"]


def test_patient_and_study_are_the_sources_own_bytes(tmp_path: Path) -> None:
    path, _, sources = written(tmp_path, "SCE", cautions=["noise_kept"])
    ds, source = pydicom.dcmread(path), pydicom.dcmread(sources[0])

    for keyword in _SAME.split():
        assert ds[keyword].value == source[keyword].value
    assert ds.SeriesDescription.startswith("AI UNCERTAINTY MAP")
    assert ds.ImageComments.startswith("CAUTION")
    assert ds.SyntheticData == "YES"
    assert [one.PurposeOfReferenceCodeSequence[0].CodeValue for one in ds.ContributingEquipmentSequence] == [
        "109101",
        "109102",
    ]
    assert "DeviceUID" in ds.ContributingEquipmentSequence[1]
    assert "EchoTime" not in ds
    assert "RepetitionTime" not in ds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(bool(dicom_lint.missing_tools()), reason="dicom3tools are not installed: deploy/setup-peers.sh")
def test_the_validators_find_nothing_but_what_is_allowed(tmp_path: Path, kind: str) -> None:
    path, _, sources = written(tmp_path, kind, others=[])

    assert dicom_lint.lint(path, sources[0]) == []
    assert dicom_lint.entities([path, *sources]) == dicom_lint.entities(sources)

    broken = pydicom.dcmread(path)
    del broken.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    broken.StudyDescription = "Another"
    broken.save_as(tmp_path / "broken.dcm")
    assert any("RealWorldValueMapping" in line for line in dicom_lint.lint(tmp_path / "broken.dcm", sources[0]))
    assert dicom_lint.entities([tmp_path / "broken.dcm", *sources]) != dicom_lint.entities(sources)


def _at(ds: Dataset, path: str) -> tuple[Any, str]:
    *groups, last = path.split(".")
    for name in groups:
        keyword, _, number = name.partition(":")
        ds = getattr(ds, keyword)[int(number or 0)]
    return ds, last


SHARED, FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence:2"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "VOLUME", "QUANTITY"], "Image Type"),
        ("SyntheticData", "NO", "Synthetic Data"),
        ("PatientID", "SOMEBODY ELSE", "PatientID"),
        ("Rows", 47, "Rows"),
        ("SeriesInstanceUID", map_phantom.dicom_phantom.SERIES, "Series Instance UID"),
        ("SeriesDescription", "Head", "marker"),
        ("ContrastBolusAgent", "GD", "contrast agent"),
        ("OperatorsName", "Nobody", "left over"),
        ("ReferencedSeriesSequence", [], "every source"),
        (f"{SHARED}.PixelValueTransformationSequence.RescaleSlope", "2", "identity"),
        (f"{SHARED}.RealWorldValueMappingSequence.RealWorldValueSlope", 0.0, "no slope"),
        (f"{SHARED}.RealWorldValueMappingSequence.RealWorldValueIntercept", 0.0, "wrong end"),
        (f"{SHARED}.RealWorldValueMappingSequence.MeasurementUnitsCodeSequence.CodeValue", "mm", "unit"),
        (f"{SHARED}.RealWorldValueMappingSequence.QuantityDefinitionSequence", [], "quantity"),
        (f"{SHARED}.FrameVOILUTSequence", None, "window"),
        (f"{SHARED}.PixelMeasuresSequence.SliceThickness", "2", "Thickness"),
        (f"{FRAME}.PlanePositionSequence.ImagePositionPatient", ["-10", "-12", "50.75"], "frame 3"),
        (f"{FRAME}.DerivationImageSequence.SourceImageSequence", [], "frame 3"),
        (f"{FRAME}.FrameContentSequence.DimensionIndexValues", [2], "frame 3"),
    ],
)
def test_our_own_assertions_see_what_validators_do_not(tmp_path: Path, path: str, value: Any, said: str) -> None:
    file, _, sources = written(tmp_path, "ZSR")
    job, slices = Job.of(map_phantom.job("ZSR", factor=4)), source_slices.read([Path(one) for one in sources], [0] * 5)
    assert parametric_checks.violations(job, part10.read(file), slices) == []

    ds = pydicom.dcmread(file)
    where, keyword = _at(ds, path)
    if value is None:
        delattr(where, keyword)
    else:
        setattr(where, keyword, value)
    ds.save_as(tmp_path / "other.dcm")

    wrong = parametric_checks.violations(job, part10.read(tmp_path / "other.dcm"), slices)
    assert any(said in line for line in wrong), wrong


def test_what_does_not_fit_its_sources_is_refused(tmp_path: Path) -> None:
    sources = map_phantom.series(tmp_path / "in")
    with pytest.raises(Refuse, match="the images are float32"):
        map_phantom.write(tmp_path, "SCE", sources, map_phantom.values("SCE")[:, :40])

    def nowhere(ds: Dataset, index: int) -> None:
        del ds.FrameOfReferenceUID

    with pytest.raises(Refuse, match="frame of reference"):
        map_phantom.write(tmp_path, "SCE", map_phantom.series(tmp_path / "no", nowhere), map_phantom.values("SCE"))


def test_a_leaning_stack_that_was_sent_head_first_keeps_its_order(tmp_path: Path) -> None:
    """Frames stand as the images do, whatever the normal points to."""

    def turned(ds: Dataset, index: int) -> None:
        ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]  # sagittal: the normal points to the right
        ds.ImagePositionPatient = [50.0 - 2.0 * index, -10.0, 40.0]

    made = map_phantom.values("SCE")
    made[0] = 1.0
    reply = map_phantom.write(tmp_path, "SCE", map_phantom.series(tmp_path / "in", turned), made)
    ds = highdicom.pm.ParametricMap.from_file(reply["instances"][0]["path"])

    assert [float(one.PlanePositionSequence[0].ImagePositionPatient[0]) for one in ds.PerFrameFunctionalGroupsSequence][
        :2
    ] == [50.0, 48.0]
    assert np.allclose(ds.get_frames(apply_real_world_transform=True)[0], 1.0, atol=1e-3)


def test_a_large_map_takes_the_memory_of_few_slices(tmp_path: Path) -> None:
    """160 slices of 512 x 512: 168 MB of values, 84 MB of pixels, written by a process of its own.

    A small map first: what highdicom loads at its first object stays, however large the next one is.
    """
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from tests import map_phantom
folder = Path(sys.argv[1])
map_phantom.ROWS = map_phantom.COLUMNS = 512
sources = map_phantom.series(folder / "in", slices=40)
values = np.lib.format.open_memmap(folder / "map.npy", mode="w+", dtype=np.float32, shape=(160, 512, 512))
for at in range(160):
    values[at] = np.random.default_rng(at).normal(0, 9, (512, 512))
    if at % 8 == 0:
        values.flush()
        values.base.madvise(4)
values.flush()
values.base.madvise(4)
from node.dicom import parametric
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(folder / "few").mkdir()
few = np.array(values[:20])
map_phantom.write(folder / "few", "ZSR", sources[:5], few)
before = peak()
work = map_phantom.job("ZSR", factor=4)
parametric.write_map({"sources": sources, "map": str(folder / "map.npy"), "out": str(folder / "out"), "job": work})
print(before, peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out/map.dcm").stat().st_size > 160 * 512 * 512 * 2
    assert int(ran.stdout.split()[1]) < 60 << 10, f"kB: {ran.stdout}"
