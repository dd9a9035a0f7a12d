"""A job's series comes to the grid in a child, and after a restart of the machine to the same bytes or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from node import app
from node.child import Child
from node.errors import BadSetting, NotRegistered, Refuse
from node.prepared import Prepared
from node.processing.arrays import Arrays
from node.processing.parts import SetPart, Taken
from node.processing.registrations import frames_of_reference, outcome
from node.settings import parse
from node.spool import Spool
from pipelines.role import Registered
from pipelines.steps import resample
from pipelines.volume import Volume
from tests.mr_series import STROKE, Scanned, middle_of, motion, real, seen, write_mr_series
from tests.running_node import settings_for


@pytest.fixture
def arrays(tmp_path: Path) -> Iterator[Arrays]:
    spool = Spool(tmp_path / "state", reserve_bytes=1)
    spool.prepare()
    with closing(Child(memory_mb=4096, seconds=250)) as child:
        yield Arrays(
            spool=spool, child=child, registrar=lambda: Child(memory_mb=4096, seconds=250, doing="Registration")
        )


def half(role: str) -> Volume:
    return resample.binned(real(STROKE, role), (2, 2, 2))


def part(folder: Path, volume: Volume, role: str, *, frame: str = "frame of reference") -> SetPart:
    """A part of a set, of files on disk."""
    paths = write_mr_series(folder / role, volume, Scanned(key=role, study="study", role=role, frame=frame))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    slices = [
        Taken(
            path=path,
            uid=str(one.SOPInstanceUID),
            frame=0,
            header={"FrameOfReferenceUID": (str(one.FrameOfReferenceUID),)},
        )
        for path, one in zip(paths, headers, strict=True)
    ]
    return SetPart(label="all", slices=tuple(slices))


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, SetPart]:
    moved = motion((5.0, 3.0, -4.0), (2.0, 3.0, -3.0), middle_of(half("t1")))
    flair = seen(half("flair"), moved, (4.0, 1.8, 1.8), "coronal")
    return {"t1": part(tmp_path, half("t1"), "t1"), "flair": part(tmp_path, flair, "flair")}


def brought(arrays: Arrays, parts: dict[str, SetPart], believed: Registered | None = None) -> tuple[Prepared, Prepared]:
    grid, flair = arrays.decode("job", parts["t1"]), arrays.decode("job", parts["flair"], "flair")
    return grid, arrays.register("job", grid, flair, "flair", same_frame=True, believed=believed or Registered())


@pytest.mark.timeout(600)
def test_a_series_on_the_grid_is_the_same_again_after_a_restart_or_refused(
    arrays: Arrays, parts: dict[str, SetPart]
) -> None:
    grid, placed = brought(arrays, parts)
    prepared = Prepared.from_json(replace(grid, roles={"flair": placed}).to_json())
    assert prepared.roles["flair"] == placed

    def volumes(known: Prepared) -> tuple[Volume, Volume]:
        first = arrays.volume("job", known, lambda: parts["t1"])
        role = known.roles["flair"]
        return first, arrays.volume("job", role, lambda: parts["flair"], "flair", grid=known)

    t1, flair = volumes(prepared)
    assert t1.on_the_grid_of(flair)
    assert flair.placed["shift_mm"] == pytest.approx(np.sqrt(50), abs=1.5)
    assert len(flair.placed["reach"]) == len(t1.voxels)
    assert len(placed.sources) == len(parts["flair"].slices) != len(t1.voxels)
    assert outcome(flair.placed) == "moved"
    before = np.array(flair.voxels)

    shutil.rmtree(arrays.folder("job"))  # as a restart of the machine leaves it
    _, again = volumes(prepared)
    assert np.array_equal(again.voxels, before)

    shutil.rmtree(arrays.folder("job"))
    other = replace(placed, placed={**(placed.placed or {}), "sha256": "0" * 64})
    with pytest.raises(Refuse, match="no longer comes to lie on the grid as it did"):
        volumes(replace(prepared, roles={"flair": other}))


@pytest.mark.timeout(600)
def test_a_motion_that_is_not_believed_holds_with_figure_and_bound(arrays: Arrays, parts: dict[str, SetPart]) -> None:
    with pytest.raises(NotRegistered, match=r"shifted by \d\.\d mm, at most 1 mm are believed") as held:
        brought(arrays, parts, Registered(shift_mm=1.0))

    assert held.value.fix


def test_frames_of_reference_agree_only_where_both_name_one(parts: dict[str, SetPart]) -> None:
    one = parts["t1"]
    unnamed = replace(one, slices=tuple(replace(slice_, header={}) for slice_ in one.slices))
    drawn = replace(
        one, slices=tuple(replace(s, header={"FrameOfReferenceUID": (f"1.{n}",)}) for n, s in enumerate(one.slices))
    )

    assert frames_of_reference(one) == frames_of_reference(parts["flair"])
    assert frames_of_reference(one) != frames_of_reference(unnamed)
    assert frames_of_reference(drawn) != frames_of_reference(one)
    other = replace(parts["flair"], slices=tuple(replace(s, header={}) for s in parts["flair"].slices))
    assert frames_of_reference(unnamed) != frames_of_reference(other)


def test_without_simpleitk_a_rule_that_needs_it_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = ({"name": "heads", "pipeline": "mr-postcontrast"},)
    raw = settings_for(tmp_path, rules=rules)
    settings = parse(
        {**raw, "destinations": [{**one, "synthetic": True} for one in raw["destinations"]]}, source="test"
    )
    assert set(app.pipelines_of(settings)) == {"mr-postcontrast"}

    monkeypatch.setattr(resample, "available", lambda: False)

    with pytest.raises(BadSetting, match=r"'heads' needs mr-postcontrast.*pip install '\.\[mr\]'"):
        app.pipelines_of(settings)
    assert app.pipelines_of(parse(settings_for(tmp_path), source="test"))  # a node for CT goes without
