"""Time-of-flight angiography of a head: what a series has to be, and how its slices lie to one another.

The sequence parameters and a word for it have to agree: a spoiled gradient echo with the times of time-of-flight may be
an old T1 just as well.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.match import Header, number
from pipelines.mr_roles import Timing, Weighting

TOF_3D: Final = Timing(
    name="3-D time-of-flight",
    ranges={"RepetitionTime": ((15.0, 60.0),), "EchoTime": ((1.5, 10.0),), "FlipAngle": ((10.0, 40.0),)},
    acquisition=frozenset({"3D"}),
)
TOF_2D: Final = Timing(
    name="2-D time-of-flight",
    ranges={"RepetitionTime": ((15.0, 80.0),), "EchoTime": ((1.5, 12.0),), "FlipAngle": ((25.0, 90.0),)},
    acquisition=frozenset({"2D"}),
)

_SAID: Final = re.compile(r"TOF|ANGIO|INFLOW|WILLIS|(?<![A-Z])(?:MRA|COW)(?![A-Z])")
_SAID_IN: Final = ("SeriesDescription", "ProtocolName", "SequenceName", "ImageType")
_OTHER: Final = (
    "ASL BOLD CEMRA COLLAPSE COLLAPSED DSA DSC DYN MIN MINIP MIP MIPS MRV PC PCA PCMRA PCMRV PERF PHASE PROJECTION "
    "QFLOW QSM SCOUT SUB SUBTRACTION SWAN SWI TRICKS TWIST VENC 4D 4DFLOW"
)


def _kind(header: Header) -> Timing | str:
    kinds = header.get("ScanningSequence", ())
    if "GR" not in kinds or {"IR", "EP", "SE"} & set(kinds):
        shown = "\\".join(sorted("".join(c for c in kind if c.isalnum())[:8] for kind in kinds)[:4])
        return f"ScanningSequence is {shown or 'missing'}"
    words = [value.upper() for keyword in _SAID_IN for value in header.get(keyword, ())]
    if "Y" not in header.get("AngioFlag", ()) and not any(map(_SAID.search, words)):
        return "neither AngioFlag (0018,0025) nor a description names time-of-flight angiography"
    return TOF_3D if "3D" in header.get("MRAcquisitionType", ()) else TOF_2D


TOF: Final = Weighting(
    name="time-of-flight angiography", choose=_kind, words=frozenset(_OTHER.split()), angiography=True
)
"""Called with the headers of a series: every reason why it is no time-of-flight angiography of a head, as acquired."""


@dataclass(frozen=True, kw_only=True)
class Slabs:
    """How the slices of a series lie to one another.

    spacing_mm:   between the centres of neighbours, from their positions
    thickness_mm: Slice Thickness (0018,0050)
    """

    spacing_mm: float
    thickness_mm: float

    @property
    def covered(self) -> float:
        """Thickness over spacing: 1 where slices touch, more where they overlap, less where there are gaps."""
        return self.thickness_mm / self.spacing_mm


def slabs_of(headers: Sequence[Header]) -> Slabs | str:
    """Measure it, or say why it cannot be measured. headers: of the slices, in any order."""
    positions = [_numbers(header, "ImagePositionPatient", 3) for header in headers]
    cosines = _numbers(headers[0], "ImageOrientationPatient", 6) if headers else None
    thickness = {_numbers(header, "SliceThickness", 1) for header in headers}
    if cosines is None or None in positions or len(positions) < 2:
        return "the distance of slices cannot be measured: positions or orientation are missing"
    if len(thickness) != 1 or None in thickness:
        return "SliceThickness is missing or differs between slices"
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    depths = np.sort(np.asarray(positions, dtype=np.float64) @ normal)
    # The mean, as the affine has it; whether the gaps are even is judged where the stack is.
    spacing = float(depths[-1] - depths[0]) / (len(depths) - 1) / length if length > 0 else 0.0
    if spacing <= 0.0:
        return "the slices do not lie one above the other"
    (one,) = thickness
    assert one is not None
    return Slabs(spacing_mm=round(spacing, 4), thickness_mm=one[0])


def _numbers(header: Header, keyword: str, count: int) -> tuple[float, ...] | None:
    values = [number(text) for text in header.get(keyword, ())]
    found = tuple(value for value in values if value is not None)
    return found if len(found) == len(values) == count else None
