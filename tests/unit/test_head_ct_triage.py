"""Head-CT triage: which series it is for, what it says of them, and that nothing it cannot judge goes unsaid."""

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import EngineFailed, EngineSpec
from engines.head import NAMES, brain_mask, to_grid, z_map
from engines.head_features import inner, median5
from engines.head_pose import align
from engines.head_score import Score
from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.head_ct_triage import HEAD_CT_TRIAGE, assessed
from pipelines.head_ct_triage_figures import figures
from pipelines.head_ct_triage_guards import LIMITS
from pipelines.head_ct_triage_look import look
from pipelines.head_ct_triage_maps import region, where
from pipelines.report import Verdict
from pipelines.steps.guards_triage import TriageLimits, inputs, probe_at
from pipelines.triage import Flag
from pipelines.volume import Volume
from tests.painted_head import BONE_HU, Scanned, header, painted, scan, to_mm

BLOOD_MM = (10.0, 10.0, 30.0)  # z, y, x from the middle of the grid: the left hemisphere


class Plain:
    """An engine by rule: healthy is what is there, held between 0 and 42 HU; no weights, so that a test can know it."""

    spec: EngineSpec = load_spec("head_ct_triage")

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        here = feeds["slices"][:, 1:2]
        self.asked += len(here)
        assert feeds["slices"].dtype == feeds["mask"].dtype == np.float32
        assert feeds["place"].dtype == np.int64
        assert not here[feeds["mask"] == 0].any()
        made = np.clip(here, 0.0, 42.0)
        if self.broken:
            made = made * np.float32(np.nan)
        return {"healthy": made, "mean": made * 0.0, "sd": made * 0.0 + 2.0, "distance": np.ones(len(here), np.float32)}


SCORE = Score(
    engine_sha256="0" * 64,
    intercept=-2.0,
    coefficients={"volume_positive_ml": 2.0},
    knots=((-2.0, 0.0), (4.0, 1.0)),
    threshold=0.5,
    normals=(-2.0, -1.9, -1.0),
    csf_mean=0.16,
    csf_sd=0.06,
)
# The painted head has no grain of its own and one kind of bone: what is known of patients does not bind it.
LOOSE = TriageLimits(
    engine_sha256="0" * 64,
    known={name: bounds for name, bounds in LIMITS.known.items() if name not in ("noise_hu", "grey_white", "waves_hu")},
    least_rise=0.5,
    most_gain=1.5,
)


def bled(radius_mm: float = 14.0) -> NDArray[np.float32]:
    """The painted head with a ball of 65 HU."""
    head = painted().copy()
    matrix = to_mm()
    z, y, x = np.ogrid[tuple(slice(0, n) for n in head.shape)]
    off = sum(
        (matrix[axis, axis] * at + matrix[axis, 3] - place) ** 2
        for axis, (at, place) in enumerate(zip((z, y, x), BLOOD_MM, strict=True))
    )
    head[off < radius_mm**2] = 65.0
    return head


def volume_of(scanned: Scanned) -> Volume:
    return Volume(voxels=scanned.voxels, affine=scanned.affine, unit="HU")


SMALL: dict[str, Any] = {"pixel_mm": 1.2, "side": 190, "slices": 37}


@pytest.fixture(scope="module")
def normal() -> Volume:
    return volume_of(scan(**SMALL))


@pytest.fixture(scope="module")
def bleeding() -> Volume:
    return volume_of(scan(head=bled(), flips=(-1, 1, -1), **SMALL))  # feet first


def said(volume: Volume, *headers: Mapping[str, tuple[str, ...]], engine: Plain | None = None) -> Any:
    told = [headers[0] if headers else header()] * len(volume.voxels)
    return assessed(engine or Plain(), volume, told, lambda done, total: None, score=SCORE, guards=LOOSE)


def test_a_normal_head_raises_no_flag_and_says_its_figures(normal: Volume) -> None:
    assessment, maps = said(normal)

    assert assessment.flag is Flag.NOT_RAISED
    assert assessment.reasons == ()
    assert set(assessment.features) == set(NAMES)
    assert {"protocol", "quality", "probe_rise", "noise_gain"} <= {one.name for one in assessment.findings}
    assert maps is not None
    assert maps.z.shape == normal.voxels.shape


