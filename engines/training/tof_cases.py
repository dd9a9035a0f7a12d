"""Whole simulated scans with their truth: what the evaluation and the limits of the guards stand on. numpy only.

    from engines.training.tof_cases import case
    one = case(5, 0)                                  # subject 5 (held back), 40 slices of 4 mm, 192 x 192
    one = case(4, 7, profile=Profile.FOURIER, spacing_mm=3.0, factor=3, slabs=24)

The same arguments give the same arrays. Subjects 1 to 3 train, 4 chooses, 5 and 6 are held back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.slabs import SUPPORT
from engines.training import tof_acquire as acquire
from engines.training.sources import DATA
from engines.training.tof_acquire import Acquisition, Profile
from engines.training.tof_head import read_head
from engines.training.tof_scene import FINE_MM, Scene, View, shown, tilt
from engines.training.tof_vessels import Aneurysm, Tree

Volume = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One scan. 1 = fresh arterial blood; `engines.slabs.tof_unit` of the slices is near 0.8.

    thick:      (z, y, x) the slices as acquired, magnitudes with noise
    thin:       (factor z, y, x) truth: averages over thin slices, without noise
    arteries:   (factor z, y, x) share of each thin voxel that is artery or aneurysm, 0 to 1
    veins:      the same of veins, which are faint
    brain:      (factor z, y, x) bool, the brain and what lies within some mm of it
    aneurysms:  centres in voxels of `thin` (z, y, x) and diameters in mm, those inside the volume
    tree:       every vessel piece, ends in voxels of `thin`
    spacing_mm: between slices; pixel_mm: of rows and columns
    """

    name: str
    thick: Volume
    thin: Volume
    arteries: Volume
    veins: Volume
    brain: NDArray[np.bool_]
    aneurysms: tuple[Aneurysm, ...]
    tree: Tree
    factor: int
    spacing_mm: float
    pixel_mm: float
    acquisition: Acquisition

    @property
    def vessels(self) -> NDArray[np.bool_]:
        """Thin voxels of which half or more is artery."""
        return self.arteries >= 0.5


def case(
    head: int,
    seed: int,
    *,
    profile: Profile | None = None,
    spacing_mm: float = 4.0,
    factor: int = 4,
    slabs: int = 40,
    side: int = 192,
    pixel_mm: float | None = None,
    diameters_mm: Sequence[float] | None = None,
    stenoses: int | None = None,
    noise: float | None = None,
    above_mm: float = 18.0,
    data: Path = DATA,
) -> Case:
    """Simulate one scan around the circle of Willis.

    head:         subject, 1 to 6
    seed:         of the tree, the tissue, the position, the acquisition and the noise
    profile:      how slices are made; None: drawn (3-D in half of the seeds)
    pixel_mm:     None: drawn, 0.5 to 0.8
    diameters_mm: of aneurysms; None: two to six of 2 to 7 mm
    stenoses:     None: none to three
    noise:        SD of the complex noise's parts in a thick slice; None: drawn, arterial SNR 30 to 120; 0: none
    above_mm:     how far the middle of the volume lies above that of the ventral diencephalon
    """
    rng = np.random.default_rng([head, seed, 4242])
    drawn_mm, sizes = float(rng.uniform(0.5, 0.8)), rng.uniform(2.0, 7.0, int(rng.integers(2, 7)))
    count, acquisition = int(rng.integers(0, 4)), acquire.drawn(rng, spacing_mm, profile)
    pixel = drawn_mm if pixel_mm is None else pixel_mm
    if noise is not None:
        acquisition = replace(acquisition, noise=noise)
    scene, step = _scene(head, rng, data, spacing_mm, slabs, side, pixel, above_mm, [
        *(sizes if diameters_mm is None else diameters_mm)
    ], count if stenoses is None else stenoses)  # fmt: skip
    total, inner = slabs + 2 * SUPPORT, range(SUPPORT, SUPPORT + slabs)
    signal = scene.signal * acquire.slab_steps(rng, len(scene.signal), step, spacing_mm)[:, None, None]
    thick = acquire.acquired(signal, acquisition, step, total, rng, rows=slice(inner.start, inner.stop))

    def folded(volume: Volume) -> Volume:
        return acquire.thin(volume, step, spacing_mm, factor, inner)

    thin_mm = np.array([spacing_mm / factor, pixel, pixel])

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        fine_mm = (scene.view.to_image(points) + 0.5) * np.array(scene.view.size_mm)
        return np.asarray((fine_mm - [SUPPORT * spacing_mm, 0.0, 0.0]) / thin_mm - 0.5, dtype=np.float64)

    tree = replace(
        scene.tree, start=list(placed(np.array(scene.tree.start))), end=list(placed(np.array(scene.tree.end)))
    )
    last = np.array([slabs * factor, side, side]) - 1.0
    sacs = [Aneurysm(centre=placed(one.centre[None])[0], diameter_mm=one.diameter_mm) for one in scene.aneurysms]
    return Case(
        name=f"head {head:02d}, seed {seed}, {acquisition.profile}, {spacing_mm:g} mm",
        thick=thick,
        thin=folded(signal),
        arteries=folded(scene.arteries),
        veins=folded(scene.veins),
        brain=folded(scene.brain.astype(np.float32)) > 0.5,
        aneurysms=tuple(sac for sac in sacs if (sac.centre >= 0.0).all() and (sac.centre <= last).all()),
        tree=tree,
        factor=factor,
        spacing_mm=spacing_mm,
        pixel_mm=pixel,
        acquisition=acquisition,
    )


def _scene(
    number: int,
    rng: np.random.Generator,
    data: Path,
    spacing_mm: float,
    slabs: int,
    side: int,
    pixel_mm: float,
    above_mm: float,
    diameters_mm: list[float],
    stenoses: int,
) -> tuple[Scene, float]:
    """The head on a fine grid with two slabs more on each side; and the fine step, which fits into the slabs."""
    head = read_head(data, number)
    length = (slabs + 2 * SUPPORT) * spacing_mm
    fine = int(np.ceil(length / FINE_MM - 1e-6))
    shift = rng.normal(0.0, [4.0, 3.0, 3.0])
    view = View(
        middle=head.middle + shift + np.array([above_mm, 0.0, 0.0]),
        turn=tilt(rng, 6.0, mirror=bool(rng.integers(2))),
        shape=(fine, side, side),
        size_mm=(length / fine, pixel_mm, pixel_mm),
    )
    return shown(head, rng, view, diameters_mm, stenoses), length / fine
