"""A series comes to lie on the grid of another one, or is refused with the figure that speaks against it.

Real T1, T2 and FLAIR of one head, seen by a made-up scanner in other planes and spacings after a motion that is known;
`python -m tests.bench.registration` has more of them, at full resolution.
"""

from typing import Any

import numpy as np
import pytest

from pipelines.role import Registered
from pipelines.steps import placing, register, resample
from pipelines.steps.register import Placed
from pipelines.volume import Volume
from tests.mr_series import STROKE, TUMOUR, middle_of, motion, real, seen

BELIEVED = Registered()
STILL = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
MOVED = ((6.0, -4.0, 8.0), (5.0, -4.0, 6.0))


def half(case: str, role: str) -> Volume:
    """A real series at 2 mm, which is fast."""
    return resample.binned(real(case, role), (2, 2, 2))


def series(role: str, moved: Any = STILL, spacing: Any = (5.0, 1.8, 1.8), plane: str = "axial") -> Volume:
    return seen(half(STROKE, role), motion(*moved, middle_of(half(STROKE, "t1"))), spacing, plane)


def at(fixed: Volume, moving: Volume, *, same_frame: bool = True, believed: Registered = BELIEVED) -> Placed:
    return register.register(fixed, moving, same_frame=same_frame, believed=believed)


def error_mm(fixed: Volume, found: Placed, moved: Any) -> float:
    """Mean distance within the head between where the motion found puts it and where it is."""
    places = np.argwhere(placing.head_of(fixed.voxels))[::997]
    lps = fixed.affine @ np.vstack([places.T, np.ones(len(places))])
    true = motion(*moved, middle_of(fixed))
    return float(np.linalg.norm(((found.motion - true) @ lps)[:3], axis=0).mean())


@pytest.mark.parametrize("role", ["t2", "flair"])
@pytest.mark.parametrize(
    ("spacing", "plane"), [((5.0, 1.8, 1.8), "axial"), ((2.0, 2.0, 2.0), "sagittal"), ((4.0, 1.4, 1.4), "coronal")]
)
def test_a_known_motion_is_found_to_less_than_a_voxel(role: str, spacing: Any, plane: str) -> None:
    t1 = half(STROKE, "t1")

    found = at(t1, series(role, MOVED, spacing, plane))

    assert found.reasons == ()
    assert error_mm(t1, found, MOVED) < 2.0  # a voxel of T1
    assert found.shift_mm == pytest.approx(np.linalg.norm(MOVED[0]), abs=2.0)
    assert found.quality > found.quality_start + 0.2
    assert found.mutual > found.mutual_start
    assert found.voxels.shape == t1.voxels.shape


def test_a_repeat_gives_the_same_bytes_also_with_more_threads() -> None:
    t1, moving = half(STROKE, "t1"), series("flair", MOVED)

    first = at(t1, moving)
    second = register.register(t1, moving, same_frame=True, believed=BELIEVED, threads=2)

    assert np.array_equal(first.motion, second.motion)
    assert np.array_equal(first.voxels, second.voxels)
    again, padding = resample.place(t1, moving, np.array(first.figures()["motion"]))
    assert np.array_equal(again, first.voxels)
    assert np.array_equal(padding, first.padding)


def test_one_grid_and_one_frame_is_taken_as_it_is() -> None:
    t1, flair = half(STROKE, "t1"), half(STROKE, "flair")

    found = at(t1, flair)

    assert found.identity
    assert np.array_equal(found.voxels, flair.voxels)
    assert (found.shift_mm, found.rotation_deg) == (0.0, 0.0)
    assert found.reach[3] == (3, 4)


def test_one_frame_and_another_grid_stays_where_its_header_says() -> None:
    t1 = half(STROKE, "t1")

    found = at(t1, series("flair"))

    assert not found.identity
    assert found.shift_mm < 1.0
    assert found.quality >= found.quality_start


def test_another_frame_of_reference_is_found_from_where_the_heads_are() -> None:
    far = ((70.0, -40.0, 50.0), (8.0, -5.0, 10.0))
    t1, moving = half(STROKE, "t1"), series("flair", ((0.0, 0.0, 0.0), far[1]))
    affine = moving.affine.copy()
    affine[:3, 3] += far[0]  # the table moved with the patient
    shifted = Volume(voxels=moving.voxels, affine=affine, unit="MR")

    found = at(t1, shifted, same_frame=False)

    assert found.reasons == ()
    assert error_mm(t1, found, far) < 2.0
    held = at(t1, shifted, same_frame=True)
    assert any(line.startswith("it would have to be shifted by") for line in held.reasons)


