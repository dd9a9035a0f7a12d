"""Routing: a rule sees every slice, every rule gets its reasons, and rules for one pipeline share one job."""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from node.settings import Rule
from node.stages.route import Match, Routing, route
from pipelines import SHIPPED
from pipelines.pipeline import Pipeline

SLICES = 40
TODAY = datetime.date(2026, 6, 1)
PLAIN: dict[str, tuple[str, ...]] = {
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.2",),
    "StudyInstanceUID": ("1.2.1",),
    "SeriesInstanceUID": ("1.2.2",),
    "FrameOfReferenceUID": ("1.2.3",),
    "Modality": ("CT",),
    "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
    "ProtocolName": ("CHEST LOW DOSE",),
    "KVP": ("120",),
    "Rows": ("512",),
    "Columns": ("512",),
    "BitsAllocated": ("16",),
    "BitsStored": ("12",),
    "HighBit": ("11",),
    "PixelRepresentation": ("0",),
    "SamplesPerPixel": ("1",),
    "PhotometricInterpretation": ("MONOCHROME2",),
    "RescaleSlope": ("1",),
    "RescaleIntercept": ("-1024",),
    "PixelSpacing": ("0.7", "0.7"),
    "SliceThickness": ("1",),
    "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
    "StudyDate": ("20260105",),
}


def series(slices: int = SLICES, **of_all: tuple[str, ...]) -> list[dict[str, tuple[str, ...]]]:
    return [
        PLAIN | {"SOPInstanceUID": (f"1.2.4.{n + 1}",), "ImagePositionPatient": ("0", "0", str(n))} | of_all
        for n in range(slices)
    ]


def rule(name: str = "ct", *destinations: str, pipeline: str = "ct-denoise", **where: Any) -> Rule:
    return Rule.model_validate(
        {"name": name, "pipeline": pipeline, "destinations": destinations or ("archive",), "where": where}
    )


def routed(
    headers: list[dict[str, tuple[str, ...]]],
    *rules: Rule,
    patients: int = 1,
    pipelines: Mapping[str, Pipeline] = SHIPPED,
) -> Routing:
    return route(headers, rules or (rule(),), pipelines, patients=patients, today=TODAY)


def test_a_plain_series_matches_and_the_rule_has_no_reasons() -> None:
    found = routed(series(), rule("low-dose", "archive", Modality="CT", ProtocolName="*LOW*DOSE*"))

    assert found == Routing(
        matches=(Match(rule="low-dose", pipeline="ct-denoise", destinations=("archive",)),), reasons={"low-dose": []}
    )


@pytest.mark.parametrize("odd", [0, SLICES // 2, SLICES - 1])
def test_one_odd_slice_anywhere_keeps_the_whole_set_out_and_is_counted(odd: int) -> None:
    headers = series()
    headers[odd]["ProtocolName"] = ("CHEST FULL DOSE",)

    found = routed(headers, rule(ProtocolName="*LOW*DOSE*"))

    assert found.matches == ()
    assert found.reasons == {"ct": [f"ProtocolName is 'CHEST FULL DOSE' in 1 of {SLICES} slices; wanted '*LOW*DOSE*'"]}


def test_reasons_are_given_rule_by_rule() -> None:
    found = routed(
        series(),
        rule("soft", ConvolutionKernel="B3*"),
        rule("thick", SliceThickness={"min": 2}, KVP={"max": 100}),
        rule("all", Modality="CT"),
    )

    assert [match.rule for match in found.matches] == ["all"]
    assert found.reasons == {
        "soft": ["ConvolutionKernel is absent in 40 of 40 slices; wanted 'B3*'"],
        "thick": [
            "SliceThickness is '1' in 40 of 40 slices; wanted from 2 to ∞",
            "KVP is '120' in 40 of 40 slices; wanted from -∞ to 100",
        ],
        "all": [],
    }


def test_two_rules_for_one_pipeline_make_one_job_for_all_their_destinations() -> None:
    found = routed(series(), rule("first", "pacs", "desk"), rule("second", "desk", "research"))

    assert found.matches == (Match(rule="first", pipeline="ct-denoise", destinations=("pacs", "desk", "research")),)


def test_two_pipelines_make_two_jobs() -> None:
    other = replace(SHIPPED["ct-denoise"], name="other")

    found = routed(series(), rule("a"), rule("b", pipeline="other"), pipelines={**SHIPPED, "other": other})

    assert [match.pipeline for match in found.matches] == ["ct-denoise", "other"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (series(2), "2 slice(s); the network takes 3 or more"),
        (series(Modality=("MR",)), "the network takes Modality CT, not MR"),
        (series(GantryDetectorTilt=("-18.5",)), "gantry tilt of 18.5 degrees; the network takes at most 0.5"),
        (series(PixelSpacing=("3", "3")), "PixelSpacing 3 to 3 mm; the network takes 0.3 to 1.6 mm"),
        (series(SliceThickness=("10",)), "SliceThickness 10 to 10 mm; the network takes 0.4 to 6 mm"),
        (series(SliceThickness=()), "SliceThickness is missing or no number in some slices; the network needs it"),
        (series(KVP=("40",)), "KVP 40 to 40 kV; the network takes 70 to 150 kV"),
        (series(Rows=("32",)), "Rows 32 to 32; the network takes 64 to 1024"),
        (series(ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER")), "LOCALIZER stands in ImageType"),
        (series(StudyDate=("20990101",)), "StudyDate lies in the future in 40 of 40 slices"),
    ],
)  # fmt: skip
def test_what_the_network_was_not_made_for_is_a_reason_of_every_rule(headers: Any, reason: str) -> None:
    found = routed(headers, rule("a"), rule("b"))

    assert found.matches == ()
    for lines in found.reasons.values():
        assert any(line.startswith(reason) for line in lines), lines
        assert len(lines) == len(set(lines))


def test_one_slice_outside_the_range_of_the_network_is_enough() -> None:
    headers = series()
    headers[7]["KVP"] = ("190",)

    assert routed(headers).reasons["ct"] == ["KVP 120 to 190 kV; the network takes 70 to 150 kV"]


def test_two_patients_in_one_series_are_never_processed() -> None:
    assert routed(series(), patients=2).reasons["ct"] == ["the slices name 2 different patients"]


def test_a_missing_slice_is_a_reason_with_its_place() -> None:
    headers = series()
    del headers[10]

    assert routed(headers).reasons["ct"] == ["uneven slices: a gap of 2.00 mm after slice 10 of 39, not 1.00 mm"]


def test_the_order_of_the_slices_does_not_matter() -> None:
    assert routed(series()[::-1]) == routed(series())