def test_a_bleeding_is_flagged_where_it_is(bleeding: Volume) -> None:
    steps: list[tuple[int, int]] = []

    assessment, maps = assessed(
        Plain(), bleeding, [header()] * 37, lambda done, total: steps.append((done, total)), score=SCORE, guards=LOOSE
    )

    assert assessment.flag is Flag.RAISED
    blood = np.argwhere((bleeding.voxels > 55.0) & (bleeding.voxels < 75.0) & maps.region)
    there = np.linalg.inv(bleeding.affine) @ np.array([BLOOD_MM[2], BLOOD_MM[1], BLOOD_MM[0], 1.0])
    assert np.linalg.norm((np.array(assessment.peak) - there[:3]) * (5.0, 1.2, 1.2)) < 25.0
    assert abs(assessment.slices[0] - there[0]) <= 3
    ml = len(blood) * 5.0 * 1.2 * 1.2 / 1000.0
    assert ml == pytest.approx(11.5, rel=0.35)
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_the_pseudo_healthy_image_is_the_source_outside_of_the_brain(bleeding: Volume) -> None:
    _, maps = said(bleeding)

    outside = bleeding.voxels > BONE_HU * 0.9
    assert np.array_equal(maps.healthy[outside], bleeding.voxels[outside])
    assert np.median(maps.healthy[maps.region]) < 50.0 < np.median(bleeding.voxels[maps.region])
    assert not maps.z[outside].any()


def test_the_same_series_gets_the_same_answer(normal: Volume) -> None:
    first, second = (said(normal)[0] for _ in range(2))

    assert first.to_json() == second.to_json()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"PatientAgeGroup": ("CHILD",)}, "younger than 18"),
        ({"ContrastBolusAgent": ("AGENT",)}, "Contrast agent"),
        ({"ContrastBolusAgentSequence": ("1",)}, "Contrast agent"),
        ({"LossyImageCompression": ("01",)}, "with loss"),
        ({"SliceThickness": ("12",)}, "SliceThickness"),
        ({"BodyPartExamined": ("JAW",)}, "BodyPartExamined"),
    ],
)
def test_what_the_header_rules_out_is_not_analysed_and_says_why(
    normal: Volume, more: dict[str, tuple[str, ...]], reason: str
) -> None:
    engine = Plain()

    assessment, maps = said(normal, header(**more), engine=engine)

    assert assessment.flag is Flag.NOT_ANALYSABLE
    assert reason in " ".join(assessment.reasons)
    assert maps is None
    assert engine.asked == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("air", "air"),
        ("twenty more", "intercept is wrong"),
        ("upside down", "fit the template"),
        ("nan", "no numbers"),
        ("metal", "metal"),
        ("flap", "open by"),
        ("vertex", "covers 80 %"),
    ],
)
def test_what_the_voxels_rule_out_is_not_analysed_and_says_why(normal: Volume, fault: str, reason: str) -> None:
    voxels = normal.voxels.copy()
    brain = (voxels > 15.0) & (voxels < 50.0)
    if fault == "air":
        columns = slice(60, 130)
        voxels[20:30, 40:70, columns][brain[20:30, 40:70, columns]] = -1000.0
    elif fault == "twenty more":
        voxels += 20.0
    elif fault == "upside down":
        voxels = np.ascontiguousarray(voxels[::-1])
    elif fault == "nan":
        voxels[18, 95, 95] = np.inf
    elif fault == "metal":
        voxels[20:23, 90:96, 90:96] = 3071.0
    elif fault == "flap":
        side = voxels[22:30, 60:110, :60]
        side[side > 300.0] = 30.0
    else:
        voxels = voxels[:24]
    series = replace(normal, voxels=voxels)

    assessment, maps = said(series)

    assert assessment.flag is Flag.NOT_ANALYSABLE
    assert reason in " ".join(assessment.reasons)
    assert any(one.verdict is Verdict.REJECT for one in assessment.findings)
    assert maps is None


