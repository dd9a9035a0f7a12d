"""The cases that judge the triage, and what the pipeline says of one. All of heads that no training saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.training.evaluate_triage_lines import Part
from engines.training.head_labels import HELD_BACK, TRAIN
from engines.training.headct import Case, Kind, abnormal_head, normal_head
from engines.training.headct_acquire import Lying, drawn_protocol
from engines.training.headct_scope import Odd

COUNTS = {
    Kind.ICH: 64, Kind.SDH: 30, Kind.EDH: 14, Kind.SAH: 26, Kind.IVH: 16, Kind.INFARCT: 40, Kind.MASS: 24,
    Kind.HYDROCEPHALUS: 10,
}  # fmt: skip
NORMALS, ATLAS, BLANKS, ODDS, TURNS = 112, 24, 24, 12, 3
SEED = 9_000_000  # of all that judges; training draws from far below
SIZE = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the pipeline said of a series.

    logit, probability: None when it was not analysable; reasons say why
    peak:               (z, y, x) voxel of the strongest place
    z, region:          (z, y, x) of the series, signed, and where it is beyond what normals show; None likewise
    by_header:          the header alone was enough to refuse it
    """

    flagged: bool = False
    logit: float | None = None
    probability: float | None = None
    reasons: tuple[str, ...] = ()
    by_header: bool = False
    peak: tuple[int, int, int] | None = None
    z: NDArray[np.float32] | None = None
    region: NDArray[np.bool_] | None = None


class Judge(Protocol):
    """The pipeline, as the node runs it; goes to other processes, so it is plain to pickle.

    threshold: logit from which the flag is raised; percentiles: logits of normals at even steps, lowest first
    """

    @property
    def threshold(self) -> float: ...

    @property
    def percentiles(self) -> Sequence[float]: ...

    def __call__(
        self,
        engine: Engine,
        voxels: NDArray[np.float32],
        affine: NDArray[np.float64],
        header: Mapping[str, tuple[str, ...]],
    ) -> Judged: ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """One case and what to do with it."""

    part: Part
    head: int
    seed: int
    data: Path
    kind: str = Kind.NORMAL.value
    volume_ml: float | None = None
    lying: Lying | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def header_of(case: Case) -> dict[str, tuple[str, ...]]:
    """What a scanner would write of a simulated head."""
    return header(case.voxels, case.affine, f"{int(case.facts['age']):03d}Y")


def header(voxels: NDArray[np.float32], affine: NDArray[np.float64], age: str = "") -> dict[str, tuple[str, ...]]:
    """What any scanner writes. DICOM keyword -> values"""
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    down, right = affine[:3, 1] / columns[1], affine[:3, 2] / columns[2]
    made = {
        "Modality": ("CT",),
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "BodyPartExamined": ("HEAD",),
        "KVP": ("120",),
        "SliceThickness": (f"{columns[0]:.3g}",),
        "PixelSpacing": (f"{columns[1]:.6f}", f"{columns[2]:.6f}"),
        "Rows": (str(voxels.shape[1]),),
        "Columns": (str(voxels.shape[2]),),
        "ConvolutionKernel": ("B30s",),
        "ImageOrientationPatient": tuple(f"{v:.6f}" for v in (*right, *down)),
    }
    return {**made, "PatientAge": (age,)} if age else made


def made_case(task: Task) -> Case:
    """The same for the same task. raises: ValueError for one that is out of scope: `odd_head` makes it"""
    rng = np.random.default_rng([task.seed, task.head])
    how = replace(drawn_protocol(rng, size=SIZE), lying=task.lying) if task.lying is not None else None
    if task.part in (Part.ATLAS, Part.NORMAL) or (task.kind == Kind.NORMAL and task.part is not Part.BLANK):
        return normal_head(rng, task.head, protocol=how, size=SIZE, data=task.data)
    return abnormal_head(
        rng,
        task.head,
        Kind(task.kind),
        volume_ml=task.volume_ml,
        blank=task.part is Part.BLANK,
        protocol=how,
        size=SIZE,
        data=task.data,
    )


def tasks_of(part: Part, count: int, first: int, data: Path, kinds: Sequence[str] = (), **given: Any) -> list[Task]:
    """So many cases of a part, heads in turn, kinds in turn if there are several."""
    heads = TRAIN if part is Part.ATLAS else HELD_BACK
    return [
        Task(
            part=part,
            head=heads[k % len(heads)],
            seed=SEED + first + k,
            data=data,
            kind=kinds[(k // len(heads)) % len(kinds)] if kinds else Kind.NORMAL.value,
            **given,
        )
        for k in range(count)
    ]


def all_tasks(data: Path, every: int = 1) -> list[Task]:
    """Every case that judges. every: only each n-th of each kind, two at least"""

    def some(count: int) -> int:
        return max(-(-count // every), 2)

    tasks = tasks_of(Part.NORMAL, some(NORMALS), 1000, data)
    for index, (kind, count) in enumerate(COUNTS.items()):
        tasks += tasks_of(Part.ABNORMAL, some(count), 2000 + 200 * index, data, (kind.value,))
    others = [kind.value for kind in (Kind.ICH, Kind.SDH, Kind.MASS, Kind.INFARCT)]
    tasks += tasks_of(Part.BLANK, some(BLANKS), 5000, data, others)
    for index, odd in enumerate(Odd):
        tasks += tasks_of(Part.ODD, some(ODDS), 6000 + 100 * index, data, (odd.value,))
    for k in range(some(TURNS)):
        for lying in Lying:
            tasks.append(
                Task(
                    part=Part.TURNED,
                    head=HELD_BACK[k % len(HELD_BACK)],
                    seed=SEED + 7000 + k,
                    data=data,
                    kind=(Kind.NORMAL if k % 2 else Kind.ICH).value,
                    volume_ml=None if k % 2 else 15.0,
                    lying=lying,
                    facts={"case": k, "lying": lying.value},
                )
            )
    return tasks
