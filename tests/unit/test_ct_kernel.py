"""Kernel conversion: what a rule may choose, what becomes a job, and what the network is given for a slice."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.kernel import Kernel, convert_linear, descriptor
from engines.ort import OrtEngine
from engines.store import load_spec
from node.records.jobs import job_id
from node.stages.route import route
from pipelines import CT_KERNEL, with_kernels
from pipelines.ct_kernel import KernelChoice, feeds
from pipelines.kernels import SHIPPED_KERNELS, Measured, to_plain
from pipelines.pipeline import Checked, Parameters
from pipelines.report import Verdict
from pipelines.run import infer, one_slice
from pipelines.volume import Volume
from tests.unit.test_route import TODAY, rule, series

SOFT, SHARP = Kernel(cutoff=0.83, noise_kept=0.7), Kernel(cutoff=1.5, boost=0.5)
CHOICE = KernelChoice(table=SHIPPED_KERNELS)
VALUES = {"source_curve": to_plain(SHARP), "target_curve": to_plain(SOFT)}
PIXEL_MM = 0.5
YA: dict[str, Any] = {"ConvolutionKernel": ("YA",), "Manufacturer": ("Philips",), "PixelSpacing": ("0.45", "0.45")}


def image(y: int = 72, x: int = 88) -> Any:
    rng = np.random.default_rng(3)
    body = np.hypot(*np.ogrid[-1 : 1 : y * 1j, -1 : 1 : x * 1j]) < 0.7
    return (np.where(body, 40.0, -1000.0) + rng.normal(0.0, 15.0, (y, x)) * body).astype(np.float32)


def volume(padding: bool = False) -> Volume:
    voxels = np.stack([image(), image() + 1, image() + 2])
    padded = np.zeros(voxels.shape, dtype=np.bool_)
    padded[:, :3] = padding
    affine = np.diag([1.0, PIXEL_MM, PIXEL_MM, 1.0])
    return Volume(voxels=voxels, affine=affine, unit="HU", padding=padded)


def converting(name: str, target: str | None, *destinations: str, **more: Any) -> Any:
    asked = {**({"target": target} if target else {}), **more}
    return rule(name, *destinations, pipeline="ct-kernel").model_copy(update={"parameters": asked})


def test_the_network_is_given_the_slice_the_linear_filter_and_both_curves() -> None:
    source = image()

    given = feeds(source, Parameters(values=VALUES, pixel_mm=PIXEL_MM))

    assert np.array_equal(given["hu"], source[None, None])
    assert np.array_equal(given["linear"], convert_linear(source, SHARP, SOFT, PIXEL_MM)[None, None])
    assert np.array_equal(given["kernels"], descriptor(SHARP, SOFT, PIXEL_MM)[None])
    assert {array.dtype for array in given.values()} == {np.dtype(np.float32)}


def test_its_feeds_are_the_inputs_of_the_engine() -> None:
    spec = load_spec(CT_KERNEL.engine)
    given = feeds(image(), Parameters(values=VALUES, pixel_mm=PIXEL_MM))

    assert {tensor.name for tensor in spec.inputs} == set(given)
    assert [tensor.name for tensor in spec.outputs] == [CT_KERNEL.output]


def test_padding_air_and_what_lies_outside_come_back_as_they_were() -> None:
    source = volume(padding=True)
    source.voxels[0, 20, 20], source.voxels[1, 30, 30] = 9000.0, -2000.0

    with OrtEngine(load_spec("ct_kernel"), threads=1) as engine:
        made = infer(CT_KERNEL, engine, source, parameters=VALUES, progress=lambda *_: None)
        again = one_slice(CT_KERNEL, engine, source.voxels[2], Parameters(values=VALUES, pixel_mm=PIXEL_MM))

    assert (made.voxels[0, 20, 20], made.voxels[1, 30, 30]) == (9000.0, -2000.0)
    assert np.array_equal(made.voxels[:, :3], source.voxels[:, :3])
    assert np.array_equal(made.voxels[2, 3:], again[3:])
    assert made.voxels[2].min() >= -1024.0
    body = (slice(30, 42), slice(34, 54))
    assert np.std(made.voxels[2][body]) < 0.7 * np.std(source.voxels[2][body]), "sharp to soft leaves less noise"


def test_a_mean_that_the_linear_filter_does_not_have_is_a_finding() -> None:
    source = volume()
    big = replace(source, voxels=np.tile(source.voxels, (1, 4, 4)), padding=None)
    linear = [convert_linear(one, SHARP, SOFT, PIXEL_MM) for one in big.voxels]
    (check,) = (one for one in CT_KERNEL.checks if type(one).__name__ == "against_linear")

    for shift, verdict in ((0.0, Verdict.PASS), (8.0, Verdict.REJECT)):
        result = replace(big, voxels=np.stack(linear) + np.float32(shift))
        case = Checked(source=big, result=result, headers=(), again=lambda one, index: one, parameters=VALUES)
        assert Verdict.worst([one.verdict for one in check(case)]) is verdict


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"target": "soft"}, ""),
        ({"target": "UB", "window_center": 40.0, "window_width": 80.0}, ""),
        ({}, "it needs a target: soft, sharp, or the name of a kernel in the table"),
        ({"target": 3.0}, "it needs a target"),
        (
            {"target": "softer"},
            "the target 'softer' has no curve; known are soft, sharp, and of scanners B30f, B30s, UB",
        ),
        ({"target": "soft", "strength": 1.0}, "'strength' is no parameter of it; known are target, window_center"),
        ({"target": "soft", "window_width": 80.0}, "window_center and window_width go together"),
        ({"target": "soft", "window_center": 40.0, "window_width": 0.0}, "a width is at least 1 HU"),
        ({"target": "soft", "window_center": "forty", "window_width": 80.0}, "are numbers"),
    ],
)
def test_parameters_of_a_rule_are_checked_before_any_series_comes(asked: Any, words: str) -> None:
    faults = CHOICE.faults(asked)

    assert bool(faults) is bool(words)
    assert words in "; ".join(faults)


def test_pipelines_without_parameters_refuse_them() -> None:
    pipelines = with_kernels([])

    assert pipelines["ct-denoise"].parameters.faults({}) == []
    assert pipelines["ct-denoise"].parameters.faults({"target": "soft"}) == [
        "'target' is no parameter of it; it takes none"
    ]


def test_a_job_gets_the_curves_themselves() -> None:
    settled = CHOICE.settle({"target": "UB"}, series(**YA))

    assert settled.reasons == ()
    assert settled.values == {
        "source": "YA",
        "source_curve": [1.9, 0.95, 0.515, 0.31, 1.0],
        "target": "UB",
        "target_curve": [0.83, 0.0, 0.6, 0.25, 0.68],
        "kernel": "AI YA>UB",
        "window": [40.0, 80.0],
    }


def test_a_rule_may_ask_for_another_window() -> None:
    settled = CHOICE.settle({"target": "soft", "window_center": 35.0, "window_width": 90.0}, series(**YA))

    assert settled.values["window"] == [35.0, 90.0]


@pytest.mark.parametrize(
    ("changes", "target", "reason"),
    [
        ({"ConvolutionKernel": ("D",)}, "soft", "kernel 'D' of 'Philips' has no measured curve; measure it and add"),
        ({"ConvolutionKernel": ("UB",)}, "UB", "kernel 'UB' and the target 'UB' are both soft"),
        ({"ConvolutionKernel": ("UB",)}, "soft", "kernel 'UB' and the target 'soft' are both soft"),
        ({}, "sharp", "kernel 'YA' and the target 'sharp' are both sharp"),
        ({}, "B30f", "the target 'B30f' is no known kernel of 'Philips'"),
        ({"PixelSpacing": ("0.45", "0.5")}, "soft", "pixels of 0.45 by 0.5 mm; the conversion needs square ones"),
        ({"ConvolutionKernel": ()}, "soft", "ConvolutionKernel is absent or empty in 40 of 40 slices"),
        ({"Modality": ("MR",)}, "soft", "the network takes Modality CT, not MR"),
    ],
)
def test_a_series_that_cannot_be_converted_says_why(changes: Any, target: str, reason: str) -> None:
    found = route(series(**(YA | changes)), [converting("a", target)], with_kernels([]), patients=1, today=TODAY)

    assert found.matches == ()
    assert any(line.startswith(reason) for line in found.reasons["a"]), found.reasons


def test_two_targets_for_one_series_are_two_jobs_and_the_same_target_twice_is_one() -> None:
    rules = [converting("a", "soft", "pacs"), converting("b", "UB", "pacs"), converting("c", "soft", "desk")]

    found = route(series(**YA), rules, with_kernels([]), patients=1, today=TODAY)

    assert [(match.rule, match.destinations) for match in found.matches] == [("a", ("pacs", "desk")), ("b", ("pacs",))]
    work = {"set_id": "s", "pipeline": "ct-kernel", "version": "1.0.0", "engine_sha256": "e"}
    ids = {job_id(**work, parameters=match.parameters) for match in found.matches}
    assert len(ids) == 2
    assert job_id(**work, parameters={}) not in ids


def test_a_kernel_that_the_site_measured_counts_before_ours() -> None:
    ours = Measured(
        manufacturer="Philips*",
        names=("YA",),
        curve=Kernel(cutoff=1.4, boost=0.3),
        window=(400.0, 2000.0),
        measured_on="water phantom, CT1",
    )
    found = route(series(**YA), [converting("a", "soft")], with_kernels([ours]), patients=1, today=TODAY).matches

    assert found[0].parameters["source_curve"][0] == 1.4