def test_a_network_that_sees_no_probe_is_not_believed(normal: Volume) -> None:
    class Blind(Plain):
        def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {**super().infer(feeds), "healthy": feeds["slices"][:, 1:2].copy()}

    assessment, _ = said(normal, engine=Blind())

    assert assessment.flag is Flag.NOT_ANALYSABLE
    assert any("probe" in reason for reason in assessment.reasons)


def test_answers_that_are_no_numbers_are_an_error_of_the_engine(normal: Volume) -> None:
    with pytest.raises(EngineFailed, match="no numbers"):
        said(normal, engine=Plain(broken=True))


def test_a_probe_holds_five_millilitres() -> None:
    for voxel_ml in (0.005, 0.0042):
        share = probe_at((24.0, -22.0, 26.0), voxel_ml)

        assert float(share.sum(dtype=np.float64)) * voxel_ml == pytest.approx(5.0, rel=0.04)


def test_every_limit_has_a_figure_and_a_sentence(normal: Volume, pose_of_normal: Any) -> None:
    pose, mask, stack = pose_of_normal
    found = figures(normal, mask, pose, stack)

    assert set(LIMITS.known) <= set(found)
    for name, (low, high) in LIMITS.known.items():
        beyond = inputs({**found, name: high + 1.0}, LIMITS)
        assert next(one for one in beyond if one.name == name).verdict is Verdict.REJECT
        assert low < high
        nothing = inputs({**found, name: float("nan")}, LIMITS)
        assert next(one for one in nothing if one.name == name).verdict is Verdict.REJECT


@pytest.fixture(scope="module")
def pose_of_normal(normal: Volume) -> Any:
    mask = brain_mask(normal.voxels, (5.0, 1.2, 1.2))
    pose = align(normal.voxels, normal.affine, mask)
    return pose, mask, to_grid(normal.voxels, pose, mask)


def test_the_limits_are_those_of_the_network_that_ships() -> None:
    assert load_spec(HEAD_CT_TRIAGE.engine).sha256 == LIMITS.engine_sha256


def test_the_network_that_ships_answers_as_the_pipeline_asks(pose_of_normal: Any) -> None:
    _, _, stack = pose_of_normal
    few = replace(stack, mask=stack.mask & (np.arange(32) // 2 == 8)[:, None, None])

    with OrtEngine(load_spec(HEAD_CT_TRIAGE.engine), threads=2) as engine:
        seen = look(engine, few, SCORE, lambda done, total: None)

    assert np.abs(seen.answers.healthy[16:18][few.mask[16:18]] - few.hu[16:18][few.mask[16:18]]).mean() < 10.0
    assert seen.answers.distance[16] > 0.0


def test_a_map_counts_in_standard_deviations_within_the_brain(pose_of_normal: Any) -> None:
    _, _, stack = pose_of_normal
    healthy = np.where(stack.mask, stack.hu - 12.0, 0.0).astype(np.float32)
    two = np.full(stack.hu.shape, 2.0, np.float32)

    z = z_map(stack, healthy, two, two)

    assert np.allclose(z[inner(stack.mask)], 5.0)
    assert not z[~inner(stack.mask)].any()
    assert region(z, stack.voxel_ml).any()
    assert not region(z * 0.1, stack.voxel_ml).any()


def test_the_median_of_five_is_a_median() -> None:
    values = np.random.default_rng(1).normal(size=(2, 12, 13)).astype(np.float32)
    chosen = np.zeros(values.shape, dtype=bool)
    chosen[:, 3:8, 4:9] = True

    made = median5(values, chosen)

    assert made[1, 5, 6] == np.median(values[1, 3:8, 4:9])
    assert not made[~chosen].any()


def test_thin_slices_that_show_the_same_are_not_all_pointed_at(pose_of_normal: Any) -> None:
    pose, _, stack = pose_of_normal
    z = np.zeros(stack.hu.shape, np.float32)
    z[14:18, 100:120, 120:140] = 9.0
    seen = look(Plain(), stack, SCORE, lambda done, total: None)
    fine = replace(pose, matrix=np.diag([8.0, 1.0, 1.0, 1.0]) @ pose.matrix)  # slices of 0.6 mm

    found = where(replace(seen, z=z), fine, (37 * 8, 190, 190))

    assert 1 < len(found.slices) <= 8
    assert min(np.diff(sorted(found.slices))) >= 6
