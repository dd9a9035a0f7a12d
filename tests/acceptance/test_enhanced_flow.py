"""Enhanced CT through a running node: each archive gets the form that its settings ask for, and no other.

Three archives: Orthanc takes the enhanced form, storescp the classic one; `narrow` is asked for the enhanced form and
takes CT Image Storage only.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import make_volume
from tests.delivering import Scp
from tests.dicom_lint import entities, lint, missing_tools
from tests.dicom_phantom import CT, code
from tests.enhanced_phantom import ENHANCED, enhanced, legacy
from tests.peers import Orthanc, StoreScp, dcmsend, wait_until
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for

pytestmark = pytest.mark.peers
SLICES, SIDE, PIXEL_MM = 20, 160, 0.8  # more slices than one chunk of early writing
NOT_TAKEN = "The peer answered 0x0122 to 1 of 1 instances."


@dataclass(frozen=True, kw_only=True)
class Run:
    """The node after both series: Enhanced CT, and the same images as Legacy Converted Enhanced CT."""

    node: RunningNode
    orthanc: Orthanc
    storescp: StoreScp
    narrow: Scp
    enhanced: Path
    legacy: Path
    folder: Path

    def job(self, source: Path) -> dict[str, Any]:
        """The one job of a source, as `show` has it."""
        (one,) = self.node.show(str(_read(source).SeriesInstanceUID))["sets"]
        (job,) = one["jobs"]
        return dict(job)

    def at_orthanc(self) -> dict[str, list[Path]]:
        """Series Instance UID -> files, as stored."""
        found = {}
        for series, ids in self.orthanc.series().items():
            found[series] = [self.folder / f"{one}.dcm" for one in ids]
            for one, path in zip(ids, found[series], strict=True):
                path.write_bytes(self.orthanc.download(one))
        return found

    def at_storescp(self) -> dict[str, list[Path]]:
        """The same of the other archive."""
        found: dict[str, list[Path]] = {}
        for path in self.storescp.files():
            found.setdefault(str(_read(path).SeriesInstanceUID), []).append(path)
        return found

    def state(self) -> dict[str, Any]:
        """All that a second run must not change."""
        return {
            "sets": [{key: one[key] for key in ("id", "version", "state", "reasons")} for one in self.node.sets()],
            "jobs": [{key: job[key] for key in ("id", "state", "series_uid")} for job in self.node.jobs()],
            "orthanc": self.orthanc.instances(),
            "storescp": {path.name: path.read_bytes() for path in self.storescp.files()},
            "narrow": sorted(self.narrow.kept()),
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("enhanced")
    slices = phantom(folder / "classic")
    one, other = as_enhanced(folder / "enhanced.dcm", slices), as_legacy(folder / "legacy.dcm", slices)
    with (
        Orthanc(folder / "orthanc") as orthanc,
        StoreScp(folder / "storescp") as storescp,
        Scp(folder / "narrow", classes=[CT]) as narrow,
        RunningNode(folder / "node", settings(folder / "node", orthanc, storescp, narrow)) as node,
    ):
        for path in (one, other):
            send(node, path)
        node.wait_settled(2, timeout_s=180)
        (copies := folder / "copies").mkdir()
        yield Run(
            node=node, orthanc=orthanc, storescp=storescp, narrow=narrow, enhanced=one, legacy=other, folder=copies
        )


def settings(folder: Path, orthanc: Orthanc, storescp: StoreScp, narrow: Scp) -> dict[str, Any]:
    raw = settings_for(folder, destinations=[orthanc, storescp])
    asked: dict[str, Any] = raw["destinations"][0]
    asked["enhanced"], raw["destinations"][1]["enhanced"] = True, False
    raw["destinations"].insert(0, {**asked, "name": "narrow", "ae_title": "ARCHIVE", "port": narrow.port})
    raw["rules"][0]["destinations"] = ["narrow", *raw["rules"][0]["destinations"]]
    return raw


def send(node: RunningNode, path: Path) -> None:
    (answer,) = dcmsend(node.port, [path], called=AE_TITLE)
    assert answer.stored == 1, answer.output[-2000:]


def phantom(folder: Path) -> list[Dataset]:
    """An abdomen as a classic series, in geometric order."""
    middle = slice((512 - SIDE) // 2, (512 + SIDE) // 2)
    voxels = make_volume(slices=SLICES)[:, middle, middle]
    first_mm = (-PIXEL_MM * SIDE / 2, -PIXEL_MM * SIDE / 2, 0.0)
    scan = Scan(key="enhanced flow", patient_name="PHANTOM", patient_id="PHANTOM-1", kernel="Hr40")
    spacing_mm = (2.0, PIXEL_MM, PIXEL_MM)
    return [
        _read(path) for path in write_ct_series(folder, voxels, scan=scan, spacing_mm=spacing_mm, first_mm=first_mm)
    ]


def as_enhanced(path: Path, slices: list[Dataset]) -> Path:
    """The images of a series as the frames of an Enhanced CT."""

    def filled(ds: Dataset) -> None:
        ds.BodyPartExamined = "ABDOMEN"
        ds.PixelData = b"".join(one.PixelData for one in slices)
        shared = ds.SharedFunctionalGroupsSequence[0]
        shared.PixelMeasuresSequence[0].PixelSpacing = [PIXEL_MM, PIXEL_MM]
        shared.CTReconstructionSequence[0].ReconstructionDiameter = PIXEL_MM * SIDE
        shared.CTReconstructionSequence[0].ReconstructionPixelSpacing = [PIXEL_MM, PIXEL_MM]
        shared.FrameAnatomySequence[0].AnatomicRegionSequence = [code("818981001", "SCT", "Abdomen")]
        for group, one in zip(ds.PerFrameFunctionalGroupsSequence, slices, strict=True):
            group.PlanePositionSequence[0].ImagePositionPatient = one.ImagePositionPatient

    return Path(enhanced(path, filled, frames=len(slices), rows=SIDE, columns=SIDE))


def as_legacy(path: Path, slices: list[Dataset]) -> Path:
    """The same as a converter writes them."""
    return Path(legacy(path, slices))


def _read(path: Path) -> Dataset:
    return pydicom.dcmread(path)


def _classic_hu(files: list[Path]) -> tuple[list[float], NDArray[np.float64]]:
    """Heights in mm, and values by slice, from the feet up."""
    slices = sorted(map(_read, files), key=lambda ds: float(ds.ImagePositionPatient[2]))
    hu = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices]
    return [float(ds.ImagePositionPatient[2]) for ds in slices], np.stack(hu)


def _enhanced_hu(path: Path) -> tuple[list[float], NDArray[np.float64]]:
    ds = _read(path)
    heights, hu = [], []
    for group, stored in zip(ds.PerFrameFunctionalGroupsSequence, ds.pixel_array, strict=True):
        scale = _group(ds, group, "PixelValueTransformationSequence")
        heights.append(float(_group(ds, group, "PlanePositionSequence").ImagePositionPatient[2]))
        hu.append(stored * float(scale.RescaleSlope) + float(scale.RescaleIntercept))
    order = np.argsort(heights)
    return [heights[at] for at in order], np.stack(hu)[order]


def _group(ds: Dataset, group: Dataset, name: str) -> Dataset:
    found: Dataset = (group if name in group else ds.SharedFunctionalGroupsSequence[0])[name].value[0]
    return found


def by_destination(job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["destination"]: row for row in job["destinations"]}


def test_each_archive_gets_its_form_in_a_series_of_its_own(run: Run) -> None:
    classic_series = run.job(run.enhanced)["series_uid"]
    of_legacy = run.job(run.legacy)["series_uid"]
    at_orthanc, at_storescp = run.at_orthanc(), run.at_storescp()

    (enhanced_series,) = set(at_orthanc) - {of_legacy}
    (made,) = at_orthanc[enhanced_series]
    assert _read(made).SOPClassUID == ENHANCED["CT"]
    assert _read(made).NumberOfFrames == SLICES
    assert enhanced_series not in (classic_series, str(_read(run.enhanced).SeriesInstanceUID))
    assert set(at_storescp) == {classic_series, of_legacy}
    assert len(at_storescp[classic_series]) == SLICES
    assert {_read(path).SOPClassUID for files in at_storescp.values() for path in files} == {CT}


def test_both_forms_show_the_same_values_at_the_same_heights_and_not_those_of_the_source(run: Run) -> None:
    (made,) = (files[0] for files in run.at_orthanc().values() if len(files) == 1)
    classic = _classic_hu(run.at_storescp()[run.job(run.enhanced)["series_uid"]])
    single, source = _enhanced_hu(made), _enhanced_hu(run.enhanced)

    assert single[0] == classic[0] == source[0]
    assert np.array_equal(single[1], classic[1])
    assert not np.array_equal(single[1], source[1])
    # The frames of the other source are the same images, so that what was made of them is too.
    assert np.array_equal(_classic_hu(run.at_storescp()[run.job(run.legacy)["series_uid"]])[1], classic[1])


@pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")
def test_validators_find_nothing_in_either_form(run: Run) -> None:
    by_series = run.at_storescp()
    (made,) = (files[0] for files in run.at_orthanc().values() if len(files) == 1)
    assert lint(made, run.enhanced) == []
    for source in (run.enhanced, run.legacy):
        files = by_series[run.job(source)["series_uid"]]
        for path in (files[0], files[-1]):
            assert lint(path, source) == []
        assert set(entities([source, *files])) <= set(entities([source]))
    assert set(entities([run.enhanced, made])) <= set(entities([run.enhanced]))


def test_a_legacy_converted_source_gives_the_classic_form_to_all_and_the_log_says_why(run: Run) -> None:
    job = run.job(run.legacy)
    of_legacy = run.at_orthanc()[job["series_uid"]]

    assert job["state"] == "delivered"
    assert [_read(path).SOPClassUID for path in of_legacy] == [CT] * SLICES
    assert {row["confirmed"] for row in job["destinations"]} == {SLICES}
    assert len(run.narrow.kept()) == SLICES
    said = [json.loads(line) for line in run.node.log.read_text(encoding="utf-8").splitlines()]
    (why,) = [line for line in said if line["event"] == "classic form instead of the enhanced one"]
    assert job["id"].startswith(why["job"])
    assert why["reason"] == "the sources are no Enhanced objects with attributes of their own for it"


def test_an_archive_that_does_not_take_the_class_ends_dead_with_the_reason_and_hinders_nobody(run: Run) -> None:
    job = run.job(run.enhanced)
    rows = by_destination(job)

    assert job["state"] == "dead"
    assert NOT_TAKEN in job["reason"]
    assert job["reason"].startswith("narrow: ")
    assert (rows["narrow"]["state"], rows["narrow"]["confirmed"]) == ("dead", 0)
    assert [(rows[name]["state"], rows[name]["confirmed"]) for name in ("orthanc", "storescp")] == [
        ("delivered", 1),
        ("delivered", SLICES),
    ]
    code, said, _ = cli("show", "-c", run.node.file, str(_read(run.enhanced).SeriesInstanceUID))
    assert code == 0
    assert NOT_TAKEN in said


def test_a_second_run_changes_nothing(run: Run) -> None:
    before = run.state()
    for path in (run.enhanced, run.legacy):
        send(run.node, path)
    code, _, trouble = cli("replay", "-c", run.node.file, str(_read(run.enhanced).SeriesInstanceUID))
    assert code == 0, trouble
    wait_until("the dead letter is sent again", lambda: run.job(run.enhanced)["state"] != "dead", timeout_s=20)
    run.node.wait_settled(2, timeout_s=120)

    assert run.state() == before
