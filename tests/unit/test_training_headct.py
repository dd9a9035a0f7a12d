"""Simulated head CT against known facts: geometry, Hounsfield units, noise, slices; on a small head made of balls."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training.headct import Case, Kind, abnormal_head, normal_head
from engines.training.headct_acquire import Lying, Protocol, acquire
from engines.training.headct_anatomy import Anatomy, Matter, anatomy, distance
from engines.training.headct_lesions import in_ventricles, swelling
from engines.training.headct_noise import shaped_noise
from engines.training.headct_shape import Looks, shaped
from engines.training.headct_tissue import COMMON_HU, HU, OWN_HU, painted
from engines.training.measures import noise_power, peak_frequency

SIDE = 104


@pytest.fixture(scope="module")
def head() -> Anatomy:
    """Balls within balls: skin, bone, fluid, cortex, white matter, ventricle, with the numbers of the maps."""
    z, y, x = np.indices((SIDE, SIDE, SIDE)) - (SIDE - 1) / 2.0
    radius = np.sqrt(z**2 + y**2 + x**2)
    left = x > 0
    labels = np.zeros((SIDE, SIDE, SIDE), dtype=np.int16)
    for most, number in ((50.0, 511), (48.0, 507), (46.0, 515), (40.0, 24)):
        labels[radius < most] = number
    for most, numbers in ((36.0, (3, 42)), (32.0, (2, 41)), (15.0, (10, 49)), (11.0, (4, 43))):
        labels[radius < most] = np.where(left, *numbers)[radius < most]
    return anatomy(0, labels)


def scan_of(hu: NDArray[np.float32], **given: object) -> Case:
    from engines.training.headct import case_of

    quiet = {"noise_hu": 0.0, "hardening": 0.0, "below_mm": 0.0, "above_mm": 0.0, "pixel_mm": 1.0, "size": 112}
    protocol = Protocol(**{**quiet, **given})  # type: ignore[arg-type]
    scan = acquire(np.random.default_rng(0), hu, protocol, span=(0, len(hu) - 1))
    return case_of(scan, Kind.NORMAL, 0, protocol, {})


def test_a_map_becomes_matter_with_sides_and_a_closed_skull(head: Anatomy) -> None:
    assert head.content.sum() == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.02)
    assert set(np.unique(head.matter[head.content])) <= {*range(Matter.WHITE, Matter.FALX + 1)}
    shell = (distance(head.content, 4) <= 2.0) & ~head.content
    assert np.isin(head.matter[shell], (Matter.BONE, Matter.DIPLOE)).all()
    middle = head.side.shape[2] // 2
    assert (head.side[:, :, middle + 2 :] == 1).all()
    assert (head.side[:, :, : middle - 2] == -1).all()


def test_unknown_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[999\]"):
        anatomy(1, np.full((4, 4, 4), 999, dtype=np.int16))


def test_distances_are_euclidean_and_end_at_their_reach() -> None:
    mask = np.zeros((9, 12, 13), dtype=bool)
    mask[4, 5, 6] = True
    z, y, x = np.indices(mask.shape)
    exact = np.sqrt((z - 4) ** 2 + (y - 5) ** 2 + (x - 6) ** 2)

    found = distance(mask, 5)

    assert np.allclose(found[exact <= 5], exact[exact <= 5])
    assert (found[exact > 5] >= 5).all()


def test_tissues_have_the_hounsfield_units_of_the_table(head: Anatomy) -> None:
    found: dict[Matter, list[float]] = {m: [] for m in (Matter.WHITE, Matter.GREY, Matter.CSF)}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        subject = shaped(rng, head, Looks(age=40.0))
        hu = painted(rng, subject)
        for matter, values in found.items():
            core = subject.matter == matter
            deep = core & (distance(~core, 3) > (1.0 if matter is not Matter.WHITE else 2.0))
            values.append(float(np.median(hu[deep])))
        assert (
            hu[np.isin(subject.matter, (Matter.BONE, Matter.DIPLOE)) & (distance(subject.content, 4) > 1.5)] > 150
        ).all()
    for matter, values in found.items():
        spread = 2.2 * (COMMON_HU + OWN_HU) + 1.5
        assert all(abs(value - HU[matter]) < spread for value in values), matter
    assert all(grey > white + 4 for grey, white in zip(found[Matter.GREY], found[Matter.WHITE], strict=True))


def test_wider_ventricles_and_sulci_hold_more_fluid(head: Anatomy) -> None:
    def fluid(**looks: float) -> tuple[int, int]:
        subject = shaped(np.random.default_rng(0), head, Looks(age=40.0, **looks))  # type: ignore[arg-type]
        return int((subject.matter == Matter.VENTRICLE).sum()), int((subject.matter == Matter.CSF).sum())

    plain, wide, old, young = fluid(), fluid(ventricles_mm=3.0), fluid(sulci=0.2), fluid(sulci=-0.2)

    assert plain[0] == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.02)
    assert 4 / 3 * np.pi * 13**3 < wide[0] < 4 / 3 * np.pi * 14**3  # by 3 mm, less what fades over the way
    assert young[1] < plain[1] < old[1]


def test_a_swelling_displaces_as_much_as_it_holds_and_leaves_the_far_skull() -> None:
    centre = np.zeros(3)
    radius = (3000.0 * 5.0 / (4.0 * np.pi)) ** (1 / 3)
    push = swelling(centre, 5.0, 1.0)

    at = np.array([[radius, 1.5 * radius, 200.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    moved = -push(at)[0]

    near = 1.5 * radius - (1.5**3 - 1.0) ** (1 / 3) * radius
    assert moved[0] == pytest.approx(8.0, rel=0.06)
    assert moved[1] == pytest.approx(near, rel=0.15)
    assert moved[2] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("lying", list(Lying))
@pytest.mark.parametrize("gantry", [0.0, 15.0])
def test_the_affine_says_where_every_voxel_lies(lying: Lying, gantry: float) -> None:
    shown = []
    z, y, x = np.indices((96, 96, 96))
    for centre in ((30, 40, 60), (60, 66, 34)):
        inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 36
        hu = np.where(inside, np.float32(400.0), np.float32(-1000.0))
        case = scan_of(hu, thickness_mm=2.0, gantry_deg=gantry, lying=lying)
        weight = case.voxels + 1000.0
        found = np.argwhere(weight > 0)
        place = (found * weight[weight > 0][:, None]).sum(0) / weight.sum()
        shown.append((case.affine @ [*place, 1.0])[:3])

    apart = np.array(shown[1]) - np.array(shown[0])
    assert apart == pytest.approx([-26.0, 26.0, 30.0], abs=0.5)  # LPS: x is to the left
    normal = np.cross(case.affine[:3, 2], case.affine[:3, 1])
    assert case.spacing_mm[0] == pytest.approx(2.0)
    assert abs(normal[2]) / np.linalg.norm(normal) == pytest.approx(np.cos(np.deg2rad(gantry)))


def test_a_slice_averages_what_it_is_thick() -> None:
    hu = np.zeros((60, 40, 40), dtype=np.float32)
    hu[30:32] = 100.0  # 2 mm
    case = scan_of(hu, thickness_mm=5.0, size=32)

    middle = case.voxels[:, 16, 16]

    assert middle.max() <= 100.0 * 2 / 5 + 1.0
    assert middle.sum() * 5.0 == pytest.approx(100.0 * 2, rel=0.05)


def test_voxels_are_whole_hu_and_end_at_the_intercept() -> None:
    case = scan_of(np.full((20, 40, 40), -1000.0, dtype=np.float32), noise_hu=30.0, size=64, pixel_mm=0.5)

    assert np.array_equal(case.voxels, np.rint(case.voxels))
    assert case.voxels.min() >= -1024.0


def test_noise_has_its_sd_and_the_spectrum_of_its_kernel() -> None:
    kernel = Kernel(cutoff=0.9)
    made = shaped_noise(np.random.default_rng(1), (6, 256, 256), 0.45, kernel)
    soft = shaped_noise(np.random.default_rng(1), (6, 128, 128), 0.9, kernel)

    assert made.std() == pytest.approx(1.0, rel=0.02)
    assert soft.std() < made.std()  # what is finer than large pixels is not in them
    frequency, power = noise_power(made[:, :128, :128], 0.45)
    assert 0.2 < peak_frequency(frequency, power) < 0.45  # a B30-like kernel, cycles per mm
    assert power[frequency > 0.95].mean() < 1e-2 * power.max()
    assert 0.02 * power.max() < power[1] < 0.5 * power.max()


def test_noise_grows_as_slices_become_thin(head: Anatomy) -> None:
    hu = np.where(head.content, np.float32(35.0), np.float32(-1000.0)).astype(np.float32)

    def noise(thick: float) -> float:
        case = scan_of(hu, thickness_mm=thick, noise_hu=4.0, pixel_mm=0.5, size=192)
        clean = scan_of(hu, thickness_mm=thick, pixel_mm=0.5, size=192)
        at = len(case.voxels) // 2
        return float((case.voxels - clean.voxels)[at, 70:120, 70:120].std())

    assert noise(1.0) / noise(4.0) == pytest.approx(2.0, rel=0.12)


@pytest.mark.parametrize("volume", [1.0, 8.0])
def test_a_haemorrhage_has_the_volume_and_the_density_that_were_asked(head: Anatomy, volume: float) -> None:
    protocol = Protocol(thickness_mm=2.5, pixel_mm=1.0, size=112, noise_hu=0.0, hardening=0.0, below_mm=6.0)
    case = abnormal_head(np.random.default_rng(5), head, Kind.ICH, volume_ml=volume, protocol=protocol)

    assert case.kind is Kind.ICH
    assert case.volume_ml == pytest.approx(volume, rel=0.03)
    assert case.truth.sum() * np.prod(case.spacing_mm) / 1000.0 == pytest.approx(volume, rel=0.35)
    bright = np.median(case.voxels[case.truth])
    assert bright == pytest.approx(case.facts["hu"], abs=9.0)


@pytest.mark.parametrize("kind", [Kind.SDH, Kind.EDH, Kind.IVH, Kind.INFARCT, Kind.HYDROCEPHALUS])
def test_every_kind_leaves_a_truth_where_the_image_changed(head: Anatomy, kind: Kind) -> None:
    protocol = Protocol(thickness_mm=5.0, pixel_mm=1.2, size=96, noise_hu=0.0, hardening=0.0, below_mm=6.0)
    case = abnormal_head(np.random.default_rng(2), head, kind, protocol=protocol)

    assert case.volume_ml > 0.3
    inside, brain = case.voxels[case.truth], case.voxels[(case.voxels > 15) & (case.voxels < 50)]
    if kind in (Kind.SDH, Kind.EDH, Kind.IVH):
        assert np.median(inside) > np.median(brain)
    else:
        assert np.median(inside) < np.median(brain)


def test_blood_in_the_ventricles_lies_low(head: Anatomy) -> None:
    rng = np.random.default_rng(0)
    subject = shaped(rng, head, Looks(age=40.0))
    lesion = in_ventricles(rng, subject, painted(rng, subject), 2.0)

    assert lesion.share.sum() == pytest.approx(2000.0)
    filled = np.argwhere(lesion.share > 0)[:, 1].mean()
    empty = np.argwhere((subject.matter == Matter.VENTRICLE) & (lesion.share == 0))[:, 1].mean()
    assert filled > empty + 5


def test_a_normal_head_has_no_truth_and_comes_again_from_its_seed(head: Anatomy) -> None:
    one, again, other = (normal_head(np.random.default_rng(seed), head, size=96) for seed in (1, 1, 2))

    assert not one.truth.any()
    assert one.volume_ml == 0.0
    assert np.array_equal(one.voxels, again.voxels)
    assert one.voxels.shape != other.voxels.shape or not np.array_equal(one.voxels, other.voxels)


def test_no_lesion_of_a_normal_head(head: Anatomy) -> None:
    with pytest.raises(ValueError, match="normal has no lesion"):
        abnormal_head(np.random.default_rng(0), head, Kind.NORMAL)
