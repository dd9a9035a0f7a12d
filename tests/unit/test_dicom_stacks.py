"""Which slices belong together: phases, echoes and kinds of image become parts, and nothing else does."""

from collections.abc import Sequence

import pytest

from node.dicom.geometry import stack
from node.dicom.stacks import LONGEST_LABEL, WHOLE, split

Header = dict[str, tuple[str, ...]]


def slices(
    count: int = 4, *, first_mm: float = 0.0, gap_mm: float = 2.0, **values: str | Sequence[str]
) -> list[Header]:
    return [
        {
            "ImagePositionPatient": ("0", "0", f"{first_mm + gap_mm * index:g}"),
            "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
            "PixelSpacing": ("1", "1"),
            **{name: (value,) if isinstance(value, str) else tuple(value) for name, value in values.items()},
        }
        for index in range(count)
    ]


def labels(*groups: list[Header]) -> dict[str, int]:
    """Label -> number of slices, each header an object of its own."""
    parts = split([[header] for group in groups for header in group])
    return {part.label: len(part.slices) for part in parts}


def test_an_even_stack_is_one_part() -> None:
    assert labels(slices(5)) == {WHOLE: 5}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"TemporalPositionIdentifier": "1"}, {"TemporalPositionIdentifier": "2"}, "TemporalPositionIdentifier"),
        ({"EchoTime": "2.3"}, {"EchoTime": "4.6"}, "EchoTime"),
        ({"EchoNumbers": "1", "EchoTime": "2.3"}, {"EchoNumbers": "2", "EchoTime": "4.6"}, "EchoNumbers"),
        ({"TriggerTime": "0"}, {"TriggerTime": "40.5"}, "TriggerTime"),
        ({"AcquisitionNumber": "3"}, {"AcquisitionNumber": "4"}, "AcquisitionNumber"),
        ({"DiffusionBValue": "0.0"}, {"DiffusionBValue": "1000.0"}, "DiffusionBValue"),
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}, "ConvolutionKernel"),
        ({"ContentTime": "101010"}, {"ContentTime": "101020"}, "ContentTime"),
        ({}, {"InversionTime": "900"}, "InversionTime"),
    ],
)
def test_two_stacks_in_one_place_are_told_apart(first: dict[str, str], second: dict[str, str], expected: str) -> None:
    found = labels(slices(4, **first), slices(4, **second))

    wanted = [f"{expected}={one.get(expected, 'none')}" for one in (first, second)]
    assert sorted(found) == sorted(wanted)
    assert set(found.values()) == {4}


def test_magnitude_and_phase_are_told_apart_by_the_value_of_image_type_that_differs() -> None:
    magnitude, phase = ("ORIGINAL", "PRIMARY", "M", "ND"), ("ORIGINAL", "PRIMARY", "P", "ND")

    assert labels(slices(ImageType=magnitude), slices(ImageType=phase)) == {"ImageType=M": 4, "ImageType=P": 4}


def test_two_attributes_together_tell_apart_what_neither_does_alone() -> None:
    groups = [
        slices(3, ComplexImageComponent=kind, EchoTime=echo)
        for kind in ("MAGNITUDE", "PHASE")
        for echo in ("2.3", "4.6")
    ]

    assert list(labels(*groups)) == [
        "ComplexImageComponent=MAGNITUDE,EchoTime=2.3",
        "ComplexImageComponent=MAGNITUDE,EchoTime=4.6",
        "ComplexImageComponent=PHASE,EchoTime=2.3",
        "ComplexImageComponent=PHASE,EchoTime=4.6",
    ]


def test_a_time_that_differs_from_slice_to_slice_tells_nothing() -> None:
    first, second = slices(3), slices(3)
    for number, header in enumerate((*first, *second)):
        header["ContentTime"] = (f"1010{number:02d}",)

    assert labels(first, second) == {WHOLE: 6}


def test_copies_that_nothing_tells_apart_stay_one_part_and_the_gate_says_so() -> None:
    (part,) = split([[header] for header in slices(3) + slices(3)])

    assert part.label == WHOLE
    assert stack([one.header for one in part.slices]).problem == "3 of 6 slices lie at the position of another slice"


def test_the_halves_of_a_scan_with_a_gap_are_no_two_phases() -> None:
    upper, lower = slices(4, AcquisitionNumber="1"), slices(4, first_mm=20.0, AcquisitionNumber="2")

    assert labels(upper, lower) == {WHOLE: 8}


def test_a_phase_that_lacks_a_slice_is_refused_alone() -> None:
    whole, lacking = slices(5, TriggerTime="0"), slices(5, TriggerTime="50")
    del lacking[2]

    parts = split([[header] for header in whole + lacking])

    assert {part.label: stack([one.header for one in part.slices]).problem for part in parts} == {
        "TriggerTime=0": None,
        "TriggerTime=50": "uneven slices: a gap of 4.00 mm after slice 2 of 4, not 2.00 mm",
    }


def test_stacks_of_other_orientation_are_parts_wherever_they_lie() -> None:
    axial = slices(3)
    sagittal = [
        header
        | {"ImageOrientationPatient": ("0", "1", "0", "0", "0", "-1"), "ImagePositionPatient": (str(index), "0", "0")}
        for index, header in enumerate(slices(3))
    ]

    assert sorted(labels(axial, sagittal).values()) == [3, 3]


def test_phases_are_ordered_by_number_not_by_text() -> None:
    groups = [slices(2, TriggerTime=time) for time in ("100", "20", "3")]

    assert list(labels(*groups)) == ["TriggerTime=3", "TriggerTime=20", "TriggerTime=100"]


def test_frames_of_several_objects_keep_their_numbers() -> None:
    objects = [
        [header | {"FrameNumber": (str(number),)} for number, header in enumerate(slices(3, EchoTime=echo), start=1)]
        for echo in ("10", "20")
    ]

    first, second = split(objects)

    assert [(one.instance, one.frame) for one in first.slices] == [(0, 1), (0, 2), (0, 3)]
    assert [(one.instance, one.frame) for one in second.slices] == [(1, 1), (1, 2), (1, 3)]


def test_labels_are_short_ascii_and_unique() -> None:
    groups = [
        slices(2, ContrastBolusAgent="Ultravist-\u00fc 370 " + "x" * 70 + str(number), EchoTime="3")
        for number in range(3)
    ]

    found = labels(*groups)

    assert len(found) == 3
    assert all(label.isascii() and len(label) <= LONGEST_LABEL for label in found)


def test_headers_without_positions_stay_one_part() -> None:
    headers: list[Header] = [{"EchoTime": ("1",)}, {"EchoTime": ("2",)}]

    (part,) = split([[header] for header in headers])

    assert part.label == WHOLE
    assert stack([one.header for one in part.slices]).problem == "ImagePositionPatient is missing"


def test_a_thousand_frames_of_twenty_phases_are_divided_quickly() -> None:
    groups = [slices(50, TemporalPositionIndex=str(phase), EchoTime="3") for phase in range(20)]

    assert len(labels(*groups)) == 20
