"""Guards: each sees what it is for, says so with its figure, and leaves a good series alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.kernel import Kernel, convert_linear
from engines.store import load_spec
from pipelines import kernels
from pipelines.ct_denoise import CT_DENOISE, ENVELOPE
from pipelines.ct_denoise_limits import LIMITS
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.guards_kernel import refiltered
from pipelines.steps.guards_noise import low_frequency_lock, own_slice
from pipelines.steps.guards_probe import probe_lesions
from pipelines.steps.guards_protocol import Header, hounsfield_scale, pixel_size_agrees, protocol_gate
from pipelines.volume import Volume

Voxels = NDArray[np.float32]
PIXEL_MM = 0.7
AFFINE = np.diag([PIXEL_MM, PIXEL_MM, 2.0, 1.0])[:, [2, 1, 0, 3]]
HEADER: Header = {
    "Modality": ("CT",), "KVP": ("120",), "SliceThickness": ("2",), "PixelSpacing": ("0.7", "0.7"), "Rows": ("256",),
    "Columns": ("256",), "ReconstructionDiameter": ("179.2",), "ConvolutionKernel": ("B30f",),
    "BodyPartExamined": ("CHEST",), "PatientAgeGroup": ("ADULT",),
}  # fmt: skip


def clean(slices: int = 3, size: int = 256) -> Voxels:
    """A body in air, with a spine that grows from slice to slice; (z, y, x) HU without noise."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    made = np.full((slices, size, size), -1000.0, dtype=np.float32)
    for index in range(slices):
        made[index][np.hypot(y / 0.8, x) < 0.42] = 40.0
        made[index][np.hypot(y - 0.22, x) < 0.06 + 0.01 * index] = 400.0
    return made


CLEAN = clean()
SOURCE = CLEAN + np.random.default_rng(1).normal(0.0, 15.0, CLEAN.shape).astype(np.float32)


def case(source: Voxels, result: Voxels, *headers: Header, **parameters: Any) -> Checked:
    return Checked(
        source=Volume(voxels=source, affine=AFFINE, unit="HU"),
        result=Volume(voxels=result, affine=AFFINE, unit="HU"),
        headers=headers or (HEADER,) * len(source),
        again=lambda image, index: image,
        parameters=parameters,
    )


def gate(**changes: tuple[str, ...] | None) -> Finding:
    header: Mapping[str, Any] = {k: v for k, v in {**HEADER, **changes}.items() if v is not None}
    (finding,) = protocol_gate(envelope=ENVELOPE)(case(SOURCE, SOURCE, header))
    return finding


def test_an_examination_inside_the_envelope_passes() -> None:
    assert gate().verdict is Verdict.PASS


@pytest.mark.parametrize(
    "changes",
    [
        {"Modality": ("MR",)},
        {"KVP": ("40",)},
        {"SliceThickness": ("10",)},
        {"PixelSpacing": ("2.5", "2.5")},
        {"BodyPartExamined": ("BREAST",)},
        {"PatientAgeGroup": ("CHILD",)},
        {"ConvolutionKernel": ("TRUEFIDELITY DLIR-H",)},
    ],
)
def test_what_lies_outside_is_a_reject_that_names_it(changes: dict[str, tuple[str, ...]]) -> None:
    assert gate(**changes).verdict is Verdict.REJECT
    assert gate(**changes).value == 1.0 or "PixelSpacing" in changes  # a wide pixel widens the field of view too


@pytest.mark.parametrize(
    "changes",
    [
        {"KVP": None},
        {"ConvolutionKernel": None},
        {"ConvolutionKernel": ("MYSTERY",)},
        {"ConvolutionKernel": ("Br38f", "3")},
        {"BodyPartExamined": None},
        {"PatientAgeGroup": None},
    ],
)
def test_what_is_unknown_or_iterative_is_a_caution(changes: dict[str, tuple[str, ...] | None]) -> None:
    assert gate(**changes).verdict is Verdict.CAUTION


def test_one_slice_outside_is_enough() -> None:
    (finding,) = protocol_gate(envelope=ENVELOPE)(case(SOURCE, SOURCE, HEADER, {**HEADER, "KVP": ("40",)}, HEADER))

    assert finding.verdict is Verdict.REJECT


