"""Slices are ordered by where they lie, and every stack that is not even is named with its figures."""

import math

import numpy as np
import pytest

from node.dicom import geometry
from node.dicom.geometry import Header


def header(z_mm: float, **changes: tuple[str, ...]) -> Header:
    return {
        "ImagePositionPatient": ("-10", "-20", f"{z_mm}"),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "PixelSpacing": ("0.5", "0.25"),
    } | changes


def test_slices_are_ordered_by_position_whatever_order_they_came_in() -> None:
    found = geometry.stack([header(z) for z in (4, 0, 6, 2)])

    assert found == geometry.Stack(order=(1, 3, 0, 2), gap_mm=2.0, problem=None, tilt_deg=0.0)


def test_the_order_follows_the_normal_and_not_the_table() -> None:
    downward = ("1", "0", "0", "0", "-1", "0")

    assert geometry.stack([header(z, ImageOrientationPatient=downward) for z in (0, 2)]).order == (1, 0)


@pytest.mark.parametrize(
    ("positions", "problem"),
    [
        ([0, 2, 6, 8], "uneven slices: a gap of 4.00 mm after slice 2 of 4, not 2.00 mm"),
        ([0, 2, 2, 4], "1 of 4 slices lie at the position of another slice"),
        ([0], "1 slice: no gap between slices can be measured"),
        ([], "no slice"),
    ],
)
def test_what_is_no_even_stack_is_named_with_its_figures(positions: list[float], problem: str) -> None:
    assert geometry.stack([header(z) for z in positions]).problem == problem


def test_positions_rounded_to_one_decimal_are_even() -> None:
    assert geometry.stack([header(round(1.25 * index, 1)) for index in range(40)]).problem is None


def test_a_set_that_was_thinned_evenly_is_found_by_its_stated_spacing() -> None:
    thinned = [header(z, SpacingBetweenSlices=("1.0",)) for z in (0, 2, 4)]

    assert geometry.stack(thinned).problem == "slices are missing: a gap of 2.00 mm, where the header states 1.00 mm"


def test_a_slice_that_was_shifted_sideways_is_found() -> None:
    headers = [header(z) for z in (0, 2, 4)]
    headers[1] = header(2, ImagePositionPatient=("-5", "-20", "2"))

    assert geometry.stack(headers).problem == "slice 2 of 3 lies 5.00 mm off the line of the stack"


@pytest.mark.parametrize(
    ("keyword", "values", "problem"),
    [
        ("PixelSpacing", ("0", "1"), "PixelSpacing is 0 and 1 mm, not positive"),
        ("PixelSpacing", ("-1", "1"), "PixelSpacing is -1 and 1 mm, not positive"),
        ("PixelSpacing", ("1",), "PixelSpacing has 1 values, not 2"),
        ("ImagePositionPatient", (), "ImagePositionPatient is empty"),
        ("ImagePositionPatient", ("1", "2", "1_0"), "ImagePositionPatient holds '10', which is not a finite number"),
        ("ImageOrientationPatient", ("0",) * 6, "ImageOrientationPatient has vectors of length 0 and 0, not 1"),
        (
            "ImageOrientationPatient",
            ("1", "0", "0", "1", "0", "0"),
            "ImageOrientationPatient has vectors whose cosine is 1, not 0",
        ),
    ],
)
def test_a_header_that_can_not_be_a_plane_is_named(keyword: str, values: tuple[str, ...], problem: str) -> None:
    assert geometry.stack([header(0, **{keyword: values}), header(2)]).problem == problem


def test_mixed_orientations_are_named() -> None:
    turned = ("0", "1", "0", "0", "0", "-1")

    assert "mixed orientations" in str(geometry.stack([header(0), header(2, ImageOrientationPatient=turned)]).problem)


@pytest.mark.parametrize("tilt", [-18.5, 16.5])
def test_a_tilted_gantry_is_measured_even_where_the_header_is_silent(tilt: float) -> None:
    cosine, sine = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    tilted = [
        header(2.5 * z, ImageOrientationPatient=("1", "0", "0", "0", f"{cosine:.7f}", f"{sine:.7f}")) for z in range(5)
    ]

    found = geometry.stack(tilted)

    assert found.problem is None
    assert found.tilt_deg == pytest.approx(abs(tilt), abs=0.01)
    assert found.gap_mm == pytest.approx(2.5 * cosine, abs=0.001)


def test_a_stated_tilt_counts_even_where_the_positions_hide_it() -> None:
    stated = [header(z, GantryDetectorTilt=("-12",)) for z in (0, 2)]

    assert geometry.stack(stated).tilt_deg == 12.0


def test_the_affine_maps_a_voxel_to_its_place_in_the_patient() -> None:
    matrix = geometry.affine([header(z) for z in (0, 2, 4)])

    assert np.allclose(matrix @ [2, 4, 8, 1], [-10 + 8 * 0.25, -20 + 4 * 0.5, 4, 1])
