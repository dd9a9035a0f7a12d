"""Derived objects before the validators: every eligible real series, and a phantom that has everything.

dciodvfy may say nothing beyond the allow-list of `tests.dicom_lint`, dcentvfy nothing at all over sources and outputs.
"""

import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest

from node.dicom import codes, decode, derive, gate, part10, uids
from node.errors import Refuse
from tests import dicom_lint
from tests.dicom_phantom import ROOT, everything, job, series

pytestmark = pytest.mark.skipif(
    bool(dicom_lint.missing_tools()), reason=f"not installed: {', '.join(dicom_lint.missing_tools())}"
)

# Folder of ../shared/data/dicom -> its eligible series: slices of each one.
ELIGIBLE = {
    "ct_abdomen_ge_acrin3": [3],
    "ct_chest_philips_lidc0314": [8],
    "ct_headphantom_philips_UB": [5],
    "ct_headphantom_philips_UB5mm": [2],
    "ct_headphantom_philips_YA": [5],
    "ct_headphantom_philips_tilt+16.5": [5],
    "ct_headphantom_philips_tilt-18.5": [8],
}
# Folder -> what the gate says of it.
INELIGIBLE = {
    "ct_abdomen_siemens_j2k": "StudyInstanceUID is missing in 20 of 20 slices",
    "ct_body_nysbu_A002304": "1 slice: no gap between slices can be measured",
    "ct_body_nysbu_A046441": "1 slice: no gap between slices can be measured",
    "ct_headphantom_philips_localizer": "LOCALIZER stands in ImageType in 1 of 1 slices",
}


def by_series(folder: Path) -> list[list[str]]:
    """The paths of each series in a folder."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*.dcm")):
        found[part10.text(part10.read(path).dataset, "SeriesInstanceUID")].append(str(path))
    return list(found.values())


def smoothed(voxels: np.ndarray) -> np.ndarray:
    """A stand-in for a network: each voxel with its four neighbours in the slice."""
    ways = [np.roll(voxels, step, axis) for axis in (1, 2) for step in (1, -1)]
    return ((voxels * 4 + sum(ways)) / 8).astype(np.float32)


def twin(source: str, folder: Path) -> str:
    """The source as the validator can read it, its SOP UIDs also in the data set."""
    ds = pydicom.dcmread(source)
    ds.SOPClassUID, ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID
    folder.mkdir(exist_ok=True)
    ds.save_as(folder / Path(source).name)
    return str(folder / Path(source).name)


def check(paths: list[str], folder: Path) -> list[pydicom.Dataset]:
    """Prepare, smooth, write, and hold the objects against every validator; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    prepared = decode.prepare_series(
        {"slices": [[path, 0] for path in paths], "voxels": f"{folder}/v.npy", "padding": f"{folder}/p.npy"}
    )
    sources = [paths[index] for index in prepared["order"]]
    result = smoothed(np.load(folder / "v.npy"))
    np.save(folder / "result.npy", result)
    digest = uids.input_digest(
        (part10.read(path).sop_instance_uid, pixels)
        for path, pixels in zip(sources, prepared["pixel_sha256"], strict=True)
    )
    request = {"sources": sources, "result": f"{folder}/result.npy", "out": f"{folder}/out"}
    reply = derive.write_series(request | {"job": job(input_digest=digest, z_support=1)})
    outputs = [instance["path"] for instance in reply["instances"]]

    assert len(outputs) == len(sources)
    twins = [twin(source, folder / "twins") for source in sources]
    for source, output in zip(twins, outputs, strict=True):
        assert dicom_lint.lint(output, source) == []
        dump = subprocess.run(["dcmdump", "-q", output], capture_output=True, check=False)
        assert (dump.returncode, dump.stderr) == (0, b"")
    assert dicom_lint.entities([*twins, *outputs]) == []

    padding = np.load(folder / "p.npy")
    for z, (source, output) in enumerate(zip(sources, outputs, strict=True)):
        before, after = (decode.stored_values(part10.read(path)) for path in (source, output))
        hu = after.values * np.float64(after.slope) + after.intercept
        seen = ~padding[z]
        clipped = np.clip(
            result[z], after.lowest * after.slope + after.intercept, after.highest * after.slope + after.intercept
        )
        assert np.abs(hu - clipped)[seen].max() <= after.slope / 2 + 1e-3
        assert np.array_equal(after.values[padding[z]], before.values[padding[z]])
        assert after.padding is None or np.array_equal(after.padding, padding[z])
    return [pydicom.dcmread(output) for output in outputs]


