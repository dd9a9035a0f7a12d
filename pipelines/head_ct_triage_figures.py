"""What a head CT is like as an input: figures that tell whether the network was made for it (NETWORKS.md E-2).

None of them looks for a lesion: a haemorrhage, an infarct or a shifted midline leaves them where they are.
"""

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines import head_template
from engines.head import GRID, HeadStack, Pose
from engines.head_features import inner, median5
from engines.head_volumes import averaged, factor, grown, places_of, sampled, shrunk
from pipelines.steps.guards_protocol import air_offset
from pipelines.volume import Volume

Image = NDArray[np.float32]

_BLOCK_MM: Final = 4.0
_RAYS: Final = 9600
_LEAST_ELEVATION: Final = 0.12  # sine: lower rays leave through the skull base and the orbits
_CENTRE_MM: Final = (4.0, 8.0, 0.0)  # (z, y, x) from the middle of the grid: rays leave from above the sella
_CAP_COS: Final = float(np.cos(np.radians(5.0)))  # of 7 mm radius on the vault: a burr hole
_VAULT_MM: Final = np.arange(44.0, 132.0, 2.0)
_AIR_HU: Final = -300.0
_LARGE: Final = 0.4  # of the largest slice of brain: below lie the base and its holes, above the vertex
_SINUS_HU: Final = (100.0, 380.0)
_CIRCLE, _CIRCLES = 120, 20  # pixels of brain on a circle that is asked, and how many such circles are enough
_RIM_MM: Final = 12.0  # beyond the brain: the skull
_VAULT_HU: Final = 120.0  # scalp and blood lie below 95; a thin vault in a slice of 4 to 5 mm has but 150 to 200
_HOLE_MM: Final = 10.0  # from the border of the template's brain: further in there is brain in every patient
_VESSEL_HU: Final = 105.0  # clots are below, vessels with contrast agent above
_NEAR_SKULL_MM: Final = 12.0
_SHOWS: Final = 0.02  # of the scan's slices: those with less brain tell nothing of order


def figures(volume: Volume, mask: NDArray[np.bool_], pose: Pose, stack: HeadStack) -> Mapping[str, float]:
    """The figures, by name.

    air_hu:      where the peak of air lies, HU from -1000; 0 where there is too little air to tell
    brain_hu:    median of the brain, HU
    grey_white:  90th less 25th percentile of the brain, HU
    noise_hu:    SD of what a median of 5 px takes away in the brain, on the grid
    vessels_ml:  volume brighter than 105 HU near the skull, where sinuses and large veins run; calcified plexus and
                 pineal lie deeper
    holes:       share of the template's inner brain that is air, bone or metal here
    brain_ml:    volume of the skull's inside
    stretch:     largest over least scale of the pose: how much a head is out of an adult's proportions
    tilt_deg:    of the head in the scanner
    quality:     of the pose
    covered:     share of the brain within the scan
    open_vault:  share of a place of 7 mm radius on the vault that has no bone; of the most open place
    air_inside:  share of rays to the vault that meet air before they meet bone
    bone_hu:     the densest of the brain and the skull about it, HU: a child's bone is less dense, metal is denser
    smeared:     how much less dense the skull of a slice is than that of those around it; the worst one's
    sinus_mm:    thickness of what lies below the vault's midline and is denser than blood, less than bone
    order:       how far a slice is from the mean of its neighbours, over half of what those differ; the worst one's
    jump:        change from one slice to the next over that of the slices around; the largest
    rings_hu:    SD of means over circles about the middle of the image, of what changes from one to the next
    waves_hu:    SD over the slice of means of 8x8 px of tissue that is neither CSF nor bright: streaks, rings
    """
    chosen = inner(stack.mask)
    smooth = median5(stack.hu, chosen)
    values = smooth[chosen]
    if values.size == 0:
        values = np.zeros(1, np.float32)
    rest = np.abs(stack.hu[chosen] - smooth[chosen])
    order, jump = _order(volume, mask)
    blocks = _blocks(volume, pose)
    opening, air = vault(*blocks)
    densest, smeared = _bone(volume, mask)
    return {
        "air_hu": _air(volume),
        "brain_hu": float(np.median(values)),
        "grey_white": float(np.percentile(values, 90.0) - np.percentile(values, 25.0)),
        "noise_hu": float(np.median(rest)) * 1.4826 if rest.size else 0.0,
        "vessels_ml": float(np.count_nonzero(stack.hu[chosen & _rim(stack.mask)] > _VESSEL_HU) * stack.voxel_ml),
        "holes": float(np.mean(~stack.mask[_core()])),
        "brain_ml": float(np.count_nonzero(stack.mask) * stack.voxel_ml),
        "stretch": float(max(pose.scale) / min(pose.scale)),
        "tilt_deg": pose.tilt_deg,
        "quality": pose.quality,
        "covered": pose.covered,
        "open_vault": opening,
        "air_inside": air,
        "bone_hu": densest,
        "smeared": smeared,
        "sinus_mm": sinus_mm(*blocks),
        "order": order,
        "jump": jump,
        "rings_hu": _rings(volume, mask),
        "waves_hu": _waves(stack, smooth, chosen),
    }


