"""How a head lies in the scanner: a template laid on it. numpy only, repeatable to the bit.

Inverse-compositional Gauss-Newton (Baker and Matthews, IJCV 2004) on two smooth images: the inside of the skull, and
how dense it is (CSF against brain). Gradients are the template's, so they are made once. Places that the scan does not
cover weigh nothing. First rigid with one scale from several starts at 8 mm, then 12 degrees of freedom at 4 mm.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines import head_template
from engines.head_frame import GRID, Array, Mask, Matrix, NotAligned, Pose
from engines.head_template import CSF_HU, GREY_HU, SPACING_MM, Template
from engines.head_volumes import averaged, blurred, factor, places_of, sampled

LEAST_QUALITY: Final = 0.25
LEAST_COVERED: Final = 0.85  # of the template's brain
SCALES: Final = (0.78, 1.28)
LARGEST_TILT_DEG: Final = 45.0

_STARTS_DEG: Final = tuple((pitch, yaw) for pitch in (0.0, -24.0, 24.0) for yaw in (0.0, -24.0, 24.0))
_WEIGHTS: Final = (1.0, 1.0)  # of inside and of density
_OUTLIER: Final = 0.35  # of a channel: a lesion or a sinus pulls no more than this
_CHUNK: Final = 512
"""Places that are summed at once. So small a product of matrices runs on one thread, and has the same bits anywhere."""
_ZYX_TO_LPS: Final = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Coarse:
    """A head on voxels of about 4 mm in the axes of its series.

    channels: inside and density, (z, y, x)
    lps:      (4, 4), index -> LPS mm
    source:   (4, 4), index -> index of the source's voxel
    """

    channels: tuple[Array, Array]
    lps: Matrix
    source: Matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class _Level:
    """The template at one resolution: points (4, n) mm, values (2, n), their change per parameter (2, n, k), and what
    the parameters do to a point, (k, 4, 4).
    """

    points: NDArray[np.float64]
    values: Array
    slopes: Array
    generators: NDArray[np.float64]


def align(voxels: Array, affine: Matrix, mask: Mask, template: Template | None = None) -> Pose:
    """Lay the template on a head.

    voxels:  (z, y, x) HU
    affine:  (4, 4), index (z, y, x, 1) -> LPS mm, as `pipelines.volume.Volume.affine`
    mask:    (z, y, x) from `brain_mask`
    raises:  NotAligned when what fits best fits badly, lies outside of the scan, or is no head's size or posture
    """
    chosen = head_template.load() if template is None else template
    coarse = coarsened(voxels, affine, mask)
    fitted = fit(coarse, chosen)
    quality, covered = fits(coarse, chosen, fitted)
    scale = np.linalg.norm(fitted[:3, :3], axis=0)
    tilt = _tilt_deg(fitted)
    if not np.isfinite(fitted).all() or not SCALES[0] <= scale.min() <= scale.max() <= SCALES[1]:
        raise NotAligned("The brain is of another size or shape than an adult's.", quality)
    if tilt > LARGEST_TILT_DEG:
        raise NotAligned(f"The head is turned by {tilt:.0f} degrees, {LARGEST_TILT_DEG:.0f} are allowed.", quality)
    if covered < LEAST_COVERED:
        raise NotAligned(f"The scan covers {100 * covered:.0f} % of the brain.", quality)
    if quality < LEAST_QUALITY:
        raise NotAligned(f"The brain does not fit the template: {quality:.2f}, {LEAST_QUALITY} at least.", quality)
    matrix = np.linalg.inv(affine) @ _ZYX_TO_LPS @ fitted @ GRID.to_mm()
    return Pose(
        matrix=np.round(matrix, 6),
        quality=quality,
        tilt_deg=tilt,
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        covered=covered,
    )


def coarsened(voxels: Array, affine: Matrix, mask: Mask) -> Coarse:
    """Both channels of a head at about 4 mm; slices that are thicker stay."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    many = [factor(float(mm), SPACING_MM) for mm in spacing]
    planes: list[tuple[Array, Array]] = []
    for first in range(0, len(voxels), many[0]):
        inside, dense = [], []
        for image, within in zip(voxels[first : first + many[0]], mask[first : first + many[0]], strict=True):
            value = np.where(within, np.clip((image - CSF_HU) / (GREY_HU - CSF_HU), 0.0, 1.2), np.float32(0.0))
            inside.append(averaged(within, many[1], many[2]))
            dense.append(averaged(value, many[1], many[2]))
        planes.append((np.mean(inside, axis=0), np.mean(dense, axis=0)))
    source = np.diag([*(float(one) for one in many), 1.0])
    source[:3, 3] = 0.5 * np.array(many) - 0.5
    channels = (np.stack([one for one, _ in planes]), np.stack([other for _, other in planes]))
    return Coarse(channels=channels, lps=affine @ source, source=source)


