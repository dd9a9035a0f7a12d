"""The enhanced form: one object of all slices, its groups those of its sources, its words those of the node."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node.dicom import codes, derive, uids
from node.errors import Refuse
from tests.derived_frames import derived, mr_job, request_for, with_test_kind
from tests.dicom_phantom import STUDY, job, series, slice_of_ct
from tests.enhanced_phantom import ENHANCED, SERIES, enhanced, legacy
from tests.unit.test_dicom_derive import kernel_job


def one(reply: dict[str, Any]) -> Dataset:
    """The enhanced object of a reply that has no other."""
    (instance,) = reply["instances"]
    assert instance["form"] == "enhanced"
    return pydicom.dcmread(instance["path"])


@pytest.fixture
def ct(tmp_path: Path) -> tuple[Dataset, Dataset]:
    """Source and enhanced object."""
    file = enhanced(tmp_path / "e.dcm")
    return pydicom.dcmread(file), one(derived(tmp_path, [file], job(z_support=1), "enhanced"))


@pytest.fixture
def mr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    with_test_kind(monkeypatch)
    file = enhanced(tmp_path / "e.dcm", modality="MR")
    return pydicom.dcmread(file), one(derived(tmp_path, [file], mr_job(), "enhanced"))


def groups(ds: Dataset, frame: int) -> Dataset:
    """The functional groups of frame 1..N, shared ones too."""
    found = Dataset()
    found.update(ds.SharedFunctionalGroupsSequence[0])
    found.update(ds.PerFrameFunctionalGroupsSequence[frame - 1])
    return found


def test_it_is_an_object_of_the_class_of_its_source_with_four_values_of_image_type(ct: Any, mr: Any) -> None:
    for modality, (source, made) in (("CT", ct), ("MR", mr)):
        assert made.SOPClassUID == source.SOPClassUID == ENHANCED[modality]
        assert made.NumberOfFrames == 6
        assert (made.StudyInstanceUID, made.FrameOfReferenceUID) == (
            source.StudyInstanceUID,
            source.FrameOfReferenceUID,
        )
        assert made.SOPInstanceUID != source.SOPInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        kind = ["DERIVED", "PRIMARY", "VOLUME" if modality == "CT" else "T1", "NONE"]
        assert list(made.ImageType) == kind
        for frame in range(1, 7):
            (frame_type,) = groups(made, frame)[f"{modality}ImageFrameTypeSequence"].value
            assert list(frame_type.FrameType) == kind
            assert frame_type.VolumetricProperties == "VOLUME"
        assert (made.SyntheticData, made.ContentQualification, made.PixelPresentation) == (
            "NO",
            "RESEARCH",
            "MONOCHROME",
        )
        assert made.Manufacturer == codes.VENDOR
        assert [equipment.Manufacturer for equipment in made.ContributingEquipmentSequence] == [
            "SCANNER WORKS",
            codes.VENDOR,
        ]


def test_every_group_of_the_source_is_there_frame_by_frame(ct: Any, mr: Any) -> None:
    anew = {"FrameContentSequence", "CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "DerivationImageSequence"}
    for source, made in (ct, mr):
        for frame in range(1, 7):
            before, after = groups(source, frame), groups(made, frame)
            kept = {element.keyword for element in before if not element.tag.is_private} - anew
            assert kept | anew >= {element.keyword for element in after}
            for keyword in kept:
                assert after[keyword].value == before[keyword].value


def test_what_frames_say_alike_is_said_once(ct: Any) -> None:
    _, made = ct
    shared = {element.keyword for element in made.SharedFunctionalGroupsSequence[0]}
    own = {element.keyword for element in made.PerFrameFunctionalGroupsSequence[2]}

    assert {"IrradiationEventIdentificationSequence", "CTImageFrameTypeSequence", "PixelMeasuresSequence"} <= shared
    assert own == {"FrameContentSequence", "PlanePositionSequence", "CTExposureSequence", "DerivationImageSequence"}


def test_each_frame_says_what_it_was_derived_from_and_how(ct: Any) -> None:
    _, made = ct
    (derivation,) = groups(made, 3).DerivationImageSequence

    assert derivation.DerivationDescription.startswith("Noise reduction by neural network by ct_denoise 1.0.0;")
    assert derivation.DerivationCodeSequence[0].CodeValue == "DL_NR"
    assert [
        (str(reference.ReferencedSOPInstanceUID), reference.ReferencedFrameNumber, reference.SpatialLocationsPreserved)
        for reference in derivation.SourceImageSequence
    ] == [(f"{SERIES}.1", 3, "YES"), (f"{SERIES}.1", 2, "NO"), (f"{SERIES}.1", 4, "NO")]
    (evidence,) = made.SourceImageEvidenceSequence
    (listed,) = evidence.ReferencedSeriesSequence
    assert (evidence.StudyInstanceUID, listed.SeriesInstanceUID) == (STUDY, SERIES)
    assert [reference.ReferencedSOPInstanceUID for reference in listed.ReferencedSOPSequence] == [f"{SERIES}.1"]
    assert "DerivationDescription" not in made


def test_dimensions_are_stack_and_position(ct: Any) -> None:
    _, made = ct
    (organization,) = made.DimensionOrganizationSequence
    pointers = [pydicom.datadict.keyword_for_tag(one.DimensionIndexPointer) for one in made.DimensionIndexSequence]

    assert pointers == ["StackID", "InStackPositionNumber"]
    assert {one.DimensionOrganizationUID for one in made.DimensionIndexSequence} == {
        organization.DimensionOrganizationUID
    }
    assert organization.DimensionOrganizationUID.startswith("2.25.")
    for frame in range(1, 7):
        (content,) = groups(made, frame).FrameContentSequence
        assert (content.StackID, content.InStackPositionNumber) == ("1", frame)
        assert list(content.DimensionIndexValues) == [1, frame]
        assert content.FrameAcquisitionDateTime == f"202501021001{frame:02d}.5"


def test_private_groups_and_attributes_are_gone(ct: Any) -> None:
    _, made = ct
    found = {element.tag.group for element in made.iterall() if element.tag.is_private}

    assert found == {0x0099}


def test_unchanged_values_give_the_pixels_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_test_kind(monkeypatch)
    for modality, work in (("CT", job()), ("MR", mr_job())):
        file = enhanced(tmp_path / f"{modality}.dcm", modality=modality)
        request = request_for(tmp_path, [file], work, "classic", "enhanced")
        source = pydicom.dcmread(file)
        slope, intercept = (1, -1024) if modality == "CT" else (0.5, -10)
        np.save(request["result"], source.pixel_array.astype(np.float32) * slope + intercept)

        reply = derive.write_series(request)

        *images, whole = (pydicom.dcmread(instance["path"]) for instance in reply["instances"])
        assert np.array_equal(whole.pixel_array, source.pixel_array)
        assert np.array_equal(np.stack([image.pixel_array for image in images]), source.pixel_array)


def test_two_forms_share_no_uid_and_the_reply_names_both(tmp_path: Path) -> None:
    reply = derived(tmp_path, [enhanced(tmp_path / "e.dcm")], job(), "classic", "enhanced")
    by_form = {form: [i for i in reply["instances"] if i["form"] == form] for form in ("classic", "enhanced")}

    assert (len(by_form["classic"]), len(by_form["enhanced"])) == (6, 1)
    assert len({instance["sop_instance_uid"] for instance in reply["instances"]}) == 7
    for form, instances in by_form.items():
        for instance in instances:
            ds = pydicom.dcmread(instance["path"])
            assert ds.SeriesInstanceUID == reply["series_instance_uids"][form]
            assert ds.SOPInstanceUID == instance["sop_instance_uid"]
            assert instance["sha256"] == hashlib.sha256(Path(instance["path"]).read_bytes()).hexdigest()
    assert reply["series_instance_uids"]["classic"] == reply["series_instance_uid"]
    assert reply["series_instance_uids"]["enhanced"] == uids.form_series_uid(reply["series_instance_uid"], "enhanced")
    assert len(set(reply["series_instance_uids"].values())) == 2


def test_the_same_request_gives_the_same_bytes_and_the_last_range_writes_it(tmp_path: Path) -> None:
    request = request_for(tmp_path, [enhanced(tmp_path / "e.dcm")], job(), "classic", "enhanced")
    whole = derive.write_series(request)["instances"][-1]
    before = Path(whole["path"]).read_bytes()

    first = derive.write_series(request | {"range": [0, 4]})["instances"]
    last = derive.write_series(request | {"range": [4, 6]})["instances"]

    assert [instance["form"] for instance in first] == ["classic"] * 4
    assert [instance["form"] for instance in last] == ["classic", "classic", "enhanced"]
    assert last[-1] == whole
    assert Path(whole["path"]).read_bytes() == before


def test_a_conversion_says_its_kernel_and_window_in_the_groups(tmp_path: Path) -> None:
    made = one(derived(tmp_path, [enhanced(tmp_path / "e.dcm")], job(**kernel_job()), "enhanced"))

    assert groups(made, 2).CTReconstructionSequence[0].ConvolutionKernel == "AI Hr40-3>soft"
    assert groups(made, 2).FrameVOILUTSequence[0].WindowWidth == 400
    assert groups(made, 2).FrameVOILUTSequence[0].WindowCenterWidthExplanation == "soft"


def test_a_caution_stands_where_the_reader_sees_it(tmp_path: Path) -> None:
    work = job(cautions=["probe_r3"], marker="AI DENOISED CAUTION")
    made = one(derived(tmp_path, [enhanced(tmp_path / "e.dcm")], work, "enhanced"))

    assert made.SeriesDescription.startswith("AI DENOISED CAUTION")
    assert made.ImageComments.startswith("CAUTION: probe_r3.")


def test_several_objects_become_one(tmp_path: Path) -> None:
    files = [enhanced(tmp_path / f"{at}.dcm", first=3 * at, frames=3, number=at + 1) for at in (1, 0)]
    made = one(derived(tmp_path, files, job(), "enhanced"))

    assert made.NumberOfFrames == 6
    sources = [groups(made, frame).DerivationImageSequence[0].SourceImageSequence[0] for frame in range(1, 7)]
    assert [(str(s.ReferencedSOPInstanceUID)[-1], s.ReferencedFrameNumber) for s in sources] == [
        ("1", 1), ("1", 2), ("1", 3), ("2", 1), ("2", 2), ("2", 3),
    ]  # fmt: skip


# --- where there is none --------------------------------------------------------------------------------------------


def no_event(ds: Dataset) -> None:
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.IrradiationEventIdentificationSequence


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: [legacy(folder / "l.dcm", [slice_of_ct(at) for at in range(6)])], "no Enhanced objects"),
        (lambda folder: series(folder / "in", slices=6), "no Enhanced objects"),
        (lambda folder: [enhanced(folder / "e.dcm", no_event)], "irradiation event"),
    ],
)
def test_sources_that_cannot_carry_it_get_the_classic_form_and_the_reason(
    tmp_path: Path, make: Callable[[Path], list[str]], reason: str
) -> None:
    reply = derived(tmp_path, make(tmp_path), job(), "enhanced")

    assert reason in reply["instead"]
    assert [instance["form"] for instance in reply["instances"]] == ["classic"] * 6
    assert list(reply["series_instance_uids"]) == ["classic"]


def test_a_converted_kernel_needs_the_group_of_the_reconstruction(tmp_path: Path) -> None:
    def silent(ds: Dataset) -> None:
        del ds.SharedFunctionalGroupsSequence[0].CTReconstructionSequence

    file = enhanced(tmp_path / "e.dcm", silent)

    assert "reconstruction" in derived(tmp_path, [file], job(**kernel_job()), "enhanced")["instead"]
    assert derived(tmp_path, [file], job(), "enhanced")["instead"] == ""


def test_a_form_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refuse, match="legacy is no form"):
        derived(tmp_path, [enhanced(tmp_path / "e.dcm")], job(), "legacy")


# --- memory ---------------------------------------------------------------------------------------------------------

_MEASURE = """
import json, resource, sys
from node.dicom import derive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reply = derive.write_series(json.load(open(sys.argv[1])))
print(reply["instances"][-1]["bytes"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_object_is_written_as_a_stream(tmp_path: Path) -> None:
    """128 MiB of pixels, made of a result of 256 MiB, cost less than 64 MiB of memory."""
    file = enhanced(tmp_path / "e.dcm", frames=64, rows=1024, columns=1024)
    result = np.lib.format.open_memmap(tmp_path / "r.npy", "w+", np.float32, (64, 1024, 1024))
    result[:] = 40
    result.flush()
    del result
    request = {
        "sources": [file] * 64, "frames": list(range(1, 65)), "result": str(tmp_path / "r.npy"),
        "out": str(tmp_path / "out"), "job": job(), "forms": ["enhanced"],
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))

    ran = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / "request.json")], capture_output=True, text=True, check=True
    )

    size, grown_kib = (int(text) for text in ran.stdout.split())
    assert size > 64 * 1024 * 1024 * 2
    assert grown_kib < 64 * 1024
