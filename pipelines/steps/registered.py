"""The check on how series were brought to the grid: what was found then is judged again, and stands in the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict

VERSION: Final = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class registered:
    """Every series that was brought to the grid agrees with it.

    A series that agrees less than its role asks never comes here: preparing holds it. Those just above get a mark.

    caution: least agreement of edges without a mark, 0 is chance and 1 is perfect (`placing.edges_agree`)
    moved_mm: largest shift without a mark; a head that moved between two series may have moved during one of them
    """

    caution: float
    moved_mm: float = 10.0

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding for each role that was brought to the grid; none for a pipeline of one series."""
        return tuple(
            self._judged(role, other.placed) for role, other in sorted(case.source.others.items()) if other.placed
        )

    def _judged(self, role: str, figures: Mapping[str, Any]) -> Finding:
        quality, shift_mm = float(figures["quality"]), float(figures["shift_mm"])
        good = quality >= self.caution and shift_mm <= self.moved_mm
        text = (
            f"The edges of {role} agree with the grid by {quality:.2f} (caution below {self.caution:g}), after a shift "
            f"of {shift_mm:.1f} mm (caution above {self.moved_mm:g} mm) and {float(figures['rotation_deg']):.1f} "
            f"degrees; it reaches {100 * float(figures['cover']):.0f} % of the head."
        )
        return Finding(
            name=f"registered_{role}",
            value=quality,
            limit=self.caution,
            verdict=Verdict.PASS if good else Verdict.CAUTION,
            version=VERSION,
            text=text,
        )
