"""The public real volumes, one by one: what the gate says of each, and of those that pass, the score. No claim."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.training.clean import read_nifti
from engines.training.evaluate_triage_cases import Judge, header
from engines.training.head_labels import blur
from engines.training.headct_acquire import Protocol, acquire
from engines.training.headct_anatomy import distance

ATLAS = "headct_brain_atlas_1mm"
REAL = {
    ATLAS: "averaged normal brain, skull removed",
    "headphantom_philips_kernelUB_1mm": "plastic head, soft kernel",
    "headphantom_philips_kernelYA_1mm": "plastic head, bone kernel",
    "chest_lidc0314_philips_kernelD_1mm": "chest",
    "abdomen_totalsegmentator_3mm": "abdomen",
    "thorax_totalsegmentator_1.5mm": "thorax",
    "thorax_cta_totalsegmentator_1.5mm": "thorax with contrast agent",
    "petct_ge_ibsi_STS_002": "leg, low dose",
    "petct_ge_ibsi_STS_010": "leg, low dose",
}


def affine_of(path: Path) -> NDArray[np.float64]:
    """(4, 4), index (z, y, x, 1) -> LPS mm, of a NIfTI-1 file: its sform; its voxels' sizes where it has none."""
    raw = gzip.decompress(path.read_bytes())[:348]
    sizes = np.frombuffer(raw, "<f4", 3, 80).astype(np.float64)
    ras = np.diag([*sizes, 1.0])
    if int(np.frombuffer(raw, "<i2", 1, 254)[0]) > 0:
        ras[:3] = np.frombuffer(raw, "<f4", 12, 280).reshape(3, 4)
    made: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras
    return made[:, [2, 1, 0, 3]]


def in_a_skull(brain: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The averaged brain in a painted skull of 6 mm, scanned like the simulated heads: real HU, no real noise.

    brain:   (z, y, x) HU at 1 mm, from feet to head, back to front, left to right; what is no brain exactly 0
    returns: voxels and affine of a `Case`
    """
    hu = np.pad(brain[:, ::-1, ::-1], 14)
    away = distance(blur(hu != 0.0, 1.5) > 0.5, 10)
    made = np.select([away == 0.0, away <= 6.0, away <= 9.0], [hu, np.float32(1000.0), np.float32(20.0)], -1000.0)
    rows = np.nonzero((away == 0.0).any(axis=(1, 2)))[0]
    scan = acquire(
        np.random.default_rng(0),
        made.astype(np.float32),
        Protocol(below_mm=4.0, above_mm=12.0),
        span=(int(rows[0]), int(rows[-1])),
    )
    return scan.voxels, scan.affine


def real_cases(judge: Judge, engine: Engine, data: Path) -> list[Mapping[str, Any]]:
    """One entry for each volume: name, what it is, reasons or probability and flag.

    The header says only what any CT says, with HEAD as its part of the body: the image alone must tell.
    """
    found: list[Mapping[str, Any]] = []
    for name, what in [*REAL.items(), (ATLAS, "the same brain in a painted skull")]:
        path = data / "ct" / f"{name}.nii.gz"
        skull = what not in REAL.values()
        if not path.is_file():
            continue
        voxels, affine = read_nifti(path), affine_of(path)
        if skull:
            voxels, affine = in_a_skull(voxels)
        said = judge(engine, voxels, affine, header(voxels, affine))
        found.append(
            {
                "name": name,
                "what": what,
                "flagged": said.flagged,
                "probability": None if said.probability is None else round(said.probability, 4),
                "reasons": list(said.reasons),
            }
        )
    return found
