"""A result that is rejected after objects of it were written: nothing stays, nothing leaves until a person says so.

The slices from the 17th on are 25 HU too bright, as if their Rescale Intercept were wrong: what was measured of the
first chunk is good, and the verdict over the series is not.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import func, select

from node.demo.ct_series import Scan, write_ct_series
from node.demo.phantom import SPACING_MM, make_volume
from node.processing.early import CHUNK
from node.records.tables import DELIVERIES, DISPATCHES, RESULTS
from tests.peers import StoreScp, dcmsend, wait_until
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for

pytestmark = pytest.mark.peers
SLICES, SIDE = 4 * CHUNK, 256
FINDING = "hounsfield_scale"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The node once it has held the result. `seen`: objects that were in its spool before that, by time."""

    node: RunningNode
    storescp: StoreScp
    series: str
    seen: list[set[Path]]

    @property
    def out(self) -> Path:
        """Where objects are that were made."""
        return self.node.settings.node.state.absolute() / "spool" / "out"

    def job(self) -> dict[str, Any]:
        (one,) = self.node.show(self.series)["sets"]
        (job,) = one["jobs"]
        return dict(job)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("rejected")
    files = too_bright_later(folder / "scan")
    # Without work ahead the network makes the slices while the first of them are written.
    with (
        StoreScp(folder / "storescp") as storescp,
        RunningNode(
            folder / "node", settings_for(folder / "node", destinations=[storescp], engines={"eager": False})
        ) as node,
    ):
        (answer,) = dcmsend(node.port, files, called=AE_TITLE)
        assert answer.stored == SLICES, answer.output[-2000:]
        made = Run(node=node, storescp=storescp, series=str(pydicom.dcmread(files[0]).SeriesInstanceUID), seen=[])
        ends = time.monotonic() + 120.0
        while not any(job["state"] == "held" for job in node.jobs()):
            assert time.monotonic() < ends, node.tail()
            made.seen.append(set(made.out.rglob("*.dcm")))
            assert made.storescp.files() == []
            time.sleep(0.01)
        yield made


def too_bright_later(folder: Path) -> list[Path]:
    """A phantom with air on one side."""
    voxels = make_volume(slices=SLICES)[:, 128 : 128 + SIDE, :SIDE]
    voxels[CHUNK:] += 25.0
    first_mm = (-SPACING_MM * SIDE, -SPACING_MM * SIDE / 2, 0.0)
    scan = Scan(key="rejected flow", patient_name="PHANTOM", patient_id="PHANTOM-1", kernel="Hr40")
    spacing_mm = (2.0, SPACING_MM, SPACING_MM)
    return write_ct_series(folder, voxels, scan=scan, spacing_mm=spacing_mm, first_mm=first_mm)


def test_of_what_was_written_before_the_verdict_nothing_stays_and_nothing_left(run: Run) -> None:
    assert max(map(len, run.seen)) >= CHUNK, "objects were written before the verdict"
    job = run.job()

    assert (job["state"], [one["name"] for one in job["report"]["findings"] if one["verdict"] == "reject"]) == (
        "held",
        [FINDING],
    )
    assert [path for path in run.out.rglob("*") if path.is_file()] == []
    assert [path for path in (run.out.parent / "work").rglob("*") if path.is_file()] == []
    assert job["destinations"] == []
    with closing(run.node.records()) as records, records.read() as connection:
        rows = [
            connection.scalar(select(func.count()).select_from(table)) for table in (RESULTS, DISPATCHES, DELIVERIES)
        ]
    assert rows == [0, 0, 0]
    assert run.storescp.files() == []


def test_what_a_person_releases_is_made_again_and_leaves_with_a_caution(run: Run) -> None:
    code, said, trouble = cli(
        "release", "-c", run.node.file, run.job()["id"][:12], "--by", "A. Physicist", "--reason", "a phantom"
    )
    assert code == 0, trouble
    assert f"Released, with a caution: {FINDING}" in said
    wait_until("it is delivered", lambda: run.job()["state"] == "delivered", timeout_s=120)

    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in run.storescp.files()]
    assert len(images) == SLICES
    assert {str(one.SeriesInstanceUID) for one in images} == {run.job()["series_uid"]}
    assert all(one.SeriesDescription.startswith("AI DENOISED CAUTION - ") for one in images)
    assert all(one.ImageComments.startswith("CAUTION: ") and FINDING in one.ImageComments for one in images)
    assert len(list(run.out.rglob("*.dcm"))) == SLICES
