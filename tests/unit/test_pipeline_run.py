"""Running a pipeline: every voxel in its place, the source untouched, what lies outside left alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import EngineFailed, EngineSpec
from engines.ort import OrtEngine
from engines.store import load_spec
from node.dicom import codes
from pipelines import SHIPPED
from pipelines.ct_denoise import CT_DENOISE
from pipelines.ct_kernel import CT_KERNEL
from pipelines.head_ct_triage import HEAD_CT_TRIAGE
from pipelines.judging import check
from pipelines.mr_postcontrast import MR_POSTCONTRAST
from pipelines.mra_superres import MRA_SUPERRES
from pipelines.pipeline import Parameters, Pipeline, Unfit
from pipelines.report import Finding, Report, Verdict
from pipelines.run import asked, infer, remade
from pipelines.steps.tiles import pad_to_multiple
from pipelines.volume import Volume, finer

AFFINE = np.diag([2.0, 0.7, 0.7, 1.0])


class Arithmetic:
    """An engine whose answer is known: the place of a voxel cannot be hidden behind weights."""

    def __init__(self, answer: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.spec: EngineSpec = load_spec("ct_denoise")
        self.answer = answer
        self.seen: list[NDArray[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.seen.append(feeds["hu"])
        return {"denoised": self.answer(feeds["hu"])}


def volume(*shape: int, padding: NDArray[np.bool_] | None = None) -> Volume:
    voxels = np.random.default_rng(1).normal(30.0, 20.0, shape).astype(np.float32)
    return Volume(voxels=voxels, affine=AFFINE, unit="HU", padding=padding)


def nothing(done: int, total: int) -> None:
    """Progress that nobody watches."""


def test_padding_and_cropping_give_every_voxel_back_in_its_place() -> None:
    source = volume(3, 71, 90)
    engine = Arithmetic(lambda image: image + np.float32(1.0))

    result = infer(CT_DENOISE, engine, source, progress=nothing)

    assert np.array_equal(result.voxels, source.voxels + np.float32(1.0))
    assert [feed.shape for feed in engine.seen] == [(1, 1, 72, 96)] * 3


def test_the_border_is_a_mirror_not_an_edge() -> None:
    image = volume(1, 70, 90).voxels[0]

    padded, crop = pad_to_multiple(image, 8)

    assert padded.shape == (72, 96)
    assert np.array_equal(padded[crop], image)
    assert np.array_equal(padded[70], padded[68])
    assert np.array_equal(padded[:70, 90:], image[:, 88:82:-1])


def test_a_size_that_fits_is_not_copied() -> None:
    image = volume(1, 64, 128).voxels[0]

    assert pad_to_multiple(image, 8)[0] is image


def test_the_real_engine_sees_the_mirror_and_the_result_is_its_crop() -> None:
    source = volume(1, 67, 75)
    with OrtEngine(load_spec("ct_denoise"), threads=1) as engine:
        result = infer(CT_DENOISE, engine, source, progress=nothing)
        wide = np.pad(source.voxels, ((0, 0), (0, 5), (0, 5)), mode="reflect")[:, None]
        expected = engine.infer({"hu": wide})["denoised"][:, 0, :67, :75]

    assert np.array_equal(result.voxels, expected)


def test_padding_and_values_outside_the_range_come_back_as_they_were() -> None:
    padding = np.zeros((1, 64, 64), dtype=np.bool_)
    padding[0, :4] = True
    source = volume(1, 64, 64, padding=padding)
    source.voxels[0, :4] = -1024.0
    source.voxels[0, 20, 20] = 8000.0  # metal in an extended HU series
    source.voxels[0, 30, 30] = -2000.0
    engine = Arithmetic(lambda image: np.full_like(image, 50.0))

    result = infer(CT_DENOISE, engine, source, progress=nothing)

    assert engine.seen[0].max() == 3071.0
    assert engine.seen[0].min() == -1024.0
    assert result.voxels[0, 20, 20] == 8000.0
    assert result.voxels[0, 30, 30] == -2000.0
    assert np.all(result.voxels[0, :4] == -1024.0)
    assert result.voxels[0, 40, 40] == 50.0
    assert result.padding is padding


def test_the_source_is_left_alone_and_place_and_unit_are_kept() -> None:
    source = volume(2, 64, 64)
    before = source.voxels.copy()

    result = infer(CT_DENOISE, Arithmetic(lambda image: image * 0), source, progress=nothing)

    assert np.array_equal(source.voxels, before)
    assert result.affine is source.affine
    assert result.unit == "HU"


def test_progress_counts_every_slice() -> None:
    seen: list[tuple[int, int]] = []
    infer(CT_DENOISE, Arithmetic(lambda image: image), volume(3, 64, 64), progress=lambda n, of: seen.append((n, of)))

    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_answer_of_another_shape_is_an_engine_failure() -> None:
    with pytest.raises(EngineFailed, match="gave float32"):
        infer(CT_DENOISE, Arithmetic(lambda image: image[..., :-8]), volume(1, 64, 64), progress=nothing)


def test_every_check_of_the_pipeline_reports_even_when_the_first_fails() -> None:
    source = volume(2, 128, 128)
    broken = Volume(voxels=np.full_like(source.voxels, np.nan), affine=AFFINE, unit="HU")

    report = check(CT_DENOISE, Arithmetic(lambda image: image), source, broken)

    names = {finding.name for finding in report.findings}
    assert report.held
    assert {"finite", "geometry_equal", "within_range", "mean_shift_soft", "residual_is_noise"} <= names


def test_a_report_survives_json_and_held_is_computed_never_believed() -> None:
    bad = Finding(
        name="finite", value=3.0, limit=0.0, verdict=Verdict.REJECT, version="1.0.0", text="3 of 10 are not finite."
    )
    report = Report(pipeline="ct-denoise", version="1.0.0", findings=(bad,))

    data = json.loads(json.dumps(report.to_json())) | {"held": False, "verdict": "pass"}

    assert Report.from_json(data) == report
    assert Report.from_json(data).held
    assert report.failed == (bad,)


def test_a_report_without_findings_is_held() -> None:
    assert Report(pipeline="ct-denoise", version="1.0.0", findings=()).held


def test_a_report_is_as_bad_as_its_worst_finding() -> None:
    def report(*verdicts: Verdict) -> Report:
        findings = [Finding(name=str(v), value=0.0, limit=0.0, verdict=v, version="1.0.0", text="") for v in verdicts]
        return Report(pipeline="ct-denoise", version="1.0.0", findings=tuple(findings))

    marked = report(Verdict.PASS, Verdict.CAUTION, Verdict.PASS)
    held = report(Verdict.REJECT, Verdict.CAUTION)

    assert report(Verdict.PASS).verdict is Verdict.PASS
    assert (marked.held, marked.caution, len(marked.cautions)) == (False, True, 1)
    assert (held.held, held.caution, len(held.failed)) == (True, False, 1)


def test_reports_in_records_of_earlier_versions_load() -> None:
    finding = {"name": "finite", "value": 0.0, "limit": 0.0, "text": "0 of 10 voxels are not finite."}
    old = {"held": False, "pipeline": "ct-denoise", "version": "1.0.0"}

    passed = Report.from_json({**old, "findings": [finding | {"passed": True}]})
    failed = Report.from_json({**old, "findings": [finding | {"passed": True}, finding | {"passed": False}]})

    assert passed.verdict is Verdict.PASS
    assert failed.held


def test_the_shipped_pipelines_go_by_their_own_names() -> None:
    assert dict(SHIPPED) == {
        "ct-denoise": CT_DENOISE,
        "ct-kernel": CT_KERNEL,
        "mr-postcontrast": MR_POSTCONTRAST,
        "mra-superres": MRA_SUPERRES,
        "head-ct-triage": HEAD_CT_TRIAGE,
    }
    assert all(one.gives.kind in codes.OUTPUTS for one in SHIPPED.values())
    assert load_spec(CT_DENOISE.engine).inputs[0].name == CT_DENOISE.feed
    assert load_spec(CT_DENOISE.engine).outputs[0].name == CT_DENOISE.output


@pytest.mark.parametrize(
    "wrong",
    [
        {"voxels": np.zeros((4, 4), np.float32)},
        {"voxels": np.zeros((1, 4, 4), np.float64)},
        {"voxels": np.zeros((0, 4, 4), np.float32)},
        {"affine": np.eye(3)},
        {"padding": np.zeros((1, 4, 5), np.bool_)},
        {"padding": np.zeros((1, 4, 4), np.uint8)},
    ],
)
def test_a_volume_refuses_shapes_that_do_not_fit(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"voxels": np.zeros((1, 4, 4), np.float32), "affine": np.eye(4), "unit": "HU"}
    with pytest.raises(ValueError, match="must be"):
        Volume(**(fields | wrong))


def several(**more: Any) -> Pipeline:
    """A pipeline that sees one neighbour on each side and makes two slices of each: the one before, the one after."""

    def feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
        return {"hu": np.concatenate([parameters.near, *parameters.others.values()])[None]}

    return replace(
        CT_DENOISE,
        **{
            "feeds": feeds,
            "context": 1,
            "factor": lambda values: 2,
            "makes": lambda answer, parameters: answer[[0, 2]],
            "facts": lambda one: {"highest": float(one.voxels.max())},
            **more,
        },
    )


def test_a_pipeline_sees_the_neighbours_and_at_the_ends_the_last_slice_again() -> None:
    source = volume(3, 70, 90)

    result = infer(several(), Arithmetic(lambda image: image), source, progress=nothing)

    first, middle, last = source.voxels
    assert np.array_equal(result.voxels, np.stack([first, middle, first, last, middle, last]))


def test_the_slices_of_other_roles_come_with_theirs() -> None:
    source, other = volume(3, 64, 64), volume(3, 64, 64)
    both = replace(source, others={"other": replace(other, voxels=other.voxels + np.float32(100.0))})
    engine = Arithmetic(lambda image: image)

    infer(several(), engine, both, progress=nothing)

    assert [feed.shape for feed in engine.seen] == [(1, 6, 64, 64)] * 3
    assert np.array_equal(engine.seen[0][0, 3:], both.others["other"].voxels[[0, 0, 1]])


def test_finer_slices_fill_the_place_of_the_one_that_they_stand_for() -> None:
    source = volume(3, 64, 64)

    made = infer(several(), Arithmetic(lambda image: image), source, progress=nothing).affine

    thick, thin = AFFINE[0, 0], made[0, 0]
    assert thin == thick / 2
    assert made[0, 3] - thin / 2 == AFFINE[0, 3] - thick / 2, "both begin at the same place"
    assert np.array_equal(finer(AFFINE, 1), AFFINE)


def test_padding_stands_in_every_slice_that_is_made_of_one() -> None:
    padding = np.zeros((3, 64, 64), bool)
    padding[1, :5] = True
    source = volume(3, 64, 64, padding=padding)

    made = infer(several(), Arithmetic(lambda image: image + np.float32(1.0)), source, progress=nothing).voxels

    assert np.array_equal(made[2, :5], source.voxels[1, :5])
    assert np.array_equal(made[3, :5], source.voxels[1, :5])


def test_what_is_left_to_do_is_done_once_all_slices_are_there() -> None:
    source = volume(3, 64, 64)

    def mean_kept(result: NDArray[np.float32], of: Volume, parameters: Parameters) -> None:
        result[:] = result - result.mean() + parameters.facts["highest"]

    made = infer(several(finishes=mean_kept), Arithmetic(lambda image: image), source, progress=nothing).voxels

    assert np.isclose(made.mean(), source.voxels.max(), atol=1e-3)


def test_a_map_is_made_where_it_is_wanted() -> None:
    source = volume(3, 64, 64)
    pipeline = several(map_of=lambda answers, made, parameters: made - answers["denoised"][[1, 1]])
    wanted = np.zeros((6, 64, 64), np.float32)

    made = infer(pipeline, Arithmetic(lambda image: image), source, progress=nothing, map_into=wanted).voxels

    assert np.allclose(wanted, made - np.repeat(source.voxels, 2, axis=0))


def test_a_map_is_zero_where_the_source_came_back_and_follows_what_is_done_at_the_end() -> None:
    padding = np.zeros((3, 64, 64), bool)
    padding[1, :5] = True
    source = volume(3, 64, 64, padding=padding)
    wanted = np.full((6, 64, 64), np.nan, np.float32)

    def lifted(result: NDArray[np.float32], of: Volume, parameters: Parameters) -> None:
        result += 3.0

    def added(shown: NDArray[np.float32], result: NDArray[np.float32], of: Volume, parameters: Parameters) -> None:
        shown += result - np.repeat(of.voxels, 2, axis=0)

    constant = several(map_of=lambda answers, made, parameters: np.ones_like(made))
    infer(constant, Arithmetic(lambda image: image), source, progress=nothing, map_into=wanted)

    assert not wanted[2:4, :5].any()
    assert (wanted[2:4, 5:] == 1.0).all()

    twice = several(
        map_of=lambda answers, made, parameters: np.zeros_like(made),
        makes=lambda answer, parameters: answer[[0, 0]],
        finishes=lifted,
        map_finishes=added,
    )
    infer(twice, Arithmetic(lambda image: image), source, progress=nothing, map_into=wanted)

    assert np.allclose(wanted[:2], 3.0, atol=1e-3)


def test_a_slice_that_is_known_keeps_the_map_that_it_has() -> None:
    source, asked_of = volume(3, 64, 64), []
    wanted = np.full((6, 64, 64), 5.0, np.float32)
    before = np.ones((2, 64, 64), np.float32)

    def counted(image: NDArray[np.float32]) -> NDArray[np.float32]:
        asked_of.append(1)
        return image

    infer(
        several(map_of=lambda answers, made, parameters: np.zeros_like(made)),
        Arithmetic(counted),
        source,
        progress=nothing,
        map_into=wanted,
        known=lambda index: before if index == 1 else None,
    )

    assert len(asked_of) == 2
    assert (wanted[2:4] == 5.0).all()
    assert not wanted[[0, 1, 4, 5]].any()


def test_a_check_runs_the_pipeline_again_with_one_slice_changed_and_its_surroundings_as_they_are() -> None:
    source = volume(3, 64, 64)
    pipeline = several(makes=lambda answer, parameters: answer[[0, 1]])
    changed = source.voxels[1] + np.float32(7.0)

    again = remade(pipeline, Arithmetic(lambda image: image), source, asked(pipeline, source, {}), 1, changed)

    assert np.array_equal(again, np.stack([source.voxels[0], changed]))


def test_a_volume_that_a_pipeline_cannot_work_on_says_why() -> None:
    def dark(one: Volume) -> Mapping[str, float]:
        raise Unfit("There is no white matter.", fix="Send a head.")

    with pytest.raises(Unfit, match="white matter"):
        infer(several(facts=dark), Arithmetic(lambda image: image), volume(3, 64, 64), progress=nothing)


def test_a_network_that_makes_too_few_slices_is_said() -> None:
    pipeline = several(makes=lambda answer, parameters: answer[:1])

    with pytest.raises(EngineFailed, match="not 2 slices"):
        infer(pipeline, Arithmetic(lambda image: image), volume(3, 64, 64), progress=nothing)
