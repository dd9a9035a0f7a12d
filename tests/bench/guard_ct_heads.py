"""Simulated head CT for the guards of the triage: heads that it is for, and heads that it must not judge.

Painting a head takes seconds: `--cases FOLDER` of the bench keeps them outside of the repository.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.training.headct import abnormal_head, normal_head
from engines.training.headct_scope import Odd, odd_head
from engines.training.triage_cases import KINDS
from pipelines.triage import Headers
from pipelines.volume import Volume

SIZE: Final = 320  # pixels: those of a scan, averaged; the grid of the triage has 1 mm
CALIBRATE: Final = 40  # of head 04
QUALIFY: Final = 12  # of each of heads 05 and 06
ODD: Final = 6  # of each sort, of each of heads 05 and 06


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSeries:
    """A series as the pipeline gets it.

    name:    for the list of what was missed
    odd:     why it is out of scope; empty of one that is in scope
    """

    name: str
    volume: Volume
    headers: Headers
    odd: str = ""


def in_scope(head: int, count: int, folder: Path | None) -> Iterator[HeadSeries]:
    """Normal heads and heads with lesions, in turn."""
    for number in range(count):
        rng = np.random.default_rng([82_000 + number, head])
        name = f"in_{head}_{number}"

        def made(rng: np.random.Generator = rng, number: int = number) -> tuple[NDArray[np.float32], NDArray[Any]]:
            if number % 2 == 0:
                case = normal_head(rng, head, size=SIZE)
            else:
                case = abnormal_head(rng, head, KINDS[number // 2 % len(KINDS)], size=SIZE)
            return case.voxels, case.affine

        yield _series(name, *_kept(name, folder, made))


def out_of_scope(head: int, odd: Odd, count: int, folder: Path | None) -> Iterator[HeadSeries]:
    """Heads that must not be judged. Their headers say nothing of it: age and contrast agent are not always told."""
    for number in range(count):
        rng = np.random.default_rng([81_000 + number, head, list(Odd).index(odd)])
        name = f"odd_{head}_{odd.name}_{number}"

        def made(rng: np.random.Generator = rng) -> tuple[NDArray[np.float32], NDArray[Any]]:
            case = odd_head(rng, head, odd, size=SIZE)
            return case.voxels, case.affine

        yield replace(_series(name, *_kept(name, folder, made)), odd=str(odd))


def _kept(name: str, folder: Path | None, made: Any) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """From the folder where it lies there; else made, and put there."""
    path = folder / f"{name}.npz" if folder else None
    if path is not None and path.exists():
        with np.load(path) as arrays:
            return arrays["voxels"].astype(np.float32), arrays["affine"]
    voxels, affine = made()
    if path is not None:
        np.savez(path, voxels=voxels.astype(np.int16), affine=affine)
    return voxels, affine


def _series(name: str, voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> HeadSeries:
    volume = Volume(voxels=voxels, affine=affine, unit="HU")
    return HeadSeries(name=name, volume=volume, headers=headers_of(volume))


def headers_of(volume: Volume, **more: tuple[str, ...]) -> Headers:
    """Complete headers inside of the envelope, one for each slice."""
    step, rows, columns = (float(mm) for mm in np.linalg.norm(volume.affine[:3, :3], axis=0))
    header: Mapping[str, tuple[str, ...]] = {
        "Modality": ("CT",),
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "BodyPartExamined": ("HEAD",),
        "KVP": ("120",),
        "ConvolutionKernel": ("H30s",),
        "SliceThickness": (f"{step:g}",),
        "PixelSpacing": (f"{rows:g}", f"{columns:g}"),
        "Rows": (str(volume.voxels.shape[1]),),
        "Columns": (str(volume.voxels.shape[2]),),
        "PatientAgeGroup": ("ADULT",),
        **more,
    }
    return (header,) * len(volume.voxels)
