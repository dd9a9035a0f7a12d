"""How a head lies: a pose within 1 mm and 1 degree, on the grid the same head, and back; the same bits every time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import head_template
from engines.head import GRID, HeadStack, NotAligned, Pose, align, brain_mask, features, to_grid, to_source
from engines.head_template import TemplateDamaged
from tests.painted_head import Scanned, apart, scan, turned

SMALL: dict[str, Any] = {"pixel_mm": 1.5, "side": 160, "slices": 36}


def posed(scanned: Scanned) -> tuple[Pose, NDArray[np.bool_]]:
    mask = brain_mask(scanned.voxels, scanned.spacing_mm)
    return align(scanned.voxels, scanned.affine, mask), mask


@pytest.fixture(scope="module")
def straight() -> Scanned:
    return scan(**SMALL)


@pytest.fixture(scope="module")
def found(straight: Scanned) -> tuple[Pose, NDArray[np.bool_]]:
    return posed(straight)


@pytest.fixture(scope="module")
def stack(straight: Scanned, found: tuple[Pose, NDArray[np.bool_]]) -> HeadStack:
    return to_grid(straight.voxels, *found)


@pytest.mark.parametrize(
    ("angles", "shift_mm", "more"),
    [
        ((14.0, -9.0, 6.0), (6.0, -8.0, 10.0), {}),
        ((-18.0, 20.0, 0.0), (0.0, 0.0, 0.0), {"flips": (-1, 1, -1)}),  # feet first
        ((5.0, 0.0, -8.0), (-5.0, 4.0, 0.0), {"flips": (1, -1, -1), "noise_hu": 8.0}),  # prone, noisy
        ((0.0, 4.0, 3.0), (2.0, 0.0, 1.0), {"slice_mm": 2.5, "slices": 72}),
    ],
)
def test_a_head_that_lies_otherwise_is_found_within_a_millimetre_and_a_degree(
    straight: Scanned,
    found: tuple[Pose, NDArray[np.bool_]],
    angles: tuple[float, float, float],
    shift_mm: tuple[float, float, float],
    more: dict[str, Any],
) -> None:
    move = turned(*angles)
    move[:3, 3] = shift_mm
    moved = scan(move=move, **{**SMALL, **more})

    pose, _ = posed(moved)

    millimetres, degrees = apart((found[0], straight), (pose, moved), move)
    assert millimetres < 1.0
    assert degrees < 1.0


def test_a_pose_is_the_same_to_the_bit(straight: Scanned, found: tuple[Pose, NDArray[np.bool_]]) -> None:
    again, _ = posed(straight)

    assert again.matrix.tobytes() == found[0].matrix.tobytes()
    assert again.quality == found[0].quality


def test_the_middle_of_the_head_lies_on_the_midline(stack: HeadStack) -> None:
    columns = np.nonzero(stack.mask)[2]

    assert float(columns.mean()) == pytest.approx(GRID.midline, abs=1.0)
    assert not np.any(stack.hu[~stack.mask])


def test_a_head_turned_upside_down_by_its_voxels_alone_is_not_aligned(straight: Scanned) -> None:
    upside_down = replace(straight, voxels=np.ascontiguousarray(straight.voxels[::-1]))

    with pytest.raises(NotAligned, match=r"does not fit|turned|another size|covers") as caught:
        posed(upside_down)

    assert caught.value.quality < 0.3


def test_half_of_a_brain_is_not_aligned_as_a_whole_one(
    straight: Scanned, found: tuple[Pose, NDArray[np.bool_]]
) -> None:
    upper = found[1].copy()
    upper[:22] = False

    with pytest.raises(NotAligned):
        align(straight.voxels[22:], _moved_up(straight.affine, 22), upper[22:])


def _moved_up(affine: NDArray[np.float64], slices: int) -> NDArray[np.float64]:
    made = affine.copy()
    made[:3, 3] += slices * affine[:3, 0]
    return made


def test_a_mirrored_head_has_the_figures_of_the_head(straight: Scanned, stack: HeadStack) -> None:
    mirrored = replace(straight, voxels=np.ascontiguousarray(straight.voxels[:, :, ::-1]))
    pose, mask = posed(mirrored)
    other = to_grid(mirrored.voxels, pose, mask)

    nothing = np.zeros(GRID.shape, np.float32)
    one, two = (features(s, s.hu, nothing, np.zeros(32, np.float32)) for s in (stack, other))

    assert two["asymmetry"] == pytest.approx(one["asymmetry"], abs=0.4)
    assert two["csf_volume_z"] == pytest.approx(one["csf_volume_z"], abs=0.1)
    both = other.mask[:, :, ::-1] & stack.mask
    assert np.count_nonzero(both) > 0.97 * np.count_nonzero(stack.mask)
    assert np.median(np.abs(other.hu[:, :, ::-1][both] - stack.hu[both])) < 3.0


def test_maps_come_back_to_where_they_were(straight: Scanned, found: tuple[Pose, NDArray[np.bool_]]) -> None:
    pose, mask = found
    z, y, x = np.indices(GRID.shape, dtype=np.float32)
    shape = (36, 160, 160)

    back = np.stack([to_source(one, pose, shape) for one in (z, y, x)])

    inside = np.argwhere(mask)[::997]
    wanted = (pose.inverse @ np.c_[inside, np.ones(len(inside))].T)[:3]
    kept = np.logical_and(wanted > 0, wanted < np.array(GRID.shape)[:, None] - 1).all(axis=0)
    assert np.allclose(back[:, *inside[kept].T], wanted[:, kept], atol=0.02)
    marked = np.zeros(GRID.shape, np.bool_)
    marked[14:18, 90:130, 60:90] = True
    region = to_source(marked, pose, shape)
    assert region.dtype == np.bool_
    ml = np.count_nonzero(region) * np.prod(straight.spacing_mm) / 1000.0
    assert ml == pytest.approx(np.count_nonzero(marked) * pose.voxel_ml, rel=0.1)


def test_fine_slices_are_averaged_over_the_slab(stack: HeadStack) -> None:
    thin = scan(**{**SMALL, "slice_mm": 1.25, "slices": 140, "noise_hu": 12.0})
    pose, mask = posed(thin)

    made = to_grid(thin.voxels, pose, mask)

    both = made.mask & stack.mask
    assert np.median(np.abs(made.hu[both] - stack.hu[both])) < 4.0  # of noise of 12 HU in the slices
    assert made.voxel_ml * np.count_nonzero(made.mask) == pytest.approx(
        stack.voxel_ml * np.count_nonzero(stack.mask), rel=0.05
    )


def test_a_template_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    for name in (head_template.FILE, "SHA256SUMS"):
        (tmp_path / name).write_bytes((head_template.TABLES / name).read_bytes())
    assert head_template.load(tmp_path).inside.shape == head_template.SHAPE
    head_template.load.cache_clear()
    data = bytearray((tmp_path / head_template.FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / head_template.FILE).write_bytes(bytes(data))

    with pytest.raises(TemplateDamaged):
        head_template.load(tmp_path)


def test_the_template_is_small_and_symmetric() -> None:
    template = head_template.load()

    assert (head_template.TABLES / head_template.FILE).stat().st_size < 300_000
    assert np.allclose(template.inside, template.inside[:, :, ::-1], atol=1 / 255)
