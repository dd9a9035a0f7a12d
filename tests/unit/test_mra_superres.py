"""What super-resolution takes, how many slices it makes, and that what was measured stays."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.ort import OrtEngine
from engines.slabs import averaged, fourier_seen
from engines.store import load_spec
from pipelines.judging import check
from pipelines.mr_tof import TOF, Slabs, slabs_of
from pipelines.mra_superres import FWHM_MM, MRA_SUPERRES, makes
from pipelines.mra_superres_limits import LIMITS
from pipelines.pipeline import Parameters, Unfit
from pipelines.run import infer
from pipelines.thinner import ThinnerSlices
from pipelines.volume import Volume
from tests.tof_phantom import angiography

CHOICE = ThinnerSlices()
CARD = Path(__file__).parents[2] / "engines" / "cards" / "mra_superres.json"
Header = dict[str, tuple[str, ...]]


def header(index: int, *, gap_mm: float = 4.0, **changes: str | tuple[str, ...] | None) -> Header:
    """Slice `index` of an angiography without surprises."""
    made: Header = {
        "Modality": ("MR",),
        "ImageType": ("ORIGINAL", "PRIMARY", "M"),
        "ScanningSequence": ("GR",),
        "SequenceVariant": ("SP", "MTC"),
        "MRAcquisitionType": ("3D",),
        "AngioFlag": ("Y",),
        "RepetitionTime": ("22",),
        "EchoTime": ("3.6",),
        "FlipAngle": ("18",),
        "MagneticFieldStrength": ("3",),
        "BodyPartExamined": ("HEAD",),
        "SliceThickness": (f"{gap_mm:g}",),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "ImagePositionPatient": ("0", "0", f"{gap_mm * index:g}"),
    }
    for keyword, value in changes.items():
        if value is None:
            made.pop(keyword, None)
        else:
            made[keyword] = (value,) if isinstance(value, str) else value
    return made


def headers(*, gap_mm: float = 4.0, **changes: str | tuple[str, ...] | None) -> list[Header]:
    return [header(index, gap_mm=gap_mm, **changes) for index in range(10)]


@pytest.mark.parametrize(
    ("gap_mm", "asked", "factor"),
    [(4.0, {}, 4), (5.0, {}, 5), (3.2, {}, 3), (2.0, {}, 2), (6.0, {}, 6), (4.0, {"spacing_mm": 0.8}, 5),
     (4.0, {"spacing_mm": 2.0}, 2), (4.0, {"factor": 6}, 6), (1.8, {"factor": 2.0}, 2)],
)  # fmt: skip
def test_the_factor_brings_slices_nearest_to_the_spacing_that_is_wanted(
    gap_mm: float, asked: Mapping[str, Any], factor: int
) -> None:
    settled = CHOICE.settle(asked, headers(gap_mm=gap_mm))

    assert settled.reasons == ()
    assert settled.values["factor"] == factor
    assert settled.values["spacing_mm"] == settled.values["thickness_mm"] == pytest.approx(gap_mm / factor, abs=1e-4)
    assert json.loads(json.dumps(settled.values)) == settled.values


@pytest.mark.parametrize(
    ("gap_mm", "asked", "changes", "said"),
    [
        (1.2, {}, {}, "1.2 mm apart are thin enough already for 1 mm"),
        (5.0, {"spacing_mm": 0.5}, {}, "would have to become 10 of 0.5 mm; the network makes at most 6, 0.83 mm"),
        (4.0, {}, {"SliceThickness": "3"}, "leave gaps of 1 mm in which nothing was measured"),
        (3.0, {}, {"SliceThickness": "6"}, "overlap by more than 30 %"),
        (4.0, {}, {"SliceThickness": None}, "SliceThickness is missing"),
        (
            4.0,
            {"consistency": "fourier"},
            {"MRAcquisitionType": "2D", "FlipAngle": "60"},
            "MRAcquisitionType is not 3D",
        ),
        (4.0, {}, {"ImagePositionPatient": ("0", "0")}, "positions or orientation are missing"),
        (4.0, {}, {"ImagePositionPatient": ("0", "0", "1")}, "do not lie one above the other"),
    ],
)
def test_what_the_slices_do_not_allow_is_a_reason(
    gap_mm: float, asked: Mapping[str, Any], changes: Mapping[str, Any], said: str
) -> None:
    reasons = CHOICE.settle(asked, headers(gap_mm=gap_mm, **changes)).reasons

    assert any(said in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"factor": 7}, "factor is a whole number from 2 to 6"),
        ({"factor": 2.5}, "factor is a whole number from 2 to 6"),
        ({"factor": "4"}, "factor is a whole number from 2 to 6"),
        ({"spacing_mm": 0.0}, "spacing_mm is a number from 0.2 to 3"),
        ({"factor": 4, "spacing_mm": 1.0}, "say the same thing"),
        ({"consistency": "none"}, "consistency is average, fourier or header"),
        ({"strength": 1}, "'strength' is no parameter of it"),
    ],
)
def test_a_rule_with_other_parameters_is_refused_before_any_series_comes(asked: Mapping[str, Any], said: str) -> None:
    assert any(said in line for line in CHOICE.faults(asked))
    assert CHOICE.faults({}) == CHOICE.faults({"factor": 3.0, "consistency": "header"}) == []


def test_what_is_kept_follows_the_acquisition_where_the_rule_says_so() -> None:
    two = headers(MRAcquisitionType="2D", FlipAngle="60")

    assert CHOICE.settle({"consistency": "header"}, headers()).values["consistency"] == "fourier"
    assert CHOICE.settle({"consistency": "header"}, two).values["consistency"] == "average"
    assert CHOICE.settle({}, headers()).values["consistency"] == "average"


def test_the_steps_of_stored_values_come_from_the_headers() -> None:
    scaled = headers(RescaleSlope="0.25", RescaleIntercept="-10")
    mixed = [header(0, RescaleSlope="0.25", RescaleIntercept="0"), *headers()[1:]]

    plain, one, two = (CHOICE.settle({}, some).values for some in (headers(), scaled, mixed))
    assert (plain["step"], plain["intercept"]) == (1.0, 0.0)
    assert (one["step"], one["intercept"]) == (0.25, -10.0)
    assert two["step"] == 0.0


def test_the_distance_of_slices_is_that_of_their_positions() -> None:
    oblique = {"ImageOrientationPatient": ("0.8", "0", "0.6", "0", "1", "0")}
    some = [header(9 - index, **oblique, ImagePositionPatient=(f"{-1.8 * index:g}", "0", f"{2.4 * index:g}"),
                   SliceThickness="3.5") for index in range(10)]  # fmt: skip

    assert slabs_of(some) == Slabs(spacing_mm=3.0, thickness_mm=3.5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"AngioFlag": None, "SeriesDescription": "3D_TOF_MULTI-SLAB"}, {"AngioFlag": None, "SequenceName": "*tof3d1"},
     {"AngioFlag": None, "ImageType": ("ORIGINAL", "PRIMARY", "TOF", "NONE")},
     {"MRAcquisitionType": "2D", "FlipAngle": "60", "RepetitionTime": "30"}, {"BodyPartExamined": None},
     {"AngioFlag": None, "ProtocolName": "MRA COW"}],
)  # fmt: skip
def test_time_of_flight_is_recognised(changes: Mapping[str, Any]) -> None:
    assert TOF(headers(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ScanningSequence": "SE"}, "ScanningSequence is SE"),
        ({"ScanningSequence": None}, "ScanningSequence is missing"),
        ({"AngioFlag": None}, "neither AngioFlag"),
        ({"AngioFlag": "N", "SeriesDescription": "T1 MPRAGE"}, "neither AngioFlag"),
        ({"ImageType": ("DERIVED", "SECONDARY", "MIP")}, "ImageType holds MIP"),
        ({"ImageType": ("DERIVED", "PRIMARY", "PROJECTION IMAGE")}, "ImageType holds PROJECTION_IMAGE"),
        ({"ImageType": ("ORIGINAL", "PRIMARY", "P")}, "ImageType holds P"),
        ({"SeriesDescription": "TOF MIP SAG"}, "a description holds MIP"),
        ({"SeriesDescription": "3D PC VENC 60"}, "a description holds"),
        ({"SeriesDescription": "MRV TOF 2D"}, "a description holds MRV"),
        ({"ContrastBolusAgent": "AGENT"}, "contrast agent was given"),
        ({"SeriesDescription": "CE MRA +C"}, "contrast agent was given"),
        ({"BodyPartExamined": "LEG"}, "BodyPartExamined is LEG"),
        ({"MagneticFieldStrength": "0.5"}, "MagneticFieldStrength is 0.5 T"),
        ({"RepetitionTime": "5"}, "RepetitionTime 5 to 5 ms"),
        ({"EchoTime": "20"}, "EchoTime 20 to 20 ms"),
        ({"MRAcquisitionType": None}, "MRAcquisitionType is missing"),
    ],
)
def test_what_is_no_time_of_flight_is_named(changes: Mapping[str, Any], said: str) -> None:
    found = TOF(headers(**changes))

    assert any(said in line for line in found), found


def volume(voxels: NDArray[np.float32]) -> Volume:
    affine = np.diag([0.6, 0.6, 4.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(voxels=voxels.astype(np.float32), affine=affine, unit="MR")


def values(**changes: Any) -> dict[str, Any]:
    return {"factor": 4, "consistency": "average", "step": 1.0, "intercept": 0.0, **changes}


@pytest.mark.parametrize(("step", "zero"), [(1.0, 0.0), (0.25, -10.0), (7.0, 3.0)])
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6])
def test_thin_slices_are_what_can_be_stored_and_their_mean_is_the_slab(factor: int, step: float, zero: float) -> None:
    rng = np.random.default_rng(factor)
    slab = np.rint(rng.uniform(0.0, 900.0, (8, 8)) / step).astype(np.float32) * np.float32(step) + np.float32(zero)
    near = np.stack([slab] * 5)
    answer = rng.normal(0.5, 0.4, (8, 8, 8)).astype(np.float32)
    asked = Parameters(
        values=values(factor=factor, step=step, intercept=zero), pixel_mm=0.6, facts={"arteries": 900.0}, near=near
    )

    thin = makes(answer, asked)

    stored = (thin.astype(np.float64) - zero) / step
    assert np.allclose(stored, np.rint(stored), atol=1e-3)
    assert np.abs(np.rint(stored).mean(axis=0) * step + zero - slab).max() == pytest.approx(0.0, abs=1e-4)
    assert (thin.min(axis=0) >= -1e-4)[slab >= 0.0].all()


def test_a_series_comes_back_with_what_was_measured() -> None:
    source = volume(np.rint(angiography((8, 70, 66))))
    padding = np.zeros(source.voxels.shape, bool)
    padding[:, :5] = True
    source = Volume(voxels=np.where(padding, 0.0, source.voxels).astype(np.float32), affine=source.affine, unit="MR",
                    padding=padding)  # fmt: skip
    with OrtEngine(load_spec(MRA_SUPERRES.engine), threads=1) as engine:
        mean = infer(MRA_SUPERRES, engine, source, parameters=values(), progress=lambda done, of: None)
        kept = infer(
            MRA_SUPERRES, engine, source, parameters=values(consistency="fourier"), progress=lambda done, of: None
        )
        report = check(MRA_SUPERRES, engine, source, mean, parameters=values())
        other = check(MRA_SUPERRES, engine, source, kept, parameters=values(consistency="fourier"))

    assert np.array_equal(averaged(mean.voxels, 4), source.voxels)
    assert not np.array_equal(averaged(kept.voxels, 4), source.voxels)
    # What falls below 0 cannot be stored, and padding comes back as it was.
    inner = (slice(None), slice(8, None))
    off = np.abs(fourier_seen(kept.voxels, 4) - fourier_seen(source.voxels, 1))[inner]
    assert float(np.quantile(off, 0.99)) <= 2.0
    assert (mean.voxels[:, :5] == 0.0).all()
    assert (kept.voxels[:, :5] == 0.0).all()
    named = {finding.name: finding for finding in (*report.findings, *other.findings)}
    assert {"measured_kept", "order", "probe_aneurysm", "gain", "protocol"} <= named.keys()
    assert [one.verdict.value for one in report.findings if one.name == "measured_kept"] == ["pass"]


def test_a_series_without_signal_is_unfit() -> None:
    with pytest.raises(Unfit, match="there is no head"):
        MRA_SUPERRES.facts(volume(np.zeros((3, 64, 64))))


def test_the_map_is_what_the_network_added() -> None:
    near = np.full((5, 4, 4), 100.0, np.float32)
    made = np.stack([np.full((4, 4), one, np.float32) for one in (40.0, 160.0)])
    chosen = Parameters(values=values(factor=2), pixel_mm=0.6, facts={"arteries": 500.0}, near=near)
    assert MRA_SUPERRES.map_of is not None

    shown = MRA_SUPERRES.map_of({}, made, chosen)

    assert np.array_equal(shown[:, 0, 0], [-60.0, 60.0])
    assert np.abs(shown.mean(axis=0)).max() == 0.0


def test_images_say_the_resolution_that_was_measured_and_no_other() -> None:
    note = MRA_SUPERRES.gives.note

    assert ("not measured" if FWHM_MM is None else f"FWHM on simulated 4 mm slices: {FWHM_MM:g} mm") in note
    if CARD.exists():
        lines = json.loads(CARD.read_text(encoding="utf-8"))["acceptance"]
        widths = [line["value"] for line in lines if line["name"].startswith("measured through-plane FWHM")]
        assert round(max(widths), 1) == FWHM_MM, "FWHM_MM is the largest of the card's, in tenths of a millimetre"


def test_limits_were_calibrated_with_the_network_that_ships() -> None:
    """If not: python -m tests.bench.guards_tof --calibrate, then a new version of the pipeline."""
    assert load_spec(MRA_SUPERRES.engine).sha256 == LIMITS.engine_sha256
