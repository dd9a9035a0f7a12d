"""The two MR outputs: what they say of themselves, of their sources and of their place; and that a lie is found."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom import codes, derive, frames, gate, overlay, part10, scan
from node.dicom.classic import ClassicSeries
from node.dicom.job import Job
from node.dicom.places import Places
from node.dicom.source_slices import read
from node.dicom.validate import Series
from node.dicom.whole import Whole
from node.errors import Refuse
from tests.derived_frames import derived, of_kind, sce_job, zsr_job
from tests.dicom_phantom import ROOT, item, slice_of_ct
from tests.enhanced_phantom import enhanced

MR = "1.2.840.10008.5.1.4.1.1.4"
GAP_MM, SLICES = 4.0, 4
OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # normal (-0.6, 0.8, 0)
Change = Callable[[Dataset, int], None]


def mr_series(folder: Path, *changes: Change, slices: int = SLICES, size: int = 96) -> list[str]:
    """Single-frame MR images in geometric order: stored values from 0 to 1000."""
    paths = []
    for index in range(slices):
        ds = slice_of_ct(index, rows=size, columns=size, gap_mm=GAP_MM)
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "KVP", "XRayTubeCurrent", "Exposure"):
            delattr(ds, keyword)
        del ds.ConvolutionKernel
        ds.SOPClassUID, ds.Modality, ds.SOPInstanceUID = MR, "MR", f"{ROOT}.50.{index + 1}"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType = "GR", "SP", "2D"
        ds.EchoTime, ds.RepetitionTime, ds.SliceLocation = "4", "25", str(10 + GAP_MM * index)
        ds.SliceThickness, ds.SpacingBetweenSlices = "4", "4"
        stored = np.random.default_rng(index).integers(0, 1000, (size, size))
        ds.PixelData = stored.astype("<u2").tobytes()
        for change in changes:
            change(ds, index)
        paths.append(_saved(ds, folder / f"{index:02d}.dcm"))
    return paths


def _saved(ds: Dataset, path: Path) -> str:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = UID(MR), ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return str(path)


def made(folder: Path, work: dict[str, Any], *changes: Change, **shape: int) -> list[Dataset]:
    reply = derived(folder, mr_series(folder / "in", *changes, **shape), work)
    return [pydicom.dcmread(instance["path"]) for instance in reply["instances"]]


def others(**changes: Any) -> dict[str, Any]:
    series_uid = changes.get("series_uid", f"{ROOT}.60")
    slices = [[MR, f"{series_uid}.{number}", 0] for number in range(1, SLICES + 1)]
    return {"role": "T2", "series_uid": series_uid, "slices": slices, "reach": None, "resampled": False, **changes}


def named(ds: Dataset) -> list[tuple[str, str]]:
    return [
        (str(one.ReferencedSOPInstanceUID).removeprefix(f"{ROOT}."), str(one.SpatialLocationsPreserved))
        for one in ds.SourceImageSequence
    ]


# --- synthetic contrast ---------------------------------------------------------------------------------------------


def contrasted(ds: Dataset, index: int) -> None:
    ds.ContrastBolusRoute, ds.ContrastBolusVolume, ds.ContrastFlowRate = "IV", "0", "0"
    ds.ContrastBolusAgent = ""


def test_synthetic_contrast_says_what_it_is_and_names_no_agent(tmp_path: Path) -> None:
    ds = made(tmp_path, sce_job(), contrasted)[1]

    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "AI_SYNTH_CE"]
    assert (ds.SyntheticData, ds.SeriesDescription) == ("YES", "SYNTHETIC CE T1 (AI) NOT ACQUIRED")
    assert ds.DerivationDescription.endswith("No contrast agent was administered.")
    assert ds.ImageComments.startswith("SYNTHETIC image")
    assert "No contrast agent was administered." in ds.ImageComments
    assert ds.ContributingEquipmentSequence[-1].PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert [keyword for keyword in codes.CONTRAST if keyword in ds] == []


def test_the_overlay_reads_synthetic_and_the_pixels_are_those_of_the_result(tmp_path: Path) -> None:
    images = made(tmp_path, sce_job())
    result = np.load(tmp_path / "result.npy")

    for number, ds in enumerate(images):
        assert np.array_equal(ds.pixel_array, np.clip(np.rint(result[number]), 0, None))
        assert (ds[0x60000040].value, ds[0x60001500].value) == ("G", "SYNTHETIC - AI")
        assert np.array_equal(ds.overlay_array(0x6000), overlay.drawn("SYNTHETIC - AI", 96, 96))


@pytest.mark.parametrize(("size", "high"), [(256, 7), (320, 7), (512, 14)])
def test_the_words_stand_in_the_upper_left_corner(size: int, high: int) -> None:
    plane = overlay.drawn("SYNTHETIC - AI", size, size)
    rows, columns = np.nonzero(plane)

    assert rows.max() - rows.min() + 1 == high
    assert rows.max() < 0.07 * size
    assert columns.max() < 0.36 * size


def test_an_image_without_room_for_the_words_is_refused() -> None:
    with pytest.raises(Refuse, match="no room for the words"):
        overlay.drawn("SYNTHETIC - AI", 32, 32)


def test_the_sources_are_t1_its_neighbours_and_what_of_the_others_has_a_part(tmp_path: Path) -> None:
    reach = [[0, 1], [0, 2], [1, 3], [3, 3]]
    images = made(tmp_path, sce_job(others=[others(), others(series_uid=f"{ROOT}.61", reach=reach, resampled=True)]))

    assert named(images[1])[:6] == [
        ("50.2", "YES"), ("50.1", "NO"), ("50.3", "NO"), ("60.2", "YES"), ("60.1", "NO"), ("60.3", "NO")
    ]  # fmt: skip
    only = made(tmp_path / "b", sce_job(others=[others(reach=reach, resampled=True)]))
    assert named(only[0]) == [("50.1", "YES"), ("50.2", "NO"), ("60.1", "NO"), ("60.2", "NO")]
    assert named(only[3]) == [("50.4", "YES"), ("50.3", "NO"), ("60.2", "NO"), ("60.3", "NO")]
    listed = {one.SeriesInstanceUID: len(one.ReferencedInstanceSequence) for one in only[0].ReferencedSeriesSequence}
    assert listed[f"{ROOT}.60"] == SLICES
    assert len(listed) == 2


def test_a_source_with_contrast_agent_is_refused(tmp_path: Path) -> None:
    def given(ds: Dataset, index: int) -> None:
        ds.ContrastBolusAgent = "GADOBUTROL"

    with pytest.raises(Refuse, match="acquired with a contrast agent"):
        made(tmp_path, sce_job(), given)
    assert made(tmp_path / "z", zsr_job(GAP_MM), given)[0].ContrastBolusAgent == "GADOBUTROL"


def test_a_brain_is_named_where_nothing_is_and_has_no_side(tmp_path: Path) -> None:
    def unnamed(ds: Dataset, index: int) -> None:
        del ds.BodyPartExamined
        ds.Laterality = ""

    ds = made(tmp_path, sce_job(), unnamed)[0]
    finer = made(tmp_path / "z", zsr_job(GAP_MM), unnamed)[0]

    assert ds.BodyPartExamined == "BRAIN"
    assert "Laterality" not in ds
    assert "BodyPartExamined" not in finer
    assert finer.Laterality == ""
    assert made(tmp_path / "h", sce_job())[0].BodyPartExamined == "HEAD"


def brighter(folder: Path, work: dict[str, Any], factor: float, *changes: Change) -> list[Dataset]:
    files = mr_series(folder / "in", *changes)
    values = np.stack([pydicom.dcmread(file).pixel_array for file in files]).astype(np.float32) * factor
    np.save(folder / "result.npy", values)
    request = {"sources": files, "result": f"{folder}/result.npy", "out": f"{folder}/out", "job": work}
    return [pydicom.dcmread(one["path"]) for one in derive.write_series(request)["instances"]]


def test_bits_grow_where_the_values_need_them_and_never_clip(tmp_path: Path) -> None:
    kept, grown = brighter(tmp_path / "a", sce_job(), 2.0), brighter(tmp_path / "b", sce_job(), 8.0)

    assert {(ds.BitsStored, ds.HighBit) for ds in kept} == {(12, 11)}
    assert {(ds.BitsStored, ds.HighBit) for ds in grown} == {(16, 15)}
    assert all(np.array_equal(b.pixel_array, a.pixel_array * 4) for a, b in zip(kept, grown, strict=True))
    with pytest.raises(Refuse, match="16 bits in the unit of its source do not hold"):
        brighter(tmp_path / "c", sce_job(), 100.0)


def test_the_window_is_one_for_the_series_and_of_its_own_voxels(tmp_path: Path) -> None:
    def windowed(ds: Dataset, index: int) -> None:
        ds.WindowCenter, ds.WindowWidth = [10, 20], [30, 40]
        ds.WindowCenterWidthExplanation, ds.VOILUTFunction = ["A", "B"], "SIGMOID"

    images = brighter(tmp_path, sce_job(), 2.0, windowed)

    every = np.sort(np.stack([ds.pixel_array[::4, ::4] for ds in images]).ravel())
    low, high = (float(every[int(np.ceil(share * every.size)) - 1]) for share in (0.01, 0.998))
    assert {(float(ds.WindowCenter), float(ds.WindowWidth)) for ds in images} == {((low + high) / 2, high - low)}
    assert all("WindowCenterWidthExplanation" not in ds and "VOILUTFunction" not in ds for ds in images)


def test_stored_values_with_a_slope_arrive_as_they_were_made(tmp_path: Path) -> None:
    def scaled(ds: Dataset, index: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = "0.3", "-7"

    files = mr_series(tmp_path / "in", scaled)
    stored = np.repeat(np.stack([pydicom.dcmread(file).pixel_array for file in files]), 2, axis=0) + 3
    np.save(tmp_path / "result.npy", (stored * 0.3 - 7).astype(np.float32))
    request = {"sources": files, "result": f"{tmp_path}/result.npy", "out": f"{tmp_path}/out", "job": zsr_job(GAP_MM)}

    images = [pydicom.dcmread(one["path"]) for one in derive.write_series(request)["instances"]]

    assert np.array_equal(np.stack([ds.pixel_array for ds in images]), stored)
    assert all("RescaleSlope" not in ds for ds in images)


# --- finer slices ---------------------------------------------------------------------------------------------------


def oblique(ds: Dataset, index: int) -> None:
    ds.ImageOrientationPatient = OBLIQUE
    ds.ImagePositionPatient = [5 - 0.6 * GAP_MM * index, 7 + 0.8 * GAP_MM * index, 20]


def downwards(ds: Dataset, index: int) -> None:
    ds.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]  # the normal points down
    ds.ImagePositionPatient = [-10, 12, 50 - GAP_MM * index]
    ds.SliceLocation = str(10 - GAP_MM * index)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("change", [lambda ds, index: None, oblique, downwards])
def test_finer_slices_stand_evenly_in_their_slabs(tmp_path: Path, change: Change, factor: int) -> None:
    images = made(tmp_path, zsr_job(GAP_MM, factor), change, size=64)
    sources = [pydicom.dcmread(file) for file in sorted((tmp_path / "in").glob("*.dcm"))]
    places = np.array([ds.ImagePositionPatient for ds in images], float)

    assert [ds.InstanceNumber for ds in images] == list(range(1, SLICES * factor + 1))
    assert {float(ds.SliceThickness) for ds in images} == {round(GAP_MM / factor, 9)}
    assert {float(ds.SpacingBetweenSlices) for ds in images} == {round(GAP_MM / factor, 9)}
    assert np.allclose(np.diff(places, axis=0), (places[-1] - places[0]) / (len(places) - 1), atol=1e-6)
    centres = places.reshape(SLICES, factor, 3).mean(1)
    assert np.allclose(centres, [ds.ImagePositionPatient for ds in sources], atol=1e-6)
    locations = np.array([float(ds.SliceLocation) for ds in images]).reshape(SLICES, factor).mean(1)
    assert np.allclose(locations, [float(ds.SliceLocation) for ds in sources], atol=1e-6)
    assert len({ds.SOPInstanceUID for ds in images} | {ds.SOPInstanceUID for ds in sources}) == SLICES * (factor + 1)
    assert {ds.FrameOfReferenceUID for ds in images} == {sources[0].FrameOfReferenceUID}


def test_finer_slices_name_all_in_reach_nearest_first_and_none_as_in_place(tmp_path: Path) -> None:
    images = made(tmp_path, zsr_job(GAP_MM, 4, z_support=1))

    assert named(images[0]) == [("50.1", "NO"), ("50.2", "NO")]
    assert named(images[4]) == [("50.2", "NO"), ("50.1", "NO"), ("50.3", "NO")]
    assert named(images[7]) == [("50.2", "NO"), ("50.3", "NO"), ("50.1", "NO")]
    whole = made(tmp_path / "w", zsr_job(GAP_MM, 4, z_support=SLICES))
    assert [len(named(ds)) for ds in whole] == [SLICES] * 16


def test_finer_slices_promise_no_resolution_and_take_the_time_of_the_nearest(tmp_path: Path) -> None:
    def timed(ds: Dataset, index: int) -> None:
        ds.AcquisitionTime, ds.ImagesInAcquisition = f"1001{index:02d}", str(SLICES)

    images = made(tmp_path, zsr_job(GAP_MM, 2), timed)

    assert {ds.SeriesDescription for ds in images} == {"AI SUPER-RES Z 2mm spacing - Head 2.0 頭部"}
    assert "Measured through-plane FWHM 1.9 mm." in images[0].DerivationDescription
    assert images[0].DerivationDescription.endswith("Detail between acquired slices is estimated.")
    assert [ds.AcquisitionTime[-1] for ds in images] == list("00112233")
    assert "ImagesInAcquisition" not in images[0]


def test_an_uneven_stack_has_no_finer_one(tmp_path: Path) -> None:
    def uneven(ds: Dataset, index: int) -> None:
        ds.ImagePositionPatient = [-10.0, -12.0, 50 + GAP_MM * index + (index == 2)]

    with pytest.raises(Refuse, match=r"Image Position \(Patient\) is not that of a sub-slice"):
        made(tmp_path, zsr_job(GAP_MM), uneven)


def test_ranges_make_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    for number, work in enumerate((sce_job(others=[others()]), zsr_job(GAP_MM, 3))):
        folder = tmp_path / str(number)
        files = mr_series(folder / "in")
        at_once = [Path(one["path"]).read_bytes() for one in derived(folder, files, work)["instances"]]
        request = {
            "sources": files, "result": f"{folder}/result.npy", "out": f"{folder}/parts", "job": work
        }  # fmt: skip
        half = len(at_once) // 2
        late = derive.write_series(request | {"range": (half, len(at_once))})["instances"]
        early = derive.write_series(request | {"range": (0, half)})["instances"]

        assert [Path(one["path"]).read_bytes() for one in early + late] == at_once


# --- jobs and images that lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (sce_job(synthetic=False), "Synthetic Data False is not that of SCE"),
        (sce_job(marker="CE T1"), "does not open with 'SYNTHETIC CE T1"),
        (sce_job(factor=2), "2 images for one slice"),
        (sce_job(purpose={"value": "109102", "scheme": "DCM", "meaning": "Processing Equipment"}), "109102"),
        (sce_job(others=[others(reach=[[0, 1]] * 3)]), "names 3 slices of 4"),
        (sce_job(others=[others(reach=[[0, 9]] * 4)]), "incomplete"),
        (zsr_job(GAP_MM, note=""), "does not say the measured FWHM"),
        (zsr_job(GAP_MM, z_support=0), "with 0 neighbours"),
        (zsr_job(GAP_MM, factor=1), "1 images for one slice"),
        (zsr_job(GAP_MM, marker="AI SUPER-RES Z 1mm spacing"), "thickness, spacing and Series Description"),
    ],
)
def test_a_job_that_would_lie_is_refused(tmp_path: Path, work: dict[str, Any], message: str) -> None:
    with pytest.raises(Refuse, match=message):
        made(tmp_path, work)


def _sets(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def _without(*tags: int) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for tag in tags:
            del ds[tag]

    return change


def _no_words(ds: Dataset) -> None:
    ds[0x60003000].value = bytes(len(ds[0x60003000].value))


def _second_overlay(ds: Dataset) -> None:
    ds.add_new(0x60020010, "US", 1)


def _in_place(number: int, said: str) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds.SourceImageSequence[number], "SpatialLocationsPreserved", said)


def _moved(ds: Dataset) -> None:
    x, y, z = ds.ImagePositionPatient
    ds.ImagePositionPatient = [x, y, float(z) + 0.05]


LIES: list[tuple[str, Callable[[Dataset], None], str]] = [
    ("SCE", _sets("ContrastBolusRoute", "IV"), "ContrastBolusRoute is not true of SCE"),
    ("SCE", _sets("ContrastBolusAgentSequence", [item(CodeMeaning="x")]), "ContrastBolusAgentSequence is not true"),
    ("SCE", _no_words, "the overlay is not the one that marks"),
    ("SCE", _without(0x60003000), "the overlay is not the one that marks"),
    ("SCE", _second_overlay, "the overlay is not the one that marks"),
    ("SCE", _sets("ImageComments", "a fine picture"), "Image Comments do not say what the image is"),
    ("SCE", _sets("DerivationDescription", "made"), "Derivation Description does not say"),
    ("SCE", _sets("HighBit", 15), "do not agree"),
    ("SCE", _sets("WindowCenter", [1, 2]), "the window is not the one of the series"),
    ("SCE", _sets("VOILUTFunction", "SIGMOID"), "still explained"),
    ("SCE", _sets("SyntheticData", "NO"), "Synthetic Data is not what the job says"),
    ("SCE", _in_place(0, "NO"), "Spatial Locations Preserved is wrong"),
    ("SCE", _in_place(1, "YES"), "Spatial Locations Preserved is wrong"),
    ("SCE", _in_place(4, "YES"), "Spatial Locations Preserved is wrong"),
    ("SCE", lambda ds: ds.SourceImageSequence.pop(), "the source images are not those within the z-support"),
    ("SCE", lambda ds: ds.ReferencedSeriesSequence.pop(), "does not list every source"),
    ("SCE", _sets("RescaleSlope", "2"), "an MR image states a rescale"),
    ("ZSR", _in_place(0, "YES"), "Spatial Locations Preserved is wrong"),
    ("ZSR", lambda ds: ds.SourceImageSequence.insert(0, ds.SourceImageSequence.pop()), "not the slice in its place"),
    ("ZSR", lambda ds: ds.SourceImageSequence.append(ds.SourceImageSequence.pop(1)), "nearest first"),
    ("ZSR", _sets("SourceImageSequence", []), "a slice beside the image is not among its sources"),
    ("ZSR", _moved, "the images do not stand evenly"),
    ("ZSR", _sets("ImagePositionPatient", [-10, -12, 54]), "is not that of a sub-slice"),
    ("ZSR", _sets("SliceThickness", "4"), "thickness, spacing and Series Description"),
    ("ZSR", _sets("SliceLocation", "1"), "Slice Location is not that of the image"),
]


@pytest.mark.parametrize(("kind", "lie", "message"), LIES)
def test_a_lie_is_found_by_the_assertions(
    tmp_path: Path, kind: str, lie: Callable[[Dataset], None], message: str
) -> None:
    work = sce_job(others=[others()]) if kind == "SCE" else zsr_job(GAP_MM)
    files = mr_series(tmp_path / "in")
    reply = derived(tmp_path, files, work)
    sources, job = read([Path(file) for file in files], [0] * len(files)), Job.of(work)
    checks = Series(job=job, sources=sources)
    for number in (1, 2, 4):
        assert checks.image(part10.read(Path(reply["instances"][number - 1]["path"])), number) == []

    number = 1 if "every source" in message else 3  # that list is encoded once and looked at in the first image
    path = Path(reply["instances"][number - 1]["path"])
    ds = pydicom.dcmread(path)
    lie(ds)
    ds.save_as(path)

    assert any(message in wrong for wrong in checks.image(part10.read(path), number))


@pytest.mark.parametrize("kind", ["SCE", "ZSR"])
def test_images_checked_by_comparison_are_those_checked_in_full(tmp_path: Path, kind: str) -> None:
    work = sce_job(others=[others()]) if kind == "SCE" else zsr_job(GAP_MM, 3)
    files = mr_series(tmp_path / "in")
    derived(tmp_path, files, work)
    sources = read([Path(file) for file in files], [0] * len(files))
    job = Job.of(work)
    series = ClassicSeries(job, sources, "1.2.3", Whole.of(np.load(tmp_path / "result.npy"), None, job.factor))
    series.header(1)

    for index in range(2, Places(job, sources).count):
        head, body = series.header(index)
        assert Series(job=job, sources=sources).image(part10.parse(head + body), index) == []
        for old, new in ((b"NO", b"OK"), (b"121322", b"121323")):
            assert series._alike.image(head, body.replace(old, new, 1), index) != []


@pytest.mark.parametrize("kind", ["SCE", "ZSR"])
def test_what_the_node_made_does_not_come_in_again(tmp_path: Path, kind: str) -> None:
    reply = derived(tmp_path, mr_series(tmp_path / "in"), sce_job() if kind == "SCE" else zsr_job(GAP_MM))
    files = [part10.read(Path(instance["path"])) for instance in reply["instances"]]

    reasons = "; ".join(gate.ineligible([frames.header(file, 0, scan.KEYWORDS) for file in files]))

    assert "SyntheticData is not NO" in reasons
    assert "starts with AI_" in reasons


# --- the enhanced form ----------------------------------------------------------------------------------------------


def test_finer_frames_of_an_enhanced_object(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "e.dcm", modality="MR")
    reply = derived(tmp_path, [file], zsr_job(2.0, 3), "enhanced")
    ds = pydicom.dcmread(reply["instances"][0]["path"])
    places = [
        float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in ds.PerFrameFunctionalGroupsSequence
    ]

    assert list(ds.ImageType) == ["DERIVED", "PRIMARY", "TOF", "RESAMPLED"]
    assert (ds.NumberOfFrames, reply["instead"]) == (18, "")
    assert np.allclose(np.diff(places), 2 / 3)
    assert np.isclose(np.mean(places[:3]), 50)
    contents = [one.FrameContentSequence[0] for one in ds.PerFrameFunctionalGroupsSequence]
    assert [one.InStackPositionNumber for one in contents] == list(range(1, 19))
    for one in ds.PerFrameFunctionalGroupsSequence:
        preserved = {ref.SpatialLocationsPreserved for ref in one.DerivationImageSequence[0].SourceImageSequence}
        assert preserved == {"NO"}
    assert all(one < other for one, other in pairwise(places))


def test_an_enhanced_object_cannot_be_marked_so_synthetic_contrast_is_classic(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "e.dcm", modality="MR", rows=96, columns=96)
    reply = derived(tmp_path, [file], sce_job(), "enhanced")

    assert {one["form"] for one in reply["instances"]} == {"classic"}
    assert "no overlay plane" in reply["instead"]


def test_every_kind_that_is_a_synthesis_is_marked_for_its_reader() -> None:
    for kind in codes.SYNTHESIS:
        row = codes.OUTPUTS[kind]
        assert row.synthetic
        assert row.overlay
        assert row.comment
        assert not row.echoes
        assert of_kind(kind)["marker"].startswith("SYNTHETIC")
    assert {"SCE", "PH"} == codes.SYNTHESIS
