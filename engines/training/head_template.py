"""Make the template that heads are laid on: `python -m engines.training.head_template`.

Painted normals of heads 01 to 03, which train, are brought on one another and averaged together with their mirror
images, three times over. Writes engines/tables/head_template.npz and its digest; the same bytes every time.
"""

import hashlib
from typing import Final

import numpy as np

from engines import head_template
from engines.head_brain import brain_mask
from engines.head_frame import Array, Matrix
from engines.head_pose import Coarse, coarsened, fit
from engines.head_template import FILE, SHAPE, TABLES, Template, to_mm
from engines.head_volumes import blurred, grown, places_of, sampled, shrunk
from engines.training.head_labels import TRAIN, Tissue, load

_HU: Final = {
    Tissue.AIR: -1000, Tissue.WHITE: 28, Tissue.GREY: 37, Tissue.DEEP: 33, Tissue.CSF: 6, Tissue.SPOTS: 24,
    Tissue.ARTERY: 45, Tissue.VEIN: 52, Tissue.SMALL_VEIN: 40, Tissue.CHOROID: 40, Tissue.PITUITARY: 45,
    Tissue.MUCOSA: 30, Tissue.DURA: 700, Tissue.MUSCLE: 55, Tissue.FAT: -90, Tissue.BONE: 900, Tissue.EYE: 10,
}  # fmt: skip
_ROUNDS: Final = 4
_TOP_MM: Final = 66.0  # where the inside of the skull ends above, on the grid
_UPRIGHT: Final = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def painted(number: int) -> Array:
    """A normal head at 1 mm, (z, y, x) HU, without noise."""
    table = np.array([_HU[Tissue(tissue)] for tissue in range(len(Tissue))], np.float32)
    return blurred(table[load(number).tissue], (0.6, 0.6, 0.6))


def heads(numbers: tuple[int, ...] = TRAIN) -> list[Coarse]:
    """Every head and its mirror image, coarse."""
    made = []
    for number in numbers:
        voxels = painted(number)
        mask = brain_mask(voxels, (1.0, 1.0, 1.0))
        for way in (1, -1):
            turned = np.ascontiguousarray(voxels[:, :, ::way])
            made.append(coarsened(turned, _UPRIGHT, np.ascontiguousarray(mask[:, :, ::way])))
    return made


def averaged(found: list[Coarse], poses: list[Matrix]) -> Template:
    """The mean of the heads as they are laid on one another, made symmetric."""
    channels = []
    for channel in range(2):
        total = np.zeros(SHAPE, np.float64)
        for coarse, pose in zip(found, poses, strict=True):
            to_index = np.linalg.inv(coarse.lps) @ _UPRIGHT @ pose @ to_mm()
            places = places_of(SHAPE, to_index)
            inside = np.logical_and(places >= -0.5, places <= np.array(coarse.channels[0].shape)[:, None] - 0.5)
            total += (sampled(coarse.channels[channel], places) * inside.all(axis=0)).reshape(SHAPE)
        mean = total / len(found)
        channels.append(((mean + mean[:, :, ::-1]) / 2.0).astype(np.float32))
    return Template(inside=channels[0], density=channels[1])


def centred(pose: Matrix, coarse: Coarse) -> Matrix:
    """A first pose: the middle of the head in the middle of the grid, its vertex where the grid wants it."""
    index = np.argwhere(coarse.channels[0] > 0.5).astype(np.float64)
    mm = (_UPRIGHT @ coarse.lps @ np.c_[index, np.ones(len(index))].T)[:3]
    made = pose.copy()
    made[:3, 3] = [mm[0].max() - _TOP_MM, (mm[1].min() + mm[1].max()) / 2, (mm[2].min() + mm[2].max()) / 2]
    return made


def make() -> Template:
    """Average, lay every head on the average, and again; the mean scale of the heads stays that of the template."""
    found = heads()
    poses = [centred(np.eye(4), coarse) for coarse in found]
    for _ in range(_ROUNDS):
        template = averaged(found, poses)
        poses = [fit(coarse, template) for coarse in found]
        # The mean linear part becomes the unit one: neither size nor posture drifts from round to round.
        mean = np.mean([pose[:3, :3] for pose in poses], axis=0)
        drift = np.eye(4)
        drift[:3, :3] = np.linalg.inv(mean)
        poses = [pose @ drift for pose in poses]
    return cleaned(averaged(found, poses))


def cleaned(template: Template) -> Template:
    """Without the orbits and the cervical canal, which hang on in some heads."""
    spacing = (head_template.SPACING_MM,) * 3
    core = shrunk(template.inside > 0.5, 16.0, spacing)
    keep = grown(core, 24.0, spacing)
    keep[: int(np.flatnonzero(np.count_nonzero(core, axis=(1, 2)))[0])] = False
    share = blurred(keep.astype(np.float32), (0.5, 0.5, 0.5))
    return Template(inside=template.inside * share, density=template.density * share)


def main() -> None:
    """Write the table and its digest."""
    template = make()
    TABLES.mkdir(exist_ok=True)
    np.savez_compressed(
        TABLES / FILE,
        inside=np.rint(template.inside * 255.0).astype(np.uint8),
        density=np.rint(np.clip(template.density, 0.0, 1.2) * 200.0).astype(np.uint8),
    )
    digest = hashlib.sha256((TABLES / FILE).read_bytes()).hexdigest()
    (TABLES / "SHA256SUMS").write_text(f"{digest}  {FILE}\n")
    head_template.load.cache_clear()
    print(f"{TABLES / FILE}: {(TABLES / FILE).stat().st_size} bytes, {digest}")


if __name__ == "__main__":
    main()
