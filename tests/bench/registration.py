"""How well a known motion is found, on real heads at full resolution, and what a wrong head looks like.

    python -m tests.bench.registration [--noise 0.03]

One line for each case: error in the head, figures, seconds of one core. T1 on its own 1 mm grid; the other series as a
scanner with other slices would have seen it, averaged over their thickness, with noise of Rice's distribution.
"""

import argparse
import time
from typing import Any

import numpy as np

from pipelines.role import Registered
from pipelines.steps import placing, register
from pipelines.volume import Volume
from tests.mr_series import STROKE, TUMOUR, middle_of, motion, real, seen

STILL = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
MOVED = ((6.0, -4.0, 8.0), (5.0, -4.0, 6.0))
GRIDS: tuple[Any, ...] = (((5.0, 0.9, 0.9), "axial"), ((1.0, 1.0, 1.0), "sagittal"), ((4.0, 0.7, 0.7), "coronal"))


def noisy(volume: Volume, share: float, seed: int) -> Volume:
    """With noise of `share` of the median signal of the head."""
    sigma = share * float(np.median(volume.voxels[placing.head_of(volume.voxels)]))
    rng = np.random.default_rng(seed)
    real_part, imaginary = (rng.normal(0.0, sigma, volume.voxels.shape) for _ in range(2))
    voxels = np.hypot(volume.voxels + real_part, imaginary).astype(np.float32)
    return Volume(voxels=voxels, affine=volume.affine, unit="MR")


def case(name: str, t1: Volume, moving: Volume, moved: Any | None, *, same_frame: bool = True) -> None:
    """Register and print."""
    began = time.process_time()
    found = register.register(t1, moving, same_frame=same_frame, believed=Registered())
    seconds = time.process_time() - began
    error = ""
    if moved is not None:
        places = np.argwhere(placing.head_of(t1.voxels))[::9973]
        lps = t1.affine @ np.vstack([places.T, np.ones(len(places))])
        off = np.linalg.norm(((found.motion - motion(*moved, middle_of(t1))) @ lps)[:3], axis=0)
        error = f"{off.mean():.2f} / {off.max():.2f}"
    verdict = "; ".join(found.reasons) or "believed"
    print(
        f"| {name} | {error} | {found.quality:.2f} | {found.quality_start:.2f} | {found.cover:.2f} "
        f"| {found.shift_mm:.1f} mm, {found.rotation_deg:.1f}° | {seconds:.1f} | {verdict} |",
        flush=True,
    )


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=float, default=0.03, help="of the median signal of the head")
    share = parser.parse_args().noise
    print("| case | error, mean / max mm | edges after | before | cover | motion found | s | verdict |")
    print("|---|---|---|---|---|---|---|---|")
    heads = {name: real(name, "t1") for name in (TUMOUR, STROKE)}
    for name, head in heads.items():
        t1, short = noisy(head, share, 1), name.split("_")[0]
        for role in ("t2", "flair"):
            for spacing, plane in GRIDS:
                for moved in (MOVED, STILL):
                    moving = seen(real(name, role), motion(*moved, middle_of(head)), spacing, plane)
                    label = f"{short} {role} {spacing[0]:g} mm {plane}{'' if moved is MOVED else ', still'}"
                    case(label, t1, noisy(moving, share, 2), moved)
            other = next(one for one in heads if one != name)
            wrong = real(other, role)
            affine = wrong.affine.copy()
            affine[:3, 3] += middle_of(head) - middle_of(heads[other])
            for spacing, plane in GRIDS:
                moving = seen(Volume(voxels=wrong.voxels, affine=affine, unit="MR"), np.eye(4), spacing, plane)
                case(f"{short}, {role} of another head, {plane}", t1, noisy(moving, share, 2), None)
        turned = seen(real(name, "flair"), motion((0, 0, 0), (0, 0, 90), middle_of(head)), *GRIDS[0])
        case(f"{short} flair, turned by 90°", t1, noisy(turned, share, 2), None)


if __name__ == "__main__":
    main()
