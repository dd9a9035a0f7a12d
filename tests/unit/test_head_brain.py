"""Where the brain is: the inside of a closed adult skull, in any orientation; anything else is told, not guessed."""

import numpy as np
import pytest

from engines.head import NoBrain, brain_mask
from engines.head_volumes import averaged, blurred, grown, reached, sampled, shrunk
from tests.painted_head import SCALP_HU, Scanned, painted, scan


@pytest.fixture(scope="module")
def scanned() -> Scanned:
    return scan(pixel_mm=1.5, side=160, slices=36)


def test_brain_is_the_inside_of_the_skull_less_a_pixel(scanned: Scanned) -> None:
    mask = brain_mask(scanned.voxels, scanned.spacing_mm)

    found_ml = np.count_nonzero(mask) * np.prod(scanned.spacing_mm) / 1000.0
    head = painted()
    solid = np.where((head > -60.0) & (head < 150.0) & (head != SCALP_HU), np.float32(100.0), np.float32(0.0))
    share = scan(head=solid, pixel_mm=1.5, side=160, slices=36, noise_hu=0.0).voxels
    # A tenth of bone in a voxel makes it more than 150 HU; what is left is drawn back by a pixel.
    inside = np.stack([shrunk(plane[None], 1.5, (1.0, 1.5, 1.5))[0] for plane in share > 90.0])
    assert found_ml == pytest.approx(np.count_nonzero(inside) * np.prod(scanned.spacing_mm) / 1000.0, rel=0.03)
    assert scanned.voxels[mask].max() < 150.0  # no skull in it


def test_neither_scalp_nor_what_lies_under_the_head_is_brain(scanned: Scanned) -> None:
    with_table = scan(pixel_mm=1.5, side=160, slices=36, table=True, noise_hu=6.0)

    plain, other = (brain_mask(one.voxels, one.spacing_mm) for one in (scanned, with_table))

    assert not other[:, -12:].any()
    assert np.count_nonzero(plain ^ other) < 0.02 * np.count_nonzero(plain)


def test_orientation_of_the_axes_does_not_matter(scanned: Scanned) -> None:
    z, y, x = scanned.spacing_mm
    plain = brain_mask(scanned.voxels, (z, y, x))

    on_its_side = brain_mask(np.ascontiguousarray(scanned.voxels.transpose(0, 2, 1)[::-1]), (z, x, y))

    assert np.count_nonzero(on_its_side[::-1].transpose(0, 2, 1) ^ plain) < 0.02 * np.count_nonzero(plain)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nan", "no numbers"),
        ("no bone", "as dense as bone"),
        ("child", "No closed skull"),
        ("giant", "more than a skull"),
        ("no vault", "No closed skull"),
        ("half a head", "No closed skull"),
        ("three slices", "shortest side"),
        ("a slab", "shows no head"),
        ("no spacing", "none that a head CT has"),
    ],
)
def test_what_is_no_whole_adult_head_is_told(scanned: Scanned, change: str, said: str) -> None:
    voxels, spacing = scanned.voxels.copy(), np.array(scanned.spacing_mm)
    if change == "nan":
        voxels[20, 80, 80] = np.nan
    elif change == "no bone":
        voxels = np.minimum(voxels, 200.0)
    elif change in ("child", "giant"):
        spacing *= 0.8 if change == "child" else 1.35
    elif change == "no vault":
        voxels = voxels[:20]
    elif change == "half a head":
        voxels = voxels[:, :80]
    elif change in ("three slices", "a slab"):
        voxels = voxels[: 3 if change == "three slices" else 1]
    else:
        spacing *= np.nan

    with pytest.raises(NoBrain, match=said) as caught:
        brain_mask(voxels, (float(spacing[0]), float(spacing[1]), float(spacing[2])))

    assert caught.value.reason.endswith(".")


def test_a_leg_has_no_brain() -> None:
    y, x = np.mgrid[-80.0:80.0:2.0, -80.0:80.0:2.0]
    slice_ = np.where(np.hypot(y, x) < 60.0, 50.0, -1000.0)
    slice_[np.hypot(y, x) < 14.0] = 1200.0
    slice_[np.hypot(y, x) < 8.0] = -50.0

    with pytest.raises(NoBrain, match="No closed skull"):
        brain_mask(np.repeat(slice_[None], 30, axis=0).astype(np.float32), (5.0, 2.0, 2.0))


def test_means_over_blocks_count_what_is_left_at_the_border() -> None:
    image = np.arange(35, dtype=np.float32).reshape(5, 7)

    made = averaged(image, 2, 3)

    assert made.shape == (3, 3)
    assert made[0, 0] == image[:2, :3].mean()
    assert made[2, 2] == image[4, 6]


def test_growing_and_shrinking_are_by_distance() -> None:
    point = np.zeros((9, 9, 9), dtype=bool)
    point[4, 4, 4] = True

    ball = grown(point, 3.0, (2.0, 1.0, 1.0))

    z, y, x = np.mgrid[-4:5, -4:5, -4:5]
    assert np.array_equal(ball, (2 * z) ** 2 + y**2 + x**2 <= 9)
    assert np.array_equal(shrunk(ball, 3.0, (2.0, 1.0, 1.0)), point)


def test_reaching_does_not_leave_its_walls() -> None:
    room = np.ones((5, 5, 5), dtype=bool)
    room[:, 2] = False
    seed = np.zeros_like(room)
    seed[0, 0, 0] = True

    found = reached(seed, room)

    assert found[:, :2].all()
    assert not found[:, 2:].any()


def test_blurring_keeps_the_mean_and_sampling_is_linear() -> None:
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32)[:, None, None], (12, 6, 6)).copy()

    assert np.allclose(blurred(ramp, (1.0, 1.0, 1.0))[4:8], ramp[4:8], atol=1e-4)
    places = np.array([[3.25, 20.0], [2.5, 2.5], [1.0, 1.0]], dtype=np.float32)
    assert np.allclose(sampled(ramp, places), [3.25, 11.0])
