"""The real glioma's T1, T2 and FLAIR through a running node with the network that ships: a synthetic series and a map.

The series have other spacings and orientations and come in any order. The glioma has no skull in the public data, so
that two of the structures which must always enhance are not there to be seen: the result carries a caution.
"""

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.dicom import codes
from tests import dicom_lint
from tests.mr_series import TUMOUR, Scanned, middle_of, motion, real, seen, write_mr_series
from tests.peers import dcmsend, wait_until
from tests.running_node import AE_TITLE, ENDED, RunningNode, settings_for

pytestmark = [pytest.mark.peers, pytest.mark.timeout(900)]

GRIDS = {"t1": ((3.0, 1.0, 1.0), "axial"), "t2": ((4.0, 0.9, 0.9), "axial"), "flair": ((5.0, 1.0, 1.0), "sagittal")}
MOVED = {"t1": ((0, 0, 0), (0, 0, 0)), "t2": ((4, -3, 5), (3, -2, 4)), "flair": ((0, 0, 0), (0, 0, 0))}
AGENT = "Gadobutrol"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    real(TUMOUR, "t1")
    folder = tmp_path_factory.mktemp("postcontrast")
    target = {"kind": "folder", "name": "folder", "path": str(folder / "out"), "synthetic": True}
    rule = {
        "name": "contrast",
        "pipeline": "mr-postcontrast",
        "destinations": ["folder"],
        "wait_s": 3.0,
        "missing": "proceed",
        "map": True,
    }
    raw = settings_for(folder, rules=[rule], assemble={"settle_s": 0.2, "quiet_s": 2.0})
    with RunningNode(folder / "node", {**raw, "destinations": [target]}) as running:
        yield running


def written(folder: Path, study: str, role: str, **more: Any) -> list[Path]:
    head = real(TUMOUR, "t1")
    volume = seen(real(TUMOUR, role), motion(*MOVED[role], middle_of(head)), *GRIDS[role])
    scanned = Scanned(
        key=f"{study}/{role}",
        study=study,
        role=role,
        series_number=2 + list(GRIDS).index(role),
        started=dt.datetime(2026, 1, 5, 9, 10 + list(GRIDS).index(role)),  # noqa: DTZ001 - local to the scanner
        **more,
    )
    return write_mr_series(folder / role, volume, scanned)


def sent(node: RunningNode, files: Sequence[Path]) -> str:
    (answer,) = dcmsend(node.port, files, called=AE_TITLE)
    assert answer.stored == len(files), answer.output
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


def job_of(node: RunningNode, t1: str) -> dict[str, Any]:
    """The job of a study, when it has ended."""

    def ended() -> bool:
        return any(job["source_series_uid"] == t1 and job["state"] in ENDED for job in node.jobs())

    wait_until(f"the job of a study ends; {node.tail()}", ended, timeout_s=600)
    return next(job for job in node.jobs() if job["source_series_uid"] == t1)


def delivered(node: RunningNode, modality_class: str, study: str) -> list[Path]:
    out = Path(next(one.path for one in node.settings.destinations if one.name == "folder"))  # type: ignore[union-attr]
    found = []
    for path in sorted(out.rglob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if (ds.SOPClassUID.keyword, ds.StudyInstanceUID) == (modality_class, study):
            found.append(path)
    return found


def test_a_real_study_in_any_order_becomes_one_synthetic_series_that_says_so(node: RunningNode, tmp_path: Path) -> None:
    sources = {role: written(tmp_path, "real", role) for role in GRIDS}
    uids = {}
    for role in ("flair", "t1", "t2"):
        uids[role] = sent(node, sources[role])
        time.sleep(1.0)  # the scanner goes on with something else

    job = job_of(node, uids["t1"])

    assert job["state"] == "delivered", job["reason"]
    first = pydicom.dcmread(sources["t1"][0])
    paths = delivered(node, "MRImageStorage", first.StudyInstanceUID)
    images = sorted((pydicom.dcmread(path) for path in paths), key=lambda ds: int(ds.InstanceNumber))
    before = [pydicom.dcmread(path) for path in sources["t1"]]
    assert len(images) == len(before)
    assert len({ds.SeriesInstanceUID for ds in images}) == 1
    for made, t1_slice in zip(images, before, strict=True):
        assert made.ImagePositionPatient == t1_slice.ImagePositionPatient
        assert (made.pixel_array >= t1_slice.pixel_array).all(), "nothing darkens, in the stored values too"
        assert made.SyntheticData == "YES"
        assert made.SeriesDescription.startswith("SYNTHETIC CE T1 (AI) NOT ACQUIRED")
        assert "CAUTION" in made.SeriesDescription, "sinus and base of the skull are not there to be seen"
        assert "No contrast agent was administered" in made.DerivationDescription
        assert made[0x6000, 0x3000].value
        assert not [keyword for keyword in codes.CONTRAST if keyword in made]
    assert any((made.pixel_array > was.pixel_array).any() for made, was in zip(images, before, strict=True))
    assert len(delivered(node, "ParametricMapStorage", first.StudyInstanceUID)) == 1
    for made, source in ((paths[0], sources["t1"][0]), (paths[len(paths) // 2], sources["t1"][len(paths) // 2])):
        assert dicom_lint.lint(made, source) == []
    assert dicom_lint.entities([*sources["t1"], *paths]) == dicom_lint.entities(sources["t1"])


def test_without_flair_it_is_made_of_two(node: RunningNode, tmp_path: Path) -> None:
    for role in ("t2", "t1"):
        uid = sent(node, written(tmp_path, "without flair", role))

    job = job_of(node, uid)

    assert job["state"] == "delivered", job["reason"]
    study = str(pydicom.dcmread(next((tmp_path / "t1").iterdir())).StudyInstanceUID)
    made = pydicom.dcmread(delivered(node, "MRImageStorage", study)[0])
    assert len(made.ReferencedSeriesSequence) == 2


def test_a_t1_after_contrast_agent_is_refused_with_the_reason(node: RunningNode, tmp_path: Path) -> None:
    for role, more in (("t2", {}), ("flair", {}), ("t1", {"elements": {"ContrastBolusAgent": AGENT}})):
        uid = sent(node, written(tmp_path, "given", role, **more))

    def said() -> bool:
        return any("ContrastBolusAgent" in str(one["reasons"]) for one in node.sets() if one["series_uid"] == uid)

    wait_until(f"the reason is kept; {node.tail()}", said, timeout_s=300)
    assert not [job for job in node.jobs() if job["source_series_uid"] == uid]
    assert AGENT not in node.tail()