@pytest.mark.parametrize("name", ELIGIBLE)
def test_a_real_series_becomes_valid_derived_objects(shared_data: Path, tmp_path: Path, name: str) -> None:
    found = by_series(shared_data / "dicom" / name)

    assert [len(paths) for paths in found] == ELIGIBLE[name]
    for paths in found:
        made = check(paths[::-1], tmp_path)
        source = pydicom.dcmread(paths[0])
        assert {ds.StudyInstanceUID for ds in made} == {source.StudyInstanceUID}
        assert {ds.PatientID for ds in made} == {source.PatientID}


@pytest.mark.parametrize("name", INELIGIBLE)
def test_a_series_that_is_not_eligible_is_refused_with_its_reason(shared_data: Path, tmp_path: Path, name: str) -> None:
    for paths in by_series(shared_data / "dicom" / name):
        reasons = gate.ineligible([part10.header(part10.read(path), decode.HEADER) for path in paths], complete=True)

        assert INELIGIBLE[name] in reasons
        with pytest.raises(Refuse):
            decode.prepare_series(
                {"slices": [[path, 0] for path in paths], "voxels": f"{tmp_path}/v.npy", "padding": f"{tmp_path}/p.npy"}
            )


def test_jpeg_2000_with_its_sop_uids_in_the_file_meta_only(shared_data: Path, tmp_path: Path) -> None:
    # As shared the series has no Study and no Series Instance UID; everything else is left as the scanner wrote it.
    paths = []
    for path in sorted((shared_data / "dicom" / "ct_abdomen_siemens_j2k").glob("*.dcm")):
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.501", f"{ROOT}.502"
        assert ds.SOPClassUID == ""
        ds.save_as(tmp_path / path.name)
        paths.append(str(tmp_path / path.name))

    made = check(paths, tmp_path / "work")

    assert len(made) == 20
    assert {ds.SOPClassUID for ds in made} == {codes.CT_IMAGE_STORAGE}
    assert list(made[0].ConvolutionKernel) == ["Br38f", "3"]
    assert made[0].SourceImageSequence[0].ReferencedSOPClassUID == codes.CT_IMAGE_STORAGE
    assert made[0].ContrastBolusAgent == "APPLIED"


def test_a_phantom_that_has_everything_becomes_valid_derived_objects(tmp_path: Path) -> None:
    made = check(series(tmp_path / "in", everything, slices=6), tmp_path / "work")

    assert [ds.InstanceNumber for ds in made] == [1, 2, 3, 4, 5, 6]
    assert len({ds.SOPInstanceUID for ds in made}) == 6


def test_a_derived_series_is_not_eligible_again(tmp_path: Path) -> None:
    check(series(tmp_path / "in", slices=4), tmp_path / "work")
    made = [part10.read(path) for path in sorted((tmp_path / "work" / "out").iterdir())]

    reasons = gate.ineligible([part10.header(part, decode.HEADER) for part in made])

    assert "a value of ImageType starts with AI_ in 4 of 4 slices" in reasons
    assert "the equipment that is named is this product in 4 of 4 slices" in reasons


def test_a_derived_series_that_others_worked_on_is_still_known(tmp_path: Path) -> None:
    check(series(tmp_path / "in", slices=4), tmp_path / "work")
    headers = []
    for path in sorted((tmp_path / "work" / "out").iterdir()):
        ds = pydicom.dcmread(path)
        equipment = pydicom.Dataset()
        equipment.Manufacturer, equipment.DeviceUID = ds.Manufacturer, ds.DeviceUID
        ds.ContributingEquipmentSequence.append(equipment)
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        ds.Manufacturer, ds.DeviceUID = "WORKSTATION", f"{ROOT}.77"
        ds.save_as(path)
        headers.append(part10.header(part10.read(path), decode.HEADER))

    assert gate.ineligible(headers) == ["the equipment that is named is this product in 4 of 4 slices"]


def test_the_lint_finds_what_is_not_allowed(tmp_path: Path) -> None:
    check(series(tmp_path / "in", slices=2), tmp_path / "work")
    path = tmp_path / "work" / "out" / "00001.dcm"
    ds = pydicom.dcmread(path)
    del ds.KVP
    ds.save_as(path)

    assert any("KVP" in line for line in dicom_lint.lint(path))
