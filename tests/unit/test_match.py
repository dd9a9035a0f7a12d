"""The conditions of rules: what fits, what does not, and the line that says why."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.match import Condition, misfits


def condition(value: object) -> Condition:
    return TypeAdapter(Condition).validate_python(value)


def fits(value: object, *values: str) -> bool:
    return condition(value).fits(values)


def absent(value: object) -> bool:
    return condition(value).fits(None)


@pytest.mark.parametrize(
    ("wanted", "values", "expected"),
    [
        # a text, whatever the letter case
        ("CT", ("CT",), True),
        ("ct", ("CT",), True),
        ("CT", ("CTA",), False),
        # wildcards
        ("*LOW*DOSE*", ("Chest low dose 1 mm",), True),
        ("*LOW*DOSE*", ("CHEST DOSE LOW",), False),
        ("B?0f", ("B30f",), True),
        ("B?0f", ("B301f",), False),
        ("*", (), False),
        # several values: any of them
        ("AXIAL", ("ORIGINAL", "PRIMARY", "AXIAL"), True),
        ("Br38*", ("Br38f", "3"), True),
        # a set
        (["B30*", "Br38*"], ("Br38f",), True),
        (["B30*", "Br38*"], ("B70f",), False),
        ([1, 2], ("2",), True),
        (120, ("120",), True),
        # ranges, both ends included
        ({"min": 0.5, "max": 3}, ("0.5",), True),
        ({"min": 0.5, "max": 3}, ("3.0",), True),
        ({"min": 0.5, "max": 3}, ("3.01",), False),
        ({"min": 100}, ("1e2",), True),
        ({"max": 0}, ("-1",), True),
        ({"min": 0}, ("thick",), False),
        ({"min": 0}, ("nan",), False),
        ({"min": 0}, ("inf",), False),
        ({"min": 0}, (), False),
        # not: none of the values fits
        ({"not": "LOCALIZER"}, ("ORIGINAL", "PRIMARY", "AXIAL"), True),
        ({"not": "LOCALIZER"}, ("ORIGINAL", "PRIMARY", "LOCALIZER"), False),
        ({"not": ["MPR", "*3D*"]}, ("DERIVED", "VOLUME 3D"), False),
        ({"not": {"min": 3}}, ("2",), True),
        ({"not": {"not": "CT"}}, ("CT",), True),
        # all: several at once
        ({"all": ["ORIGINAL", {"not": "LOCALIZER"}]}, ("ORIGINAL", "PRIMARY", "AXIAL"), True),
        ({"all": ["ORIGINAL", {"not": "LOCALIZER"}]}, ("ORIGINAL", "PRIMARY", "LOCALIZER"), False),
        ({"all": ["ORIGINAL", {"not": "LOCALIZER"}]}, ("DERIVED", "PRIMARY", "AXIAL"), False),
        # presence
        ({"present": True}, ("IOHEXOL",), True),
        ({"present": True}, (), False),
        ({"present": False}, (), True),
        ({"present": False}, ("IOHEXOL",), False),
    ],
)  # fmt: skip
def test_a_condition_fits_these_values(wanted: object, values: tuple[str, ...], expected: bool) -> None:
    assert fits(wanted, *values) is expected


def test_an_absent_attribute_fits_only_what_says_so() -> None:
    assert absent({"present": False})
    assert absent({"not": "LOCALIZER"})
    assert not absent({"present": True})
    assert not absent("*")
    assert not absent({"min": 0})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({}, "a condition is one of"),
        ([], "a set holds at least one"),
        ([["CT"]], "a set holds at least one"),
        ([True], "a set holds at least one"),
        (True, "valid dictionary"),
        ({"min": 3, "max": 1}, "a range from 3 to 1 holds nothing"),
        ({"min": 1, "present": True}, "a condition is one of"),
        ({"minimum": 1}, "Extra inputs"),
        ({"not": {}}, "a condition is one of"),
        ({"min": "thin"}, "valid number"),
    ],
)
def test_a_condition_that_says_nothing_or_two_things_is_refused(value: object, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        condition(value)


def test_one_odd_slice_of_many_is_named_with_its_value_and_the_counts() -> None:
    headers = [{"ConvolutionKernel": ("B30f",)}] * 99 + [{"ConvolutionKernel": ("B70f",)}]

    assert misfits({"ConvolutionKernel": condition("B3*")}, headers) == [
        "ConvolutionKernel is 'B70f' in 1 of 100 slices; wanted 'B3*'"
    ]
    assert misfits({"ConvolutionKernel": condition("B*")}, headers) == []


def test_every_condition_that_breaks_has_its_line_and_only_those() -> None:
    where = {
        "Modality": condition("CT"),
        "KVP": condition({"min": 80, "max": 120}),
        "ContrastBolusAgent": condition({"present": False}),
        "ImageType": condition({"all": ["ORIGINAL", {"not": "MPR"}]}),
        "SliceThickness": condition({"max": 2}),
        "StationName": condition(["CT1", "CT2"]),
    }
    header = {
        "Modality": ("CT",),
        "KVP": ("140",),
        "ContrastBolusAgent": ("X",),
        "ImageType": (),
        "StationName": ("C",),
    }

    assert misfits(where, [header, header]) == [
        "KVP is '140' in 2 of 2 slices; wanted from 80 to 120",
        "ContrastBolusAgent is 'X' in 2 of 2 slices; wanted absent or empty",
        "ImageType is empty in 2 of 2 slices; wanted 'ORIGINAL' and not ('MPR')",
        "SliceThickness is absent in 2 of 2 slices; wanted from -∞ to 2",
        "StationName is 'C' in 2 of 2 slices; wanted 'CT1' or 'CT2'",
    ]


def test_many_different_values_are_counted_not_listed() -> None:
    headers = [{"ProtocolName": (f"P{number}",)} for number in range(10)]

    assert misfits({"ProtocolName": condition("X")}, headers) == [
        "ProtocolName is 'P0', 'P1', 'P2' and 7 more values in 10 of 10 slices; wanted 'X'"
    ]


def test_a_quoted_value_is_cut_and_escaped() -> None:
    (line,) = misfits({"ProtocolName": condition("X")}, [{"ProtocolName": ("\x1b[31m\n" + "A" * 100,)}])

    assert "\x1b" not in line
    assert "\n" not in line
    assert len(line) < 150