def _of_another_patient(t1: Volume) -> Volume:
    other = resample.binned(real(TUMOUR, "flair"), (2, 2, 2))
    affine = other.affine.copy()
    affine[:3, 3] += middle_of(t1) - middle_of(resample.binned(real(TUMOUR, "t1"), (2, 2, 2)))
    return seen(Volume(voxels=other.voxels, affine=affine, unit="MR"), np.eye(4), (4.0, 1.8, 1.8), "axial")


def _noise(t1: Volume) -> Volume:
    moving = series("flair")
    noise = np.random.default_rng(5).rayleigh(100.0, moving.voxels.shape).astype(np.float32)
    return Volume(voxels=noise, affine=moving.affine, unit="MR")


def _turned(t1: Volume) -> Volume:
    return series("flair", ((0.0, 0.0, 0.0), (0.0, 0.0, 90.0)))


@pytest.mark.parametrize("same_frame", [True, False])
@pytest.mark.parametrize("wrong", [_of_another_patient, _noise, _turned])
def test_what_is_not_the_same_head_in_the_same_way_is_refused(wrong: Any, same_frame: bool) -> None:
    t1 = half(STROKE, "t1")

    found = at(t1, wrong(t1), same_frame=same_frame)

    assert found.reasons


def test_what_reaches_half_of_the_head_is_refused_and_what_lies_outside_is_dark() -> None:
    t1, moving = half(STROKE, "t1"), series("flair")
    lower = Volume(voxels=moving.voxels[: len(moving.voxels) // 2], affine=moving.affine, unit="MR")

    found = at(t1, lower)

    assert 0.3 < found.cover < 0.7
    assert any(line.startswith(f"it reaches {100 * found.cover:.0f} % of the head") for line in found.reasons)
    assert found.padding.any()
    assert not found.voxels[found.padding].any()
    assert found.reach[0] != (0, 0)
    assert found.reach[-1] == (0, 0)
    wanted = Registered(cover=0.3)
    assert at(t1, lower, believed=wanted).reasons == ()


def test_a_coarse_slice_is_the_mean_of_the_fine_ones_that_lie_in_it() -> None:
    """Anti-aliasing: with every fifth slice only, a pattern of 2 mm would become one of 10 mm."""
    fine = np.zeros((50, 16, 16), np.float32)
    fine[::2] = 100.0
    moving = Volume(voxels=fine, affine=np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], unit="MR")
    affine = moving.affine.copy()
    affine[:3, 0] *= 10
    affine[:3, 3] = moving.affine[:3, 0] * 4.5
    coarse = Volume(voxels=np.zeros((5, 16, 16), np.float32), affine=affine, unit="MR")

    voxels, padding = resample.place(coarse, moving, np.eye(4))

    assert not padding.any()
    assert np.allclose(voxels, 50.0, atol=0.01)


def test_reach_names_the_slices_that_a_slice_of_the_grid_is_made_of() -> None:
    """5 mm slices on a 1 mm grid: two of them at most, and one where both lie at the same height."""
    moving = Volume(
        voxels=np.ones((6, 8, 8), np.float32), affine=np.diag([1.0, 1.0, 5.0, 1.0])[:, [2, 1, 0, 3]], unit="MR"
    )
    grid = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    indices = placing.index_map(grid, moving.affine, np.eye(4))
    inside = placing.covered((30, 8, 8), moving.voxels.shape, indices)

    found = placing.reach(inside, 6, indices, 0.0)

    assert found[0] == (0, 1)
    assert found[5] == (1, 2)
    assert found[6] == (1, 3)
    assert found[27] == (5, 6)
    assert found[28] == (0, 0)  # 2.5 mm beyond the last slice's middle it ends


def test_a_missing_library_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    resample.library.cache_clear()
    monkeypatch.setattr(resample.importlib.util, "find_spec", lambda name: None)
    t1 = Volume(voxels=np.ones((8, 32, 32), np.float32), affine=np.eye(4), unit="MR")
    other = Volume(voxels=np.ones((4, 32, 32), np.float32), affine=np.diag([2.0, 1.0, 1.0, 1.0]), unit="MR")

    with pytest.raises(resample.Unavailable, match=r"pip install '\.\[mr\]'"):
        at(t1, other)
    resample.library.cache_clear()