def test_pixel_spacing_has_a_second_witness() -> None:
    guard = pixel_size_agrees(tolerance=0.03)
    wrong = {**HEADER, "PixelSpacing": ("1.05", "1.05")}
    alone = {k: v for k, v in HEADER.items() if k != "ReconstructionDiameter"}

    assert guard(case(SOURCE, SOURCE))[0].verdict is Verdict.PASS
    assert guard(case(SOURCE, SOURCE, wrong))[0].value == pytest.approx(0.5)
    assert guard(case(SOURCE, SOURCE, wrong))[0].verdict is Verdict.REJECT
    assert guard(case(SOURCE, SOURCE, alone))[0].verdict is Verdict.CAUTION


@pytest.mark.parametrize("shift", [24.0, -24.0, 1024.0, -1024.0])
def test_a_source_with_a_wrong_intercept_is_no_hounsfield_scale(shift: float) -> None:
    guard = hounsfield_scale(air_hu=14.0)
    moved = SOURCE + np.float32(shift)

    assert guard(case(SOURCE, SOURCE))[0].verdict is Verdict.PASS
    assert guard(case(moved, moved))[0].verdict is Verdict.REJECT


def test_a_regional_shift_of_5_hu_in_one_slice_is_found_there() -> None:
    moved = SOURCE.copy()
    moved[1, 100:150, 100:150] += 5.0

    (finding,) = low_frequency_lock(limit_hu=3.4)(case(SOURCE, moved))

    assert finding.verdict is Verdict.REJECT
    assert finding.value == pytest.approx(5.0, abs=0.2)
    assert "slice 2" in finding.text


def test_slices_that_changed_places_are_found_even_when_only_their_noise_differs() -> None:
    same = np.repeat(CLEAN[:1], 3, axis=0)
    noise = np.random.default_rng(2).normal(0.0, 15.0, same.shape).astype(np.float32)
    result = same + 0.4 * noise

    assert own_slice(limit=0.9)(case(same + noise, result))[0].verdict is Verdict.PASS
    assert own_slice(limit=0.9)(case(same + noise, result[[1, 0, 2]]))[0].verdict is Verdict.REJECT


def test_probe_lesions_come_through_what_keeps_them_and_not_through_what_does_not() -> None:
    guard = probe_lesions(least_small=0.7, least_large=0.85, again_hu=2.0)
    keeps = {finding.name: finding for finding in guard(case(SOURCE, SOURCE))}
    halves = Checked(**{**vars(case(SOURCE, SOURCE * 0.5)), "again": lambda image, index: image * np.float32(0.5)})
    loses = {finding.name: finding for finding in guard(halves)}

    assert keeps["probe_r3"].value == pytest.approx(1.0, abs=1e-3)
    assert loses["probe_r6"].value == pytest.approx(0.5, abs=1e-3)
    assert {loses[name].verdict for name in ("probe_r3", "probe_r6")} == {Verdict.REJECT}


def test_a_result_that_the_network_does_not_give_again_is_found() -> None:
    large = clean(slices=1, size=640)
    guard = probe_lesions(least_small=0.0, least_large=0.0, again_hu=2.0)

    same = {finding.name: finding for finding in guard(case(large, large))}["same_again"]
    other = {finding.name: finding for finding in guard(case(large, large + np.float32(3.0)))}["same_again"]

    assert (same.value, same.verdict) == (0.0, Verdict.PASS)
    assert (other.value, other.verdict) == (3.0, Verdict.REJECT)


def test_a_converted_kernel_filtered_back_is_its_source_and_another_one_is_not() -> None:
    soft, sharp = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)
    told = {"source_curve": kernels.to_plain(sharp), "target_curve": kernels.to_plain(soft)}
    guard = refiltered(caution_sd=0.5, limit_sd=2.0)
    converted = np.stack([convert_linear(image, sharp, soft, PIXEL_MM) for image in SOURCE])

    right = guard(case(SOURCE, converted, **told))[0]
    unconverted = guard(case(SOURCE, SOURCE, **told))[0]

    assert right.verdict is Verdict.PASS, right.text
    assert unconverted.verdict is not Verdict.PASS, unconverted.text


def test_shapes_that_differ_are_findings_not_exceptions() -> None:
    other = SOURCE[:, :200, :200].copy()

    report = [finding for guard in CT_DENOISE.checks for finding in guard(case(SOURCE, other))]

    assert {"low_frequency_lock", "own_slice", "structure_support"} <= {
        finding.name for finding in report if finding.verdict is Verdict.REJECT
    }


def test_limits_were_calibrated_with_the_network_that_ships() -> None:
    """If not: python -m tests.bench.guards --calibrate, then a new version of the pipeline."""
    assert load_spec(CT_DENOISE.engine).sha256 == LIMITS.engine_sha256
