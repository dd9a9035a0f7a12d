"""Guards of mr-postcontrast: each sees what it is for, says so with its figure, and leaves a good result alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.store import load_spec
from pipelines import mr_postcontrast
from pipelines.limits import ContrastLimits
from pipelines.mr_postcontrast import ENVELOPE, MR_POSTCONTRAST, ROLES, checks, facts
from pipelines.mr_postcontrast_limits import LIMITS
from pipelines.pipeline import Checked, Parameters, Unfit
from pipelines.report import Finding, Verdict
from pipelines.steps.guards_protocol import Header, protocol_gate
from pipelines.volume import Volume

Voxels = NDArray[np.float32]
PIXEL_MM, STEP_MM, SLICES, SIDE = 1.2, 6.0, 28, 176
AFFINE = np.diag([PIXEL_MM, PIXEL_MM, STEP_MM, 1.0])[:, [2, 1, 0, 3]]
WHITE = 500.0
HEADER: Header = {
    "Modality": ("MR",), "MagneticFieldStrength": ("3",), "SliceThickness": ("6",), "PixelSpacing": ("1.2", "1.2"),
    "Rows": ("176",), "Columns": ("176",), "BodyPartExamined": ("HEAD",), "PatientAgeGroup": ("ADULT",),
    "ScanningSequence": ("SE",), "MRAcquisitionType": ("2D",), "RepetitionTime": ("500",), "EchoTime": ("10",),
    "ImageType": ("ORIGINAL", "PRIMARY", "M"),
}  # fmt: skip
LIMITS_HERE = ContrastLimits(
    engine_sha256="", sinus=0.2, choroid=0.2, base=0.2, support_mm2=100.0, amplification=1.2, shift=0.9, flicker=0.9,
    spread=0.1, noise=0.08, csf_t1=0.6, csf_t2=1.5, csf_flair=1.0, grey_flair=0.9, bright=0.002, agree_t2=0.4,
    agree_flair=0.4,
)  # fmt: skip
TISSUES = {  # T1, T2, FLAIR, and what gadolinium adds to T1; white matter is 1
    "scalp": (1.2, 0.8, 0.7, 0.05), "skull": (0.1, 0.1, 0.1, 0.0), "grey": (0.7, 1.4, 1.25, 0.05),
    "white": (1.0, 1.0, 1.0, 0.02), "csf": (0.3, 3.0, 0.4, 0.0), "sinus": (0.5, 0.4, 0.4, 0.7),
    "choroid": (0.5, 1.8, 0.9, 0.6), "base": (0.6, 1.8, 1.3, 0.6), "lesion": (0.75, 1.6, 1.6, 0.4),
}  # fmt: skip


def head(*, skull: bool = True) -> tuple[Voxels, ...]:
    """T1, T2, FLAIR and what is added to T1, (z, y, x), white matter 1: ellipses in ellipses, and the controls."""
    y, x = ((np.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM for _ in range(2))
    y, x = y[:, None], x[None, :]
    made = np.zeros((4, SLICES, SIDE, SIDE), dtype=np.float32)

    def fill(index: int, tissue: str, where: NDArray[np.bool_]) -> None:
        made[:, index, where] = np.asarray(TISSUES[tissue], dtype=np.float32)[:, None]

    for index in range(SLICES):
        below = (SLICES - 1 - index) * STEP_MM
        size = np.sqrt(max(1.0 - (max(62.0 - below, 0.0) / 70.0) ** 2, 0.05))
        if skull:
            fill(index, "scalp", np.hypot(y / 96, x / 78) < size)
            fill(index, "skull", np.hypot(y / 90, x / 72) < size)
        fill(index, "grey", np.hypot(y / 83, x / 65) < size)
        fill(index, "white", np.hypot(y / (55 + 6 * np.cos(x / 6)), x / (42 + 5 * np.cos(y / 7))) < size)
        if 30 <= below <= 100:
            fill(index, "csf", np.hypot(y / 34, x / 18) < 1)
            fill(index, "choroid", np.hypot(y - 5, np.abs(x) - 9) < 4.5)
        if skull:
            fill(index, "sinus", np.hypot(y - 86.0 * size, x) < 5.5)
        if 90 <= below <= 130:
            fill(index, "base", np.hypot(y + 45, x) < 7)
        if 50 <= below <= 66:
            fill(index, "lesion", np.hypot(y + 42, x - 15) < 8)
    noise = np.random.default_rng(3).standard_normal((3, SLICES, SIDE, SIDE)).astype(np.float32)
    noise *= np.asarray([0.02, 0.05, 0.05], np.float32)[:, None, None, None]
    t1, t2, flair = (np.abs(one + own) * (one > 0) for one, own in zip(made[:3], noise, strict=True))
    t2 = (t2 + np.roll(t2, 1, axis=1)) / 2  # no scan lies exactly on another
    return t1, t2, flair, made[3]


T1, T2, FLAIR, ADDED = head()


def case(
    *,
    t1: Voxels = T1,
    t2: Voxels | None = T2,
    flair: Voxels | None = FLAIR,
    added: Voxels = ADDED,
    result: Voxels | None = None,
    affine: NDArray[np.float64] = AFFINE,
    spread: float = 0.05,
    gain: float = 1.0,
    **changes: Any,
) -> Checked:
    """A case in the units of a scanner; its network always adds the same, and answers noise `gain` times as large."""

    def volume(voxels: Voxels) -> Volume:
        return Volume(voxels=np.asarray(voxels, dtype=np.float32) * np.float32(WHITE), affine=affine, unit="MR")

    others = {role: volume(one) for role, one in (("t2", t2), ("flair", flair)) if one is not None}
    source = replace(volume(t1), others=others)
    made = volume(t1 + added if result is None else result)

    def again(image: Voxels, index: int) -> Voxels:
        own = source.voxels[index]
        return np.asarray(own + gain * (image - own) + WHITE * added[index], dtype=np.float32)

    plain: dict[str, Any] = {
        "source": source,
        "result": made,
        "headers": (HEADER,) * SLICES,
        "again": again,
        "unsure": lambda index: np.full(source.voxels.shape[1:], spread * WHITE, np.float32),
        "parameters": {},
        "facts": facts(source),
    }
    return Checked(**{**plain, **changes})


def found(one: Checked) -> dict[str, Finding]:
    return {finding.name: finding for check in checks(LIMITS_HERE) for finding in check(one)}


def alarms(one: Checked) -> dict[str, Verdict]:
    return {name: each.verdict for name, each in found(one).items() if each.verdict is not Verdict.PASS}


def disk(index: int = 23, radius_mm: float = 9.0) -> Voxels:
    """In flat white matter above the ventricles, (z, y, x), 0 or 1."""
    y, x = ((np.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM for _ in range(2))
    made = np.zeros(T1.shape, np.float32)
    made[index] = np.hypot(y[:, None], x[None, :]) < radius_mm
    return made


def test_a_good_result_passes_every_check() -> None:
    assert alarms(case()) == {}


def test_one_of_t2_and_flair_may_be_missing() -> None:
    assert alarms(case(flair=None)) == {}
    assert alarms(case(t2=None)) == {}


RESULT_FAULTS: dict[str, tuple[Callable[[], Checked], str]] = {
    "one voxel is darker": (lambda: case(result=T1 + ADDED - 0.021 * disk()), "never_darker"),
    "NaN": (lambda: case(result=np.where(disk() > 0, np.nan, T1 + ADDED)), "finite"),
    "swapped slices": (lambda: case(result=(T1 + ADDED)[[*range(12), 13, 12, *range(14, SLICES)]]), "never_darker"),
    "no sinus": (lambda: case(added=np.where(np.isclose(ADDED, 0.7), 0.0, ADDED)), "control_sinus"),
    "no choroid": (
        lambda: case(added=np.where(np.isclose(ADDED, 0.6) & (np.arange(SLICES) > 12)[:, None, None], 0.0, ADDED)),
        "control_choroid",
    ),
    "no base": (
        lambda: case(added=np.where(np.isclose(ADDED, 0.6) & (np.arange(SLICES) < 13)[:, None, None], 0.0, ADDED)),
        "control_base",
    ),
    "white matter enhances": (lambda: case(added=ADDED + 0.08 * T1), "white_matter_gain"),
    "pasted": (lambda: case(result=T1 + ADDED + 0.4 * disk()), "enhancement_support"),
    "flicker": (lambda: case(added=ADDED * (np.arange(SLICES) % 2)[:, None, None]), "flicker"),
    "noise comes out larger": (lambda: case(gain=3.0), "amplification"),
    "not what the network gives": (lambda: case(result=T1 + 1.5 * ADDED), "amplification"),
}


@pytest.mark.parametrize("name", RESULT_FAULTS)
def test_a_fault_of_the_result_is_a_reject_that_names_it(name: str) -> None:
    make, check = RESULT_FAULTS[name]
    assert alarms(make()).get(check) is Verdict.REJECT


SOURCE_FAULTS: dict[str, tuple[Callable[[], Checked], str]] = {
    "T2 and FLAIR swapped": (lambda: case(t2=FLAIR, flair=T2), "flair_csf"),
    "T1 twice": (lambda: case(flair=T1), "flair_agrees"),
    "T1 in the role of T2": (lambda: case(t2=T1), "t2_csf"),
    "contrast agent in T1": (lambda: case(t1=T1 + 1.5 * ADDED), "t1_bright"),
    "FLAIR moved by 10 mm": (lambda: case(flair=np.roll(FLAIR, 8, axis=2)), "flair_agrees"),
    "noise": (
        lambda: case(t1=T1 + 0.15 * np.random.default_rng(1).standard_normal(T1.shape) * (T1 > 0)),
        "t1_noise",
    ),
    "pixels 1.5 times as large": (lambda: case(affine=AFFINE * np.asarray([1.0, 1.5, 1.5, 1.0])), "head_size"),
    "sagittal": (lambda: case(affine=AFFINE[[2, 1, 0, 3]]), "axial"),
}


@pytest.mark.parametrize("name", SOURCE_FAULTS)
def test_a_fault_of_the_source_is_seen_by_the_check_it_is_for(name: str) -> None:
    make, check = SOURCE_FAULTS[name]
    assert alarms(make()).get(check) is Verdict.REJECT


def test_without_the_skull_the_sinus_is_not_seen_and_that_is_a_caution() -> None:
    t1, t2, flair, added = head(skull=False)
    seen = found(case(t1=t1, t2=t2, flair=flair, added=added))

    assert seen["control_sinus"].value is None
    assert seen["control_sinus"].verdict is seen["control_base"].verdict is Verdict.CAUTION
    assert seen["control_choroid"].verdict is Verdict.PASS


def test_a_network_that_is_unsure_marks_its_result_and_holds_nothing() -> None:
    assert alarms(case(spread=0.3)) == {"spread": Verdict.CAUTION}


def test_what_enhances_where_a_lesion_is_seen_is_supported() -> None:
    assert found(case(added=ADDED))["enhancement_support"].value == pytest.approx(0.0, abs=LIMITS_HERE.support_mm2 / 2)


def test_shapes_that_differ_are_findings_not_exceptions() -> None:
    whole = case()
    other = replace(whole.result, voxels=whole.result.voxels[:, :170, :170].copy())
    rejected = {name for name, verdict in alarms(replace(whole, result=other)).items() if verdict is Verdict.REJECT}

    assert {"geometry_equal", "never_darker", "enhancement_support", "flicker", "amplification"} <= rejected


def gate(**changes: tuple[str, ...] | None) -> Finding:
    header = {k: v for k, v in {**HEADER, **changes}.items() if v is not None}
    (finding,) = protocol_gate(envelope=ENVELOPE)(case(headers=(header,)))
    return finding


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PASS),
        ({"MagneticFieldStrength": ("0.5",)}, Verdict.REJECT),
        ({"MagneticFieldStrength": None}, Verdict.CAUTION),
        ({"PatientAgeGroup": ("CHILD",)}, Verdict.REJECT),
        ({"PatientAgeGroup": None}, Verdict.CAUTION),
        ({"BodyPartExamined": ("KNEE",)}, Verdict.REJECT),
        ({"BodyPartExamined": None}, Verdict.CAUTION),
        ({"ContrastBolusAgent": ("GADOBUTROL",)}, Verdict.REJECT),
        ({"RepetitionTime": ("4000",)}, Verdict.REJECT),
        ({"SliceThickness": ("9",)}, Verdict.REJECT),
        ({"PixelSpacing": ("3", "3")}, Verdict.REJECT),
        ({"Modality": ("CT",)}, Verdict.REJECT),
    ],
)
def test_the_gate_knows_the_examinations_of_the_network(
    changes: dict[str, tuple[str, ...] | None], verdict: Verdict
) -> None:
    assert gate(**changes).verdict is verdict


def test_feeds_are_in_units_of_white_matter_and_a_missing_series_is_zeros() -> None:
    whole = case(flair=None)
    near = whole.source.voxels[10:13]
    given = Parameters(values={}, pixel_mm=1.2, facts=whole.facts, near=near,
                       others={"t2": whole.source.others["t2"].voxels[10:13]})  # fmt: skip
    feeds = mr_postcontrast.feeds(near[1], given)

    assert feeds["present"].tolist() == [[1.0, 1.0, 0.0]]
    assert {feeds[role].shape for role in ROLES} == {(1, 3, SIDE, SIDE)}
    assert not feeds["flair"].any()
    white = np.abs(T1[10:13] - 1.0) < 0.05
    assert float(np.median(feeds["t1"][0][white])) == pytest.approx(1.0, abs=0.02)


def test_nothing_gets_darker_even_where_the_network_says_so() -> None:
    near = case().source.voxels[10:13]
    given = Parameters(values={}, pixel_mm=1.2, facts={"t1_white_matter": WHITE}, near=near)

    darker = mr_postcontrast.makes(near[1:2] / np.float32(WHITE) - np.float32(0.1), given)
    brighter = mr_postcontrast.makes(near[1:2] / np.float32(WHITE) + np.float32(0.1), given)

    np.testing.assert_array_equal(darker[0], near[1])
    np.testing.assert_allclose(brighter[0] - near[1], 50.0, atol=0.01)


def test_a_volume_without_white_matter_is_unfit() -> None:
    with pytest.raises(Unfit, match="No white matter is found in the series for t1"):
        facts(Volume(voxels=np.zeros((12, 64, 64), np.float32), affine=AFFINE, unit="MR"))


def test_limits_were_calibrated_with_the_network_that_ships() -> None:
    """If not: python -m tests.bench.guards_mr --calibrate, then a new version of the pipeline."""
    assert load_spec(MR_POSTCONTRAST.engine).sha256 == LIMITS.engine_sha256
