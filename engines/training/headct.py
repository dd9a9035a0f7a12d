"""Simulated head CT (NETWORKS C4): heads from label maps, painted in HU and scanned. numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import DATA
from engines.training.headct_acquire import Affine, Protocol, Scan, acquire, drawn_protocol
from engines.training.headct_anatomy import BRAIN, Anatomy, Mask, Matter, Volume, load
from engines.training.headct_plan import BLOOD, Kind, inserted, planned
from engines.training.headct_shape import Subject, drawn_looks, shaped, worn_looks
from engines.training.headct_tissue import painted

__all__ = ["BLOOD", "Case", "Kind", "abnormal_head", "case_of", "normal_head", "span"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One simulated examination.

    voxels:    (z, y, x) float32, whole HU
    affine:    (4, 4) float64, index (z, y, x, 1) -> LPS mm
    truth:     (z, y, x) bool, voxels that are lesion by half; those with most of it where none is
    volume_ml: of the lesion, exact; 0 for a normal head
    head:      the number of the map it was made from; 0 if it was none of the six
    facts:     what else is known: age in years, Hounsfield of the lesion, its site, ...
    """

    voxels: Volume
    affine: Affine
    truth: Mask
    kind: Kind
    volume_ml: float
    head: int
    protocol: Protocol
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices along their normal, rows and columns."""
        normal = np.cross(self.affine[:3, 1], self.affine[:3, 2])
        along = abs(float(self.affine[:3, 0] @ normal / np.linalg.norm(normal)))
        return along, float(np.linalg.norm(self.affine[:3, 1])), float(np.linalg.norm(self.affine[:3, 2]))


def span(subject: Subject) -> tuple[int, int]:
    """First row of the brain and last of the skin: what an examination must show."""
    brain = np.nonzero(np.isin(subject.matter, BRAIN[:-1]).any(axis=(1, 2)) & _not_neck(subject))[0]
    skin = np.nonzero((subject.matter != Matter.AIR).any(axis=(1, 2)))[0]
    return int(brain[0]), int(skin[-1])


def _not_neck(subject: Subject) -> NDArray[np.bool_]:
    """Rows that show more than the cord."""
    made: NDArray[np.bool_] = np.isin(subject.matter, BRAIN[:-1]).sum(axis=(1, 2)) > 700
    return made


def normal_head(
    rng: np.random.Generator,
    number: int | Anatomy,
    *,
    protocol: Protocol | None = None,
    thickness_mm: float | None = None,
    size: int = 512,
    worn: bool = False,
    data: Path = DATA,
) -> Case:
    """One normal head, seconds.

    number:       1 to 6, or an `Anatomy` that is loaded
    worn:         much wider ventricles and sulci than the map has
    protocol:     how it is scanned; None: drawn, with slices of `thickness_mm` and `size` pixels squared
    """
    anatomy = number if isinstance(number, Anatomy) else load(number, data)
    subject = shaped(rng, anatomy, worn_looks(rng) if worn else drawn_looks(rng))
    hu = painted(rng, subject)
    how = protocol or drawn_protocol(rng, thickness_mm=thickness_mm, size=size)
    scan = acquire(rng, hu, how, span=span(subject))
    return case_of(scan, Kind.NORMAL, anatomy.number, how, {"age": round(subject.looks.age, 1)})


def case_of(scan: Scan, kind: Kind, head: int, protocol: Protocol, facts: Mapping[str, Any]) -> Case:
    """A scan with its truth; the first share, if there is one, is the lesion."""
    voxel_ml = abs(float(np.linalg.det(scan.affine[:3, :3]))) / 1000.0
    truth, volume = np.zeros(scan.voxels.shape, dtype=bool), 0.0
    if len(scan.shares):
        share = scan.shares[0]
        volume = float(share.sum(dtype=np.float64)) * voxel_ml
        truth = share >= min(0.5, max(0.5 * float(share.max()), 1e-3))
    return Case(
        voxels=scan.voxels,
        affine=scan.affine,
        truth=truth,
        kind=kind,
        volume_ml=volume,
        head=head,
        protocol=protocol,
        facts=facts,
    )


def abnormal_head(
    rng: np.random.Generator,
    number: int | Anatomy,
    kind: Kind,
    *,
    volume_ml: float | None = None,
    blank: bool = False,
    protocol: Protocol | None = None,
    thickness_mm: float | None = None,
    size: int = 512,
    worn: bool = False,
    data: Path = DATA,
) -> Case:
    """One head with a lesion.

    volume_ml: of haemorrhages, blood in ventricles and masses; None: drawn
    blank:     every step, and nothing inserted: what shows that insertion leaves no traces of its own
    others:    as of `normal_head`
    raises:    ValueError for a kind without lesion
    """
    anatomy = number if isinstance(number, Anatomy) else load(number, data)
    looks = worn_looks(rng) if worn else drawn_looks(rng)
    plan = planned(rng, anatomy, looks, kind, volume_ml)
    subject = shaped(rng, anatomy, looks if blank else plan.looks, None if blank else plan.push)
    hu = painted(rng, subject)
    lesion = inserted(rng, subject, hu, plan)
    how = protocol or drawn_protocol(rng, thickness_mm=thickness_mm, size=size)
    shown, share = (hu, np.zeros_like(lesion.share)) if blank else (lesion.hu, lesion.share)
    scan = acquire(rng, shown, how, span=span(subject), masks=share[None])
    facts = {"age": round(looks.age, 1), "asked_ml": plan.volume_ml, **plan.facts, **lesion.facts}
    return case_of(scan, Kind.NORMAL if blank else kind, anatomy.number, how, facts)
