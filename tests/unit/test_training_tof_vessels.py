"""Vessel trees and scenes against closed forms: Murray's law, saturation, a cylinder's cross-section, whole cases."""

import numpy as np
import pytest

from engines.training.sources import DATA
from engines.training.tof_scene import View, drawn, tilt
from engines.training.tof_vessels import (
    Growth,
    Tree,
    fork_angles,
    grow,
    murray,
    narrow,
    saturation,
    spline,
    swell,
    wander,
)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_radii_at_a_fork_obey_murray(share: float) -> None:
    first, second = murray(1.3, share)

    assert first**3 + second**3 == pytest.approx(1.3**3)
    assert first**3 / 1.3**3 == pytest.approx(share)


def test_an_even_fork_opens_by_75_degrees() -> None:
    """Murray 1926: two equal branches leave at 37.5 degrees each; the wider of two unequal ones turns less."""
    assert np.rad2deg(fork_angles(1.0, *murray(1.0, 0.5))) == pytest.approx([37.47, 37.47], abs=0.05)
    wide, narrow_one = fork_angles(1.0, *murray(1.0, 0.8))
    assert wide < narrow_one


def test_blood_saturates_exponentially_to_its_steady_state() -> None:
    found = saturation(np.array([0.0, 100.0, 1e6]), 1.0, 0.4, 100.0)

    assert found == pytest.approx([1.0, 0.4 + 0.6 / np.e, 0.4])


def test_tortuosity_has_the_spread_and_the_memory_that_it_is_given() -> None:
    path = wander(np.random.default_rng(0), 40_000, 0.5, amplitude_mm=1.2, length_mm=5.0)

    assert path.std(axis=0) == pytest.approx([1.2, 1.2, 1.2], rel=0.06)
    lag = int(5.0 / 0.5)
    assert np.mean(path[:-lag] * path[lag:]) / 1.2**2 == pytest.approx(1.0 / np.e, abs=0.06)


def test_a_tree_in_free_space_branches_down_to_its_smallest_radius() -> None:
    tree = Tree()
    everywhere = Growth(within=np.ones((200, 200, 200), dtype=np.float32), away=np.zeros(3))

    grow(tree, np.random.default_rng(1), everywhere, np.full(3, 100.0), np.array([1.0, 0.0, 0.0]), 1.2)

    radii = np.array(tree.radius)
    assert len(tree.forks) > 5
    assert radii.max() == pytest.approx(1.2)
    assert 0.4 * 0.94 <= radii.min() < 0.6
    assert all(np.linalg.norm(b - a) < 1.0 for a, b in zip(tree.start, tree.end, strict=True))


def test_a_branch_ends_where_the_tissue_ends() -> None:
    within = np.zeros((100, 100, 100), dtype=np.float32)
    within[:50] = 1.0
    tree = Tree()

    growth = Growth(within=within, away=np.zeros(3))
    grow(tree, np.random.default_rng(0), growth, np.array([40.0, 50.0, 50.0]), np.array([1.0, 0.0, 0.0]), 1.0)

    assert max(float(point[0]) for point in tree.end) < 54.0


def test_an_aneurysm_sits_on_a_fork_and_is_as_wide_as_it_says() -> None:
    tree = Tree()
    tree.forks.append((np.array([10.0, 10.0, 10.0]), 1.0, np.array([1.0, 0.0, 0.0])))

    swell(tree, np.random.default_rng(0), [4.0])

    (sac,) = tree.aneurysms
    assert sac.diameter_mm == 4.0
    assert np.linalg.norm(sac.centre - 10.0) < 2.0 + 1.0  # it touches the vessel
    assert max(tree.radius[-1]) == pytest.approx(2.0)


def test_a_stenosis_leaves_ten_to_seventy_per_cent_of_the_diameter() -> None:
    line = np.stack([np.arange(60) * 0.8, np.zeros(60), np.zeros(60)], axis=1)
    for seed in range(10):
        tree = Tree()
        tree.put(line, np.full(60, 1.5), 0.0)
        narrow(tree, np.random.default_rng(seed), 1)
        assert 0.1 * 1.5 - 1e-9 <= np.array(tree.radius).min() <= 0.72 * 1.5


def test_a_curve_goes_through_its_points() -> None:
    points = np.array([[0.0, 0.0, 0.0], [0.0, 8.0, 0.0], [8.0, 8.0, 0.0], [8.0, 8.0, 8.0]])
    made = spline(points, 0.5)

    assert all(np.linalg.norm(made - point, axis=1).min() < 1e-9 for point in points)
    assert np.linalg.norm(np.diff(made, axis=0), axis=1).max() < 1.0


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5])
def test_a_drawn_vessel_has_the_area_of_its_circle_whatever_the_pixel(radius: float) -> None:
    tree = Tree()
    line = np.stack([np.linspace(-30.0, 30.0, 80), np.full(80, 0.13), np.full(80, -0.21)], axis=1)
    tree.put(line, np.full(80, radius), 0.0)
    view = View(middle=np.zeros(3), turn=np.eye(3), shape=(20, 24, 24), size_mm=(0.4, 0.6, 0.6))

    share, value = drawn(tree, 0, view, np.full(79, 0.8))

    area = share.sum(axis=(1, 2)) * 0.36
    assert area.mean() == pytest.approx(np.pi * radius**2, rel=0.09)
    assert value[share > 0.5] == pytest.approx(0.8)
    edge = share[10][(share[10] > 0.02) & (share[10] < 0.98)]
    assert len(np.unique(np.round(edge, 3))) > 2  # soft: no staircase


def test_views_go_to_the_head_and_back() -> None:
    rng = np.random.default_rng(0)
    turn = tilt(rng, 8.0, mirror=True)
    view = View(middle=np.array([100.0, 90.0, 80.0]), turn=turn, shape=(9, 8, 7), size_mm=(0.4, 0.5, 0.6))
    axes = view.to_head((np.array([2.0]), np.array([3.0]), np.array([4.0])))

    place = np.array([[float(axis.item()) for axis in axes]])

    assert view.to_image(place)[0] == pytest.approx([2.0, 3.0, 4.0])
    assert np.linalg.det(view.turn) == pytest.approx(-1.0)


@pytest.mark.skipif(not (DATA / "labels").is_dir(), reason="../shared/data/labels is absent")
def test_a_case_is_the_same_each_time_and_its_truth_adds_up_to_its_slices() -> None:
    from engines.slabs import averaged
    from engines.training.tof_acquire import Profile
    from engines.training.tof_cases import case

    told = {"profile": Profile.BOX, "slabs": 6, "side": 48, "pixel_mm": 0.8, "noise": 0.0, "above_mm": -8.0}
    one, again, other = case(5, 3, **told), case(5, 3, **told), case(5, 4, **told)  # type: ignore[arg-type]

    assert np.array_equal(one.thick, again.thick)
    assert np.array_equal(one.thin, again.thin)
    assert not np.array_equal(one.thick, other.thick)
    assert one.thin.shape == (24, 48, 48)
    assert one.vessels.any()
    if one.acquisition.width_mm == 4.0:
        assert averaged(one.thin, 4) == pytest.approx(one.thick, abs=1e-4)
    blood, rest = one.thin[one.arteries > 0.99], one.thin[(one.arteries < 0.01) & one.brain]
    assert 0.15 * blood.mean() < rest.mean() < 0.6 * blood.mean()
