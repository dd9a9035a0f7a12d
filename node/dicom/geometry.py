"""Where slices lie: pure functions over headers, for the router and for the decoder alike.

A header is a mapping from DICOM keyword to its values as text. Nothing is guessed: a missing or unreadable value is a
problem that is stated with its values, never a default.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Header = Mapping[str, tuple[str, ...]]

GAP_TOLERANCE_MM = 0.05  # positions are often written with one decimal
GAP_TOLERANCE = 0.02  # of the gap
UNIT_TOLERANCE = 1e-2
ORIENTATION_TOLERANCE = 1e-3
SAME_POSITION_MM = 1e-3
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # PS3.5 6.2, DS


class Unreadable(ValueError):
    """A header value that is needed is missing or is not the number it has to be."""


def numbers(header: Header, keyword: str, count: int) -> tuple[float, ...]:
    """The `count` finite numbers of an element.

    raises: Unreadable with the element's name and, for numbers, what stands there
    """
    values = header.get(keyword)
    if not values:
        raise Unreadable(f"{keyword} is {'missing' if values is None else 'empty'}")
    if len(values) != count:
        raise Unreadable(f"{keyword} has {len(values)} values, not {count}")
    found = []
    for value in values:
        number = float(value) if _DECIMAL.fullmatch(value.strip(" \0")) else math.nan
        if not math.isfinite(number):
            shown = "".join(character for character in value[:16] if character.isalnum() or character in "+-.")
            raise Unreadable(f"{keyword} holds {shown!r}, which is not a finite number")
        found.append(number)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The plane of one slice (PS3.3 C.7.6.2.1.1), in mm and LPS patient coordinates."""

    position: NDArray[np.float64]  # centre of the first voxel
    along_columns: NDArray[np.float64]  # unit vector of rising column index
    along_rows: NDArray[np.float64]  # unit vector of rising row index
    row_gap_mm: float
    column_gap_mm: float

    @classmethod
    def of(cls, header: Header) -> Self:
        """Read the plane from a header.

        raises: Unreadable if a value is missing, not a number, not positive or not a pair of orthogonal unit vectors
        """
        position = np.array(numbers(header, "ImagePositionPatient", 3))
        cosines = np.array(numbers(header, "ImageOrientationPatient", 6))
        row_gap_mm, column_gap_mm = numbers(header, "PixelSpacing", 2)
        if row_gap_mm <= 0 or column_gap_mm <= 0:
            raise Unreadable(f"PixelSpacing is {row_gap_mm:g} and {column_gap_mm:g} mm, not positive")
        lengths = np.linalg.norm(cosines[:3]), np.linalg.norm(cosines[3:])
        if any(abs(length - 1) > UNIT_TOLERANCE for length in lengths):
            raise Unreadable(
                f"ImageOrientationPatient has vectors of length {lengths[0]:.3g} and {lengths[1]:.3g}, not 1"
            )
        along_columns, along_rows = cosines[:3] / lengths[0], cosines[3:] / lengths[1]
        cosine = float(along_columns @ along_rows)
        if abs(cosine) > UNIT_TOLERANCE:
            raise Unreadable(f"ImageOrientationPatient has vectors whose cosine is {cosine:.3g}, not 0")
        return cls(
            position=position,
            along_columns=along_columns,
            along_rows=along_rows,
            row_gap_mm=row_gap_mm,
            column_gap_mm=column_gap_mm,
        )

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector at right angles to the slice."""
        cross = np.cross(self.along_columns, self.along_rows)
        unit: NDArray[np.float64] = cross / np.linalg.norm(cross)
        return unit


@dataclass(frozen=True, kw_only=True)
class Stack:
    """How a set of slices is stacked."""

    order: tuple[int, ...]  # indices into the headers, by rising position along the normal; empty if unreadable
    gap_mm: float | None  # between neighbouring slices, along the normal
    problem: str | None  # the fact with its values, where the slices are no even stack
    tilt_deg: float  # of the gantry: between the slice normal and the stacking direction, or as the header says


def stack(headers: Sequence[Header]) -> Stack:
    """Order slices and say whether they are one even stack; never raises on bad headers, states the problem instead."""
    if not headers:
        return Stack(order=(), gap_mm=None, problem="no slice", tilt_deg=0.0)
    try:
        grids = [Grid.of(header) for header in headers]
    except Unreadable as unreadable:
        return Stack(order=(), gap_mm=None, problem=str(unreadable), tilt_deg=0.0)
    normal = grids[0].normal
    depths = [float(grid.position @ normal) for grid in grids]
    order = tuple(sorted(range(len(grids)), key=lambda index: (depths[index], index)))
    ordered = [grids[index] for index in order]
    tilt = _tilt(headers, ordered)
    if len(ordered) == 1:
        return Stack(order=order, gap_mm=None, problem="1 slice: no gap between slices can be measured", tilt_deg=tilt)
    gaps = np.diff([depths[index] for index in order])
    # Rounded positions scatter around the mean; where slices are missing, only the median is a gap of the scan.
    mean_mm, median_mm = float(gaps.mean()), float(np.median(gaps))
    gap_mm = mean_mm if float(np.abs(gaps - mean_mm).max()) <= _tolerance_mm(mean_mm, len(gaps)) else median_mm
    problem = _planes(ordered) or _evenness(ordered, gaps, gap_mm) or _thinned(headers, ordered, gap_mm)
    return Stack(order=order, gap_mm=gap_mm if gap_mm > SAME_POSITION_MM else None, problem=problem, tilt_deg=tilt)


def affine(headers: Sequence[Header]) -> NDArray[np.float64]:
    """Map voxel (z, y, x, 1) to LPS mm, for headers in geometric order; a tilted gantry makes it sheared.

    returns: (4, 4)
    raises:  Unreadable as `Grid.of`, or if there are fewer than two slices
    """
    if len(headers) < 2:
        raise Unreadable(f"{len(headers)} slices: no gap between slices can be measured")
    first, last = Grid.of(headers[0]), Grid.of(headers[-1])
    matrix = np.eye(4)
    matrix[:3, 0] = (last.position - first.position) / (len(headers) - 1)
    matrix[:3, 1] = first.along_rows * first.row_gap_mm
    matrix[:3, 2] = first.along_columns * first.column_gap_mm
    matrix[:3, 3] = first.position
    return matrix


def tilt_deg(header: Header) -> float:
    """Gantry/Detector Tilt (0018,1120) of one header in degrees; 0 where the header is silent.

    raises: Unreadable if the element has a value that is not a number
    """
    return numbers(header, "GantryDetectorTilt", 1)[0] if header.get("GantryDetectorTilt") else 0.0


def _tilt(headers: Sequence[Header], ordered: Sequence[Grid]) -> float:
    """The tilt that moves voxels: measured from the stack where it can be, and never less than a header admits."""
    stated = 0.0
    for header in headers:
        try:
            stated = max(stated, tilt_deg(header), -tilt_deg(header))
        except Unreadable:
            continue  # the gate names it; geometry alone decides then
    direction = ordered[-1].position - ordered[0].position
    length = float(np.linalg.norm(direction))
    if length <= SAME_POSITION_MM:
        return stated
    cosine = min(1.0, abs(float(direction @ ordered[0].normal)) / length)
    return max(stated, math.degrees(math.acos(cosine)))


def _tolerance_mm(gap_mm: float, gaps: int) -> float:
    """How far a gap may be from the others: rounding moves each gap, and the mean of a few gaps a little too."""
    return max(GAP_TOLERANCE_MM * (1 + 2 / gaps), GAP_TOLERANCE * gap_mm) + 1e-6


def _planes(ordered: Sequence[Grid]) -> str | None:
    first = ordered[0]
    for number, grid in enumerate(ordered[1:], start=2):
        turned = max(
            float(np.abs(grid.along_columns - first.along_columns).max()),
            float(np.abs(grid.along_rows - first.along_rows).max()),
        )
        if turned > ORIENTATION_TOLERANCE:
            return (
                f"mixed orientations: slice {number} of {len(ordered)} is turned by {turned:.3g} in a direction cosine"
            )
        if abs(grid.row_gap_mm - first.row_gap_mm) > 1e-4 or abs(grid.column_gap_mm - first.column_gap_mm) > 1e-4:
            return (
                f"mixed pixel spacings: {first.row_gap_mm:g} x {first.column_gap_mm:g} mm "
                f"and {grid.row_gap_mm:g} x {grid.column_gap_mm:g} mm"
            )
    return None


def _evenness(ordered: Sequence[Grid], gaps: NDArray[np.float64], gap_mm: float) -> str | None:
    total = len(ordered)
    same = int(np.count_nonzero(gaps <= SAME_POSITION_MM))
    if same:
        return f"{same} of {total} slices lie at the position of another slice"
    tolerance_mm = _tolerance_mm(gap_mm, len(gaps))
    worst = int(np.argmax(np.abs(gaps - gap_mm)))
    if abs(float(gaps[worst]) - gap_mm) > tolerance_mm:
        return f"uneven slices: a gap of {gaps[worst]:.2f} mm after slice {worst + 1} of {total}, not {gap_mm:.2f} mm"
    positions = np.array([grid.position for grid in ordered])
    straight = positions[0] + np.linspace(0, 1, total)[:, None] * (positions[-1] - positions[0])
    drift_mm = np.linalg.norm(positions - straight, axis=1)
    worst = int(np.argmax(drift_mm))
    # Rounded positions move a slice by a little along each axis; a shifted or re-centred slice moves by millimetres.
    if drift_mm[worst] > max(4 * GAP_TOLERANCE_MM, tolerance_mm):
        return f"slice {worst + 1} of {total} lies {drift_mm[worst]:.2f} mm off the line of the stack"
    return None


def _thinned(headers: Sequence[Header], ordered: Sequence[Grid], gap_mm: float) -> str | None:
    """Every second slice missing leaves an even stack; Spacing Between Slices (0018,0088) gives it away."""
    if not headers[0].get("SpacingBetweenSlices"):
        return None
    try:
        stated_mm = abs(numbers(headers[0], "SpacingBetweenSlices", 1)[0])
    except Unreadable as unreadable:
        return str(unreadable)
    if stated_mm <= SAME_POSITION_MM:
        return None
    # A tilted gantry states the step of the table, which is longer than the gap along the normal.
    step_mm = float(np.linalg.norm(ordered[-1].position - ordered[0].position)) / (len(ordered) - 1)
    if min(step_mm, gap_mm) / stated_mm > 1.9:
        return f"slices are missing: a gap of {gap_mm:.2f} mm, where the header states {stated_mm:.2f} mm"
    return None
