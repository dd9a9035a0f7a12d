"""Guards on a synthetic post-contrast image: what gadolinium can do to a T1, and what it cannot (NETWORKS.md E-11)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.pipeline import Checked, Finding
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable

VERSION = "1.0.0"


@dataclass(frozen=True)
class never_darker(BySlice):
    """E-11: no voxel is darker than in T1, none. Every slice. Gadolinium shortens T1; nothing in a T1 gets darker by it
    but by T2*, at concentrations that no tissue has some minutes after a usual dose."""

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("never_darker", 0.0)

    def measure(self, case: Checked, pair: Pair) -> tuple[int, float]:
        """How many voxels are darker, and by how much the worst is."""
        lost = pair.before - pair.after
        return int(np.count_nonzero(~(lost <= 0.0))), float(np.max(lost, initial=0.0))

    def judge(self, case: Checked, rows: Sequence[tuple[int, float]]) -> tuple[Finding, ...]:
        """One finding: how many voxels are darker."""
        count, most = sum(darker for darker, _ in rows), max(lost for _, lost in rows)
        text = f"{count} voxels are darker than in T1, by at most {most:.4g}; none may be."
        return (judged("never_darker", float(count), 0.0, above(float(count), 0.0), text, version=VERSION),)