def vault(blocks: Image, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """What the vault is like, by rays from the middle of the head; beyond the scan nothing is bone.

    blocks:  (z, y, x) HU, means, so that noise is no bone
    matrix:  (4, 4), mm from the middle of the grid -> index of a block
    returns: share without bone of the most open place, 7 mm in radius; share of rays that meet air before bone
    """
    directions = _rays()
    points = directions[:, :, None] * _VAULT_MM[None, None] + np.array(_CENTRE_MM)[:, None, None]
    placed = (matrix[:3, :3] @ points.reshape(3, -1) + matrix[:3, 3:]).astype(np.float32)
    within = np.logical_and(placed > -0.5, placed < np.array(blocks.shape)[:, None] - 0.5).all(axis=0)
    values = np.where(within, sampled(blocks, placed), np.float32(-1000.0)).reshape(directions.shape[1], -1)
    bone = values >= _VAULT_HU
    met = bone.any(axis=1)
    bare = ~met
    first = np.where(met, np.argmax(bone, axis=1), 0)
    before = np.arange(values.shape[1])[None] < first[:, None]
    air = float(np.mean((before & (values < _AIR_HU)).any(axis=1)))
    if not bare.any():
        return 0.0, air
    near = directions[:, bare].T @ directions > _CAP_COS
    return float((near[:, bare].sum(axis=1) / near.sum(axis=1)).max()), air


def sinus_mm(blocks: Image, matrix: NDArray[np.float64]) -> float:
    """Mean thickness of what is denser than blood and less dense than bone below the midline at the back, mm.

    Without contrast agent the sagittal sinus is of 50 to 65 HU, and the skull rises from it within 2 mm.
    """
    up, side = np.meshgrid(np.linspace(0.15, 0.7, 12), np.linspace(-0.03, 0.03, 3), indexing="ij")
    ways = np.stack([up.ravel(), np.sqrt(1.0 - up.ravel() ** 2 - side.ravel() ** 2), side.ravel()])
    along = np.arange(40.0, 125.0, 1.0)
    points = ways[:, :, None] * along[None, None] + np.array(_CENTRE_MM)[:, None, None]
    placed = (matrix[:3, :3] @ points.reshape(3, -1) + matrix[:3, 3:]).astype(np.float32)
    values = sampled(blocks, placed).reshape(ways.shape[1], -1)
    hard = values >= _SINUS_HU[1]
    first = np.where(hard.any(axis=1), np.argmax(hard, axis=1), 0)
    near = (np.arange(len(along))[None] < first[:, None]) & (np.arange(len(along))[None] >= first[:, None] - 14)
    return float(np.median(np.count_nonzero(near & (values > _SINUS_HU[0]), axis=1)))


def _blocks(volume: Volume, pose: Pose) -> tuple[Image, NDArray[np.float64]]:
    """Means over about 1 mm in the slices and 2.5 mm across, and where mm of the grid lie in them."""
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    many = [factor(float(mm), target) for mm, target in zip(spacing, (2.5, 1.0, 1.0), strict=True)]
    made = []
    for first in range(0, len(volume.voxels), many[0]):
        slab = volume.voxels[first : first + many[0]]
        made.append(np.mean([averaged(image, many[1], many[2]) for image in slab], axis=0, dtype=np.float32))
    ratio = np.array(many, dtype=np.float64)
    shrink = np.diag([*(1.0 / ratio), 1.0])
    shrink[:3, 3] = 0.5 / ratio - 0.5
    return np.stack(made), shrink @ pose.matrix @ np.linalg.inv(GRID.to_mm())


@lru_cache(maxsize=1)
def _rays() -> NDArray[np.float64]:
    """(3, n) directions over the vault, evenly (Fibonacci)."""
    index = np.arange(_RAYS) + 0.5
    up = 1.0 - 2.0 * index / _RAYS
    around = np.pi * (1.0 + 5.0**0.5) * index
    across = np.sqrt(1.0 - up**2)
    found = np.stack([up, across * np.cos(around), across * np.sin(around)])
    return found[:, up > _LEAST_ELEVATION]


@lru_cache(maxsize=1)
def _core() -> NDArray[np.bool_]:
    """(32, 224, 192): well inside of every brain."""
    spacing = (head_template.SPACING_MM,) * 3
    solid = shrunk(head_template.load().inside > 0.9, _HOLE_MM, spacing).astype(np.float32)
    matrix = np.linalg.inv(head_template.to_mm()) @ GRID.to_mm()
    made: NDArray[np.bool_] = sampled(solid, places_of(GRID.shape, matrix)).reshape(GRID.shape) > 0.5
    return made


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(32, 224, 192): what lies near the skull within its slice."""
    made: NDArray[np.bool_] = np.stack([~shrunk(plane[None], _NEAR_SKULL_MM, (1.0, 1.0, 1.0))[0] for plane in mask])
    return made


def _air(volume: Volume) -> float:
    """Where air lies, HU from -1000; 0 where too little is in sight."""
    step = max(len(volume.voxels) // 10, 1)
    blocks = []
    for index in range(0, len(volume.voxels), step):
        small = averaged(volume.voxels[index], 4, 4)
        good = small > float(volume.voxels[index].min()) + 0.01
        if volume.padding is not None:
            good &= averaged(volume.padding[index], 4, 4) == 0.0
        blocks.append(small[good])
    offset = air_offset(np.concatenate(blocks)) if any(block.size for block in blocks) else None
    return 0.0 if offset is None else offset


def _bone(volume: Volume, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """How dense the densest voxels of 2 mm are in brain and skull, and how much a slice's skull is smeared at most.

    A head that moves during a slice shows its skull twice: neither is as dense as in the slices above and below.
    """
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    rows, columns = (factor(float(mm), 2.0) for mm in spacing[1:])
    step = (1.0, rows * float(spacing[1]), columns * float(spacing[2]))
    area = np.count_nonzero(mask, axis=(1, 2))
    found, heights = [np.zeros(10, np.float32)], []
    for image, here, count in zip(volume.voxels, mask, area, strict=True):
        if count:
            near = grown(averaged(here, rows, columns)[None] > 0.5, _RIM_MM, step)[0]
            values = averaged(image, rows, columns)[near]
            found.append(values)
            bone = values[values > _VAULT_HU]
            if count > _LARGE * area.max() and bone.size > 50:
                heights.append(float(np.percentile(bone, 90.0)))
    every = np.concatenate(found)
    smeared = [1.0 - height / float(np.median(heights[max(at - 3, 0) : at + 4])) for at, height in enumerate(heights)]
    return float(np.partition(every, len(every) - 10)[len(every) - 10]), max(smeared, default=0.0)


def _order(volume: Volume, mask: NDArray[np.bool_]) -> tuple[float, float]:
    """How the slices follow one another: out of order, and jumps."""
    area = np.count_nonzero(mask, axis=(1, 2))
    shown = np.flatnonzero(area > _SHOWS * max(int(area.sum()), 1))
    if shown.size < 4:
        return 0.0, 1.0
    first, last = int(shown[0]), int(shown[-1])
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    rows, columns = (factor(float(mm), _BLOCK_MM) for mm in spacing[1:])
    # Slices of 0.6 mm differ by noise alone: so many together are a step of about 4 mm.
    many = factor(float(spacing[0]), _BLOCK_MM)
    small = [averaged(np.clip(volume.voxels[index], -200.0, 300.0), rows, columns) for index in range(first, last + 1)]
    order, jumps = [], []
    for at in range(many, len(small) - many):
        low, here, high = small[at - many], small[at], small[at + many]
        step = float(np.mean(np.abs(high - low))) / 2.0
        order.append(float(np.mean(np.abs(here - (low + high) / 2.0))) / max(step, 0.5))
    steps = [float(np.mean(np.abs(b - a))) for a, b in itertools.pairwise(small)]
    for at, step in enumerate(steps):
        near = steps[max(at - 3, 0) : at] + steps[at + 1 : at + 4]
        jumps.append(step / max(float(np.median(near)), 0.5))
    return max(order, default=0.0), max(jumps, default=1.0)


def _rings(volume: Volume, mask: NDArray[np.bool_]) -> float:
    """Rings about the middle of the image, as bad detector elements leave them, HU; of the worst of some slices."""
    rows, columns = volume.voxels.shape[1:]
    y, x = np.arange(rows) - (rows - 1) / 2.0, np.arange(columns) - (columns - 1) / 2.0
    radius = np.rint(np.sqrt(y[:, None] ** 2 + x[None] ** 2)).astype(np.int32)
    area = np.count_nonzero(mask, axis=(1, 2))
    found = []
    for index in np.flatnonzero(area > _LARGE * max(int(area.max()), 1))[::3]:
        here = mask[index]
        at, values = radius[here], np.clip(volume.voxels[index][here], -50.0, 120.0)
        count = np.bincount(at, minlength=_CIRCLE)
        mean = np.bincount(at, weights=values, minlength=_CIRCLE) / np.maximum(count, 1)
        full = np.flatnonzero(count > _CIRCLE)
        if full.size < _CIRCLES:
            continue
        line = mean[full[0] : full[-1] + 1]
        smooth = np.convolve(np.pad(line, 3, mode="edge"), np.ones(7) / 7.0, mode="valid")
        found.append(float(np.std(line - smooth)))
    return max(found, default=0.0)


def _waves(stack: HeadStack, smooth: Image, chosen: NDArray[np.bool_]) -> float:
    """Streaks and rings: SD of means of 8x8 px of tissue, HU; of the slices, the 90th percentile."""
    tissue = chosen & (smooth > 15.0) & (smooth < 60.0)
    worst = []
    for plane, here in zip(smooth, tissue, strict=True):
        if np.count_nonzero(here) < 2000:
            continue
        share = averaged(here, 8, 8)
        mean = averaged(np.where(here, plane, np.float32(0.0)), 8, 8) / np.maximum(share, np.float32(0.05))
        good = share > 0.6
        if np.count_nonzero(good) >= 20:
            worst.append(float(np.std(mean[good])))
    return float(np.percentile(worst, 90.0)) if worst else 0.0
