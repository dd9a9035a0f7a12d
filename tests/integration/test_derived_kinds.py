"""Every kind of derived object, from every vendor of the shared data, before dciodvfy, dcentvfy, DCMTK and Orthanc.

A kind that only tests know stands for MR outputs that change nothing but pixels. What a source says wrongly itself and
has to be kept verbatim is listed file by file.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests import dicom_lint
from tests.derived_frames import derived, gap_mm, mr_job, request_for, sce_job, with_test_kind, zsr_job
from tests.dicom_phantom import everything, job, series
from tests.enhanced_phantom import enhanced, legacy, slice_of_ct
from tests.peers import Orthanc, which_or_skip
from tests.unit.test_dicom_derive import kernel_job

pytestmark = pytest.mark.skipif(
    bool(dicom_lint.missing_tools()), reason=f"not installed: {', '.join(dicom_lint.missing_tools())}"
)

BROKEN_CODE = (
    r"Error - Value invalid for this VR - \(0x0008,0x0100\) SH Code Value .*",
    r"Error - Dicom dataset contains invalid data values for Value Representations",
)
# Files -> the errors of the source itself that what is kept verbatim repeats; "" where there are none.
CT = {
    "dicom/ct_abdomen_ge_acrin3/*": (),
    "dicom/ct_chest_philips_lidc0314/*": (),
    "dicom/ct_headphantom_philips_UB/*": (),
    "dicom/ct_headphantom_philips_UB5mm/*": (),
    "dicom/ct_headphantom_philips_YA/*": (),
    "dicom/ct_headphantom_philips_tilt+16.5/*": (),
    "dicom/ct_headphantom_philips_tilt-18.5/*": (),
    # A perfusion map, which the gate refuses: its Rescale Type is US.
    "odd/syntaxes/CT0012.not_fragmented_bot_rle.dcm": (r".*<US> for value 1 of attribute <Rescale Type>",),
    "odd/syntaxes/CT0012.fragmented_no_bot_jpeg_lossless.70.dcm": (r".*<US> for value 1 of attribute <Rescale Type>",),
}
MR = {
    "dicom/mr_t1_siemens_trio/*": (),
    "dicom/mr_t2_siemens_trio/*": (),
    "dicom/mr_t1gd_siemens_vs-seg-001/*": (),
    "dicom/mr_dwi_toshiba/*": (),
    # A de-identifier's code of 20 characters; an inversion time of a sequence that is said not to invert.
    "dicom/mr_t1_ge_fruit/*": (
        *BROKEN_CODE,
        r"Error - .* Type 2C Conditional Element=<InversionTime> Module=<MRImage>",
    ),
    "dicom/enhanced_multiframe/mr_philips_fieldmap_212fr.dcm": (
        r"Error - Orientation vector is not unit vector for  vector of VelocityEncodingDirection - values are 0\\0\\0",
        r"Error - .*Type 1C Conditional Element=<BulkMotionCompensationTechnique> Module=<BulkMotionSynchronization>",
    ),
    "dicom/enhanced_multiframe/mr_siemens_xa10_phantom_6_1.dcm": (
        r"Error - Unrecognized enumerated value <SMS> for value 1 of attribute <Parallel Acquisition Technique>",
        r"Error - .* Element=<ParallelReductionFactorSecondInPlane> Module=<MRModifierMacro>",
    ),
    "dicom/enhanced_multiframe/mr_siemens_xa10_phantom_6_2.dcm": (
        r"Error - Unrecognized enumerated value <SMS> for value 1 of attribute <Parallel Acquisition Technique>",
        r"Error - .* Element=<ParallelReductionFactorSecondInPlane> Module=<MRModifierMacro>",
    ),
    "dicom/enhanced_multiframe/mr_siemens_xa30_dwi.dcm": (),
}


def check(folder: Path, files: list[str], work: dict[str, Any], errors: tuple[str, ...] = ()) -> dict[str, int]:
    """Derive in both forms and hold every object against the validators; returns how many there are of each form."""
    folder.mkdir(exist_ok=True)
    reply = derived(folder, files, work, "classic", "enhanced")
    counted: dict[str, int] = {}
    known = re.compile("|".join(f"(?:{pattern})" for pattern in errors) or r"(?!)")
    for number, instance in enumerate(reply["instances"]):
        counted[instance["form"]] = counted.get(instance["form"], 0) + 1
        if instance["form"] == "classic" and number >= 5 and number % 10:
            continue  # a long series repeats itself
        ds = pydicom.dcmread(instance["path"], stop_before_pixels=True)
        references = (
            ds.SourceImageSequence
            if instance["form"] == "classic"
            else _first_frame(ds).DerivationImageSequence[0].SourceImageSequence
        )
        source = next(path for path in files if _uid(path) == references[0].ReferencedSOPInstanceUID)
        assert [line for line in dicom_lint.lint(instance["path"], source) if not known.fullmatch(line)] == []
        dump = subprocess.run(["dcmdump", "-q", instance["path"]], capture_output=True, check=False)
        assert (dump.returncode, dump.stderr) == (0, b"")
    for form in counted:  # the two forms never stand in one archive
        made = [instance["path"] for instance in reply["instances"] if instance["form"] == form]
        alone = set(dicom_lint.entities(files))
        assert [line for line in dicom_lint.entities([*files, *made]) if line not in alone] == []
    return counted


def _first_frame(ds: pydicom.Dataset) -> pydicom.Dataset:
    found = pydicom.Dataset()
    found.update(ds.SharedFunctionalGroupsSequence[0])
    found.update(ds.PerFrameFunctionalGroupsSequence[0])
    return found


def _uid(path: str) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID)


def by_series(shared_data: Path, pattern: str) -> Iterator[list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(shared_data.glob(pattern)):
        found.setdefault(str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID), []).append(str(path))
    assert found, pattern
    yield from found.values()


@pytest.mark.parametrize("kind", ["DN", "KC"])
@pytest.mark.parametrize("pattern", CT)
def test_ct_of_every_vendor(shared_data: Path, tmp_path: Path, pattern: str, kind: str) -> None:
    work = job(z_support=1) if kind == "DN" else job(**kernel_job(), cautions=["probe_r3"])
    for number, files in enumerate(by_series(shared_data, pattern)):
        counted = check(tmp_path / str(number), files, work, CT[pattern])

        # CT0012 does not describe its reconstruction, so that a converted kernel has no place in an enhanced form.
        both = "CT0012" in pattern and kind == "DN"
        assert counted == (
            {"classic": 2, "enhanced": 1} if both else {"classic": 2 if "CT0012" in pattern else len(files)}
        )


@pytest.mark.parametrize("pattern", MR)
def test_mr_of_every_vendor(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    with_test_kind(monkeypatch)
    for number, files in enumerate(by_series(shared_data, pattern)):
        counted = check(tmp_path / str(number), files, mr_job(z_support=1), MR[pattern])

        assert ("enhanced" in counted) is ("enhanced" in pattern)


UNEVEN = {"dicom/mr_t2_siemens_trio/*", "dicom/enhanced_multiframe/mr_philips_fieldmap_212fr.dcm"}  # slices missing


@pytest.mark.parametrize("kind", ["SCE", "ZSR"])
@pytest.mark.parametrize("pattern", [pattern for pattern in MR if "t1gd" not in pattern])
def test_the_two_mr_outputs_of_every_vendor(shared_data: Path, tmp_path: Path, pattern: str, kind: str) -> None:
    if kind == "ZSR" and pattern in UNEVEN:
        pytest.skip("the slices are no even stack, which the gate refuses")
    for number, files in enumerate(by_series(shared_data, pattern)):
        work = sce_job()
        if kind == "ZSR":
            work = zsr_job(gap_mm(request_for(tmp_path / "gap", files, {})))
        counted = check(tmp_path / str(number), files, work, MR[pattern])

        # An Enhanced object has no overlay plane, so synthetic contrast is classic.
        assert ("enhanced" in counted) is (kind == "ZSR" and "enhanced" in pattern)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_phantoms_with_every_group_are_valid_in_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    with_test_kind(monkeypatch)
    file = enhanced(tmp_path / "e.dcm", modality=modality)

    assert check(tmp_path, [file], job(z_support=1) if modality == "CT" else mr_job()) == {"classic": 6, "enhanced": 1}
    if modality == "CT":
        assert check(tmp_path, [file], job(**kernel_job())) == {"classic": 6, "enhanced": 1}


def test_legacy_converted_and_plain_phantoms_are_valid(tmp_path: Path) -> None:
    file = legacy(tmp_path / "l.dcm", [slice_of_ct(at) for at in range(5)])

    assert check(tmp_path, [file], job()) == {"classic": 5}
    assert check(tmp_path, series(tmp_path / "in", everything, slices=4), job()) == {"classic": 4}


def test_the_lint_finds_what_is_wrong_in_an_enhanced_object(tmp_path: Path) -> None:
    file = enhanced(tmp_path / "e.dcm")
    path = derived(tmp_path, [file], job(), "enhanced")["instances"][0]["path"]
    ds = pydicom.dcmread(path)
    del ds.SharedFunctionalGroupsSequence[0].IrradiationEventIdentificationSequence
    ds.save_as(path)

    assert any("IrradiationEvent" in line for line in dicom_lint.lint(path, file))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dcmtk_and_orthanc_take_the_enhanced_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str, orthanc: Orthanc
) -> None:
    with_test_kind(monkeypatch)
    file = enhanced(tmp_path / "e.dcm", modality=modality)
    work = job() if modality == "CT" else mr_job()
    path = derived(tmp_path, [file], work, "enhanced")["instances"][0]["path"]
    made = pydicom.dcmread(path)

    which_or_skip("dcmconv")
    subprocess.run(["dcmconv", "+ti", path, str(tmp_path / "implicit.dcm")], check=True)
    again = pydicom.dcmread(tmp_path / "implicit.dcm")
    assert np.array_equal(again.pixel_array, made.pixel_array)
    assert again.PerFrameFunctionalGroupsSequence == made.PerFrameFunctionalGroupsSequence

    which_or_skip("storescu")
    subprocess.run(["storescu", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), path], check=True)
    assert orthanc.instances() == [made.SOPInstanceUID]