def fit(coarse: Coarse, template: Template) -> Matrix:
    """(4, 4): mm (z, y, x) of the template -> mm (z, y, x) of the patient: LPS turned round."""
    to_index = np.linalg.inv(coarse.lps) @ _ZYX_TO_LPS
    middle = _centroid(coarse.channels[0], np.linalg.inv(to_index).astype(np.float64))
    centre = _centroid(template.inside, head_template.to_mm())
    step = np.linalg.norm(coarse.lps[:3, :3], axis=0)
    rough = _smoothed(coarse, 6.0, step)
    level = _level(template, 2, 6.0, rigid=True)
    best: tuple[float, Matrix] | None = None
    for pitch, yaw in _STARTS_DEG:
        start = np.eye(4)
        start[:3, :3] = _turned(pitch, yaw)
        start[:3, 3] = middle - start[:3, :3] @ centre
        found, cost = _descend(start, level, rough, to_index, rounds=12)
        if best is None or cost < best[0] - 1e-9:
            best = (cost, found)
    assert best is not None
    found, _ = _descend(best[1], level, rough, to_index, rounds=20)
    found, _ = _descend(found, _level(template, 2, 6.0, rigid=False), rough, to_index, rounds=20)
    found, _ = _descend(found, _level(template, 1, 3.0, rigid=False), _smoothed(coarse, 3.0, step), to_index, rounds=20)
    return found


def fits(coarse: Coarse, template: Template, fitted: Matrix) -> tuple[float, float]:
    """How well a fit is: quality 0 to 1, and the share of the template's brain that the scan covers.

    Quality is the soft Dice of the insides of the skulls times the correlation of their densities within both.
    """
    to_index = np.linalg.inv(coarse.lps) @ _ZYX_TO_LPS
    level = _level(template, 1, 3.0, rigid=False)
    step = np.linalg.norm(coarse.lps[:3, :3], axis=0)
    values, within = _looked_up(_smoothed(coarse, 3.0, step), to_index @ fitted, level.points)
    brain = level.values[0] > 0.5
    covered = float(np.mean(within[brain]))
    inside, wanted = values[0][within], level.values[0][within]
    total = float(np.sum(inside) + np.sum(wanted))
    overlap = 2.0 * float(np.sum(np.minimum(inside, wanted))) / total if total else 0.0
    both = within & brain & (values[0] > 0.5)
    if np.count_nonzero(both) < 100:
        return 0.0, covered
    one = values[1][both] / values[0][both]
    other = level.values[1][both] / level.values[0][both]
    one, other = one - one.mean(), other - other.mean()
    alike = float(np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2) + 1e-12))
    return overlap * max(alike, 0.0), covered


def _descend(
    start: Matrix, level: _Level, images: tuple[Array, Array], to_index: Matrix, rounds: int
) -> tuple[Matrix, float]:
    """Gauss-Newton from a start; what was found, and the mean robust residual there."""
    found, cost, last = start.copy(), np.inf, np.inf
    columns = level.slopes.shape[2]
    for _ in range(rounds):
        values, within = _looked_up(images, to_index @ found, level.points)
        hessian, gradient, total, count = np.zeros((columns, columns)), np.zeros(columns), 0.0, 0.0
        for channel, weight in enumerate(_WEIGHTS):
            off = values[channel] - level.values[channel]
            robust = weight * within / (1.0 + (off / np.float32(_OUTLIER)) ** 2)
            slopes = level.slopes[channel]
            weighted = (slopes * robust[:, None].astype(np.float32)).reshape(-1, _CHUNK, columns).transpose(0, 2, 1)
            hessian += (weighted @ slopes.reshape(-1, _CHUNK, columns)).sum(axis=0, dtype=np.float64)
            gradient += (weighted @ off.reshape(-1, _CHUNK, 1)).sum(axis=0, dtype=np.float64)[:, 0]
            total += float(np.sum(robust * off * off, dtype=np.float64))
            count += float(np.sum(robust, dtype=np.float64))
        # What the scan does not cover fits nothing: half a squared unit for each place.
        missed = float(np.sum(level.values[0][~within], dtype=np.float64))
        cost = (total + 0.5 * missed) / max(count + missed, 1.0)
        change = np.linalg.solve(hessian + 1e-6 * np.trace(hessian) / columns * np.eye(columns), gradient)
        found = found @ np.linalg.inv(np.eye(4) + np.tensordot(change, level.generators, axes=1))
        if abs(last - cost) < 1e-7 * max(cost, 1e-9):
            break
        last = cost
    return found, cost


