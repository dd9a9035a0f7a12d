"""Between a prepared volume and its verdict: results that survive, measuring beside the network, early objects."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.pool import resident_bytes
from node.dicom.plane_files import DecodedPlane
from node.errors import Retry
from node.processing.early import CHUNK, Early
from node.processing.following import Following, Followings
from node.processing.mapped import forget, mapped
from node.processing.partial import Partial
from node.processing.planes import Planes, Recipe
from node.processing.turns import Turns
from node.records.instances import Instance
from pipelines.ct_denoise import CT_DENOISE
from pipelines.judging import Judging
from pipelines.report import Finding, Report, Verdict
from pipelines.run import asked
from pipelines.volume import Volume

Plane = NDArray[np.float32]
AFFINE = np.diag([2.0, 0.7, 0.7, 1.0])


def volume(slices: int, side: int = 96) -> Volume:
    voxels = np.random.default_rng(1).normal(30.0, 20.0, (slices, side, side)).astype(np.float32)
    return Volume(voxels=voxels, affine=AFFINE, unit="HU", padding=np.zeros(voxels.shape, bool))


def judging(slices: int, again: Callable[[Plane, int], Plane] = lambda image, index: image) -> Judging:
    source = volume(slices)
    smooth = (source.voxels * np.float32(0.9)).astype(np.float32)
    result = Volume(voxels=smooth, affine=AFFINE, unit="HU", padding=source.padding)
    return Judging(CT_DENOISE, source, result, again=again, chosen=asked(CT_DENOISE, source, {}))


@pytest.mark.parametrize("order", [range(24), range(23, -1, -1), (5, 3, 11, 5)])
def test_the_order_in_which_slices_are_measured_changes_no_finding(order: range) -> None:
    some = judging(24)
    for index in order:
        some.measure(index)

    assert some.report() == judging(24).report()


def test_what_the_slices_say_so_far_is_no_verdict_on_those_that_follow() -> None:
    source = volume(24)
    made = source.voxels.copy()
    made[20] += 500.0
    some = Judging(
        CT_DENOISE,
        source,
        Volume(voxels=made, affine=AFFINE, unit="HU", padding=source.padding),
        again=lambda image, index: image,
        chosen=asked(CT_DENOISE, source, {}),
    )
    assert some.so_far() is None, "nothing was measured"
    for index in range(16):
        some.measure(index)
    before = some.so_far()

    assert before is not None
    assert "low_frequency_lock" not in {finding.name for finding in before.failed}
    assert "low_frequency_lock" in {finding.name for finding in some.report().failed}


def test_a_result_goes_on_where_a_dead_writer_left_it(tmp_path: Path) -> None:
    path = tmp_path / "result.npy"
    first = Partial.open(path, (4, 8, 8), maker="one")
    first.voxels[2] = 7.0
    first.wrote(2)

    second = Partial.open(path, (4, 8, 8), maker="one")
    found = second.known(2)
    assert found is not None
    assert float(found[0, 0]) == 7.0
    assert second.known(1) is None
    assert Partial.open(path, (4, 8, 8), maker="another").known(2) is None, "other libraries, other slices"

    second.finish(path)
    assert np.array_equal(mapped(path), second.voxels)


def test_a_disk_without_room_is_said_before_anything_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(Retry, match="No space left"):
        Partial.open(tmp_path / "result.npy", (4, 8, 8), maker="one")
    assert not list(tmp_path.iterdir())


def test_a_long_series_does_not_stay_in_memory(tmp_path: Path) -> None:
    shape = (600, 256, 256)  # 157 MB
    partial = Partial.open(tmp_path / "result.npy", shape, maker="one")
    before = resident_bytes()
    for index in range(shape[0]):
        partial.voxels[index] = index
        partial.wrote(index)
    partial.finish(tmp_path / "result.npy")
    read = mapped(tmp_path / "result.npy")
    for index in range(shape[0]):
        assert read[index, 3, 3] == index
        if index % 16 == 0:
            forget(read)
    forget(read)

    assert resident_bytes() - before < 30 << 20


def report(*findings: tuple[str, Verdict]) -> Report:
    return Report(
        pipeline="p",
        version="1",
        findings=tuple(
            Finding(name=name, value=1.0, limit=1.0, verdict=verdict, version="1", text="")
            for name, verdict in findings
        ),
    )


class Said:
    """A judging that says what it is told."""

    def __init__(self, *reports: Report | None) -> None:
        self.reports = list(reports)

    def so_far(self) -> Report | None:
        return self.reports.pop(0)


def early(said: Said, total: int) -> tuple[Early, list[tuple[tuple[int, int], str]]]:
    written: list[tuple[tuple[int, int], str]] = []

    def write(found: Report, chunk: tuple[int, int], result: Path) -> dict[str, Any]:
        written.append((chunk, result.name))
        return {"instances": [*range(*chunk)]}

    judged: Any = said
    return Early(judged, write=write, making=Path("making"), total=total), written


def test_objects_that_say_what_the_verdict_says_are_written_once() -> None:
    passed = report(("a", Verdict.PASS))
    some, written = early(Said(passed, passed), 2 * CHUNK + 3)
    for index in reversed(range(2 * CHUNK)):
        some.measured(index)
    replies = some.complete(passed, Path("whole"))

    assert sorted(written) == [((0, 16), "making"), ((16, 32), "making"), ((32, 35), "whole")]
    assert [index for reply in replies for index in reply["instances"]] == list(range(35))


@pytest.mark.parametrize(
    "guess",
    [
        None,
        report(("a", Verdict.REJECT)),
        report(("a", Verdict.CAUTION)),
        report(("b", Verdict.PASS), ("a", Verdict.PASS)),
    ],
)
def test_objects_that_say_something_else_are_written_again(guess: Report | None) -> None:
    some, written = early(Said(guess), CHUNK)
    for index in range(CHUNK):
        some.measured(index)
    some.complete(report(("a", Verdict.PASS)), Path("whole"))

    assert written[-1] == ((0, 16), "whole")


def test_a_slice_that_cannot_be_measured_now_is_measured_for_the_verdict() -> None:
    calls: list[int] = []

    def away_once(image: Plane, index: int) -> Plane:
        calls.append(1)
        if len(calls) == 1:
            raise Retry("The engine is away.")
        return image

    some = judging(24, away_once)
    following = Following(some, None)
    for index in range(24):
        following.made(index)

    assert following.report() == judging(24).report()


def test_a_job_whose_worker_died_is_judged_anew() -> None:
    assert Followings().report("job", lambda: judging(5)) == judging(5).report()


def test_a_complete_series_goes_before_work_ahead() -> None:
    turns, order, begun = Turns(), [], threading.Event()

    def ahead() -> None:
        with turns.spare() as mine:
            assert mine
            begun.set()
            time.sleep(0.1)
            order.append("ahead")

    thread = threading.Thread(target=ahead)
    thread.start()
    begun.wait(5.0)
    with turns.next():
        order.append("complete")
        with turns.spare() as mine:
            assert not mine, "it is not let in beside it"
    thread.join()
    with turns.spare() as mine:
        assert mine
    assert order == ["ahead", "complete"]


INSTANCE = Instance(
    sop_instance_uid="1.2", sop_class_uid="1", study_uid="1", series_uid="1.3", transfer_syntax="1", patient_key="",
    file="", bytes=0, sha256="ab" * 32, pixel_sha256="", header={}, association="", received_at=0.0,
)  # fmt: skip
RECIPE = Recipe(pipeline="p", version="1", engine_sha256="e", parameters={"a": 1}, pixel_mm=None, maker="m")


def test_a_slice_made_ahead_is_used_for_the_very_same_slice_only(tmp_path: Path) -> None:
    planes = Planes(tmp_path, free_bytes=lambda: 1 << 40, keep_bytes=0, limit=1 << 30)
    source, padding = volume(1).voxels[0], np.zeros((96, 96), bool)
    assert planes.begin("1.3")
    DecodedPlane(voxels=source, padding=padding, sha256="ab").write(planes.source(INSTANCE))
    planes.put(planes.made(INSTANCE, RECIPE), source + 1, 0.25)

    found = planes.take(INSTANCE, RECIPE, source, padding)
    assert found is not None
    assert np.array_equal(found[0], source + 1)
    assert found[1] == 0.25
    other = source.copy()
    other[5, 5] += 1
    assert planes.take(INSTANCE, RECIPE, other, padding) is None
    assert planes.take(INSTANCE, RECIPE, source, ~padding) is None
    changes: tuple[dict[str, Any], ...] = (
        {"pipeline": "q"}, {"version": "2"}, {"engine_sha256": "f"}, {"parameters": {"a": 2}}, {"pixel_mm": 0.7},
        {"maker": "n"},
    )  # fmt: skip
    for change in changes:
        changed = Recipe(**{**RECIPE.__dict__, **change})
        assert planes.take(INSTANCE, changed, source, padding) is None, change
    planes.drop_others({"1.3"})
    assert planes.take(INSTANCE, RECIPE, source, padding) is not None
    planes.drop_others(set())
    assert planes.take(INSTANCE, RECIPE, source, padding) is None


def test_work_ahead_takes_no_more_disk_than_it_may(tmp_path: Path) -> None:
    assert Planes(tmp_path, free_bytes=lambda: 10, keep_bytes=9, limit=1).has_room()
    assert not Planes(tmp_path, free_bytes=lambda: 10, keep_bytes=10, limit=1).has_room()
    planes = Planes(tmp_path, free_bytes=lambda: 10, keep_bytes=0, limit=1000)
    planes.begin("1.3")
    planes.put(planes.made(INSTANCE, RECIPE), np.zeros((20, 20), np.float32), 0.0)
    assert not planes.has_room()


def test_what_took_a_worker_down_is_not_tried_again(tmp_path: Path) -> None:
    planes = Planes(tmp_path, free_bytes=lambda: 10, keep_bytes=0, limit=1000)
    assert planes.begin("1.3")
    with planes.working("1.3"):
        assert not planes.begin("1.3"), "as a worker finds it that starts after a kill in here"
    assert planes.begin("1.3")