def _looked_up(images: tuple[Array, Array], matrix: Matrix, points: NDArray[np.float64]) -> tuple[Array, Mask]:
    """(2, n) values of both channels where the points fall, and which of them the scan covers."""
    places = (matrix[:3] @ points).astype(np.float32)
    shape = np.array(images[0].shape, np.float32)[:, None]
    within: Mask = np.asarray(np.logical_and(places > -0.5, places < shape - 0.5).all(axis=0))
    return np.stack([sampled(image, places) for image in images]), within


@lru_cache(maxsize=8)
def _level(template: Template, every: int, sigma_mm: float, *, rigid: bool) -> _Level:
    """The template smoothed and thinned: only places within about 12 mm of a skull's inside."""
    sigma = (sigma_mm / SPACING_MM,) * 3
    channels = [blurred(template.inside, sigma), blurred(template.density, sigma)]
    chosen = np.zeros(template.inside.shape, dtype=bool)
    chosen[::every, ::every, ::every] = True
    chosen &= blurred(template.inside, (3.0, 3.0, 3.0)) > 0.01
    places = np.flatnonzero(chosen)
    chosen.reshape(-1)[places[len(places) // _CHUNK * _CHUNK :]] = False
    points = np.concatenate(
        [places_of(template.inside.shape, head_template.to_mm(), chosen), np.ones((1, np.count_nonzero(chosen)))]
    ).astype(np.float64)
    generators = _generators(rigid)
    slopes = []
    for channel in channels:
        gradient = np.stack([np.gradient(channel, SPACING_MM, axis=axis)[chosen] for axis in range(3)])
        slopes.append(np.einsum("in,kin->nk", gradient, (generators @ points)[:, :3]).astype(np.float32))
    return _Level(
        points=points,
        values=np.stack([one[chosen] for one in channels]),
        slopes=np.stack(slopes),
        generators=generators,
    )


@lru_cache(maxsize=2)
def _generators(rigid: bool) -> NDArray[np.float64]:
    """(k, 4, 4): shifts by 10 mm, then turns by 0.15 and one scale, or the nine numbers of a linear map."""
    made = []
    for axis in range(3):
        one = np.zeros((4, 4))
        one[axis, 3] = 10.0
        made.append(one)
    if rigid:
        for first, second in ((0, 1), (0, 2), (1, 2)):
            one = np.zeros((4, 4))
            one[first, second], one[second, first] = -0.15, 0.15
            made.append(one)
        made.append(np.diag([0.15, 0.15, 0.15, 0.0]))
    else:
        for row in range(3):
            for column in range(3):
                one = np.zeros((4, 4))
                one[row, column] = 0.15
                made.append(one)
    return np.stack(made)


def _turned(pitch_deg: float, yaw_deg: float) -> NDArray[np.float64]:
    """(3, 3) of (z, y, x): chin up or down, then a turn to one side."""
    a, b = np.radians(pitch_deg), np.radians(yaw_deg)
    pitch = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    yaw = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    made: NDArray[np.float64] = yaw @ pitch
    return made


def _tilt_deg(fitted: Matrix) -> float:
    """The turn between the template's axes and the patient's, degrees."""
    left, _, right = np.linalg.svd(fitted[:3, :3])
    turn = left @ right
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0))))


def _centroid(image: Array, to_mm: Matrix) -> NDArray[np.float64]:
    """Middle of mass, mm."""
    total = float(image.sum(dtype=np.float64))
    middle = [
        float(np.sum(image.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64) * np.arange(n))) / total
        for axis, n in enumerate(image.shape)
    ]
    made: NDArray[np.float64] = (to_mm @ np.array([*middle, 1.0]))[:3]
    return made


def _smoothed(coarse: Coarse, sigma_mm: float, spacing_mm: NDArray[np.float64]) -> tuple[Array, Array]:
    sigma = (sigma_mm / float(spacing_mm[0]), sigma_mm / float(spacing_mm[1]), sigma_mm / float(spacing_mm[2]))
    return blurred(coarse.channels[0], sigma), blurred(coarse.channels[1], sigma)
