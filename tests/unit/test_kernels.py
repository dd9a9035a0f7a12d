"""Kernels of scanners: only what was measured is known, and a header that leaves a doubt leads to no curve."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.kernel import Kernel
from node.errors import BadSetting
from node.settings import parse
from pipelines import kernels
from pipelines.kernels import IDEALS, SHIPPED_KERNELS, Measured, Named
from tests.series import read_nifti
from tests.unit.test_settings import GOOD

PIXEL_MM = 0.451171875
# NETWORKS C1: gain of UB over YA, measured on the head phantom, and where (cycles per mm).
RATIO = {0.10: 0.90, 0.21: 0.71, 0.31: 0.49, 0.42: 0.31, 0.52: 0.18, 0.63: 0.11}
SITE: dict[str, Any] = {
    "manufacturer": "SCANNER WORKS",
    "names": ["S4*"],
    "cutoff_per_mm": 0.9,
    "measured_on": "water phantom of 20 cm, CT1, noise power, 2026-01-05",
}


def entry(name: str, manufacturer: str = "Philips") -> Measured:
    found = kernels.find(SHIPPED_KERNELS, Named(manufacturer=manufacturer, name=name))
    assert found is not None
    return found


def headers(*named: tuple[str, ...], manufacturer: str = "SIEMENS") -> list[dict[str, tuple[str, ...]]]:
    return [{"ConvolutionKernel": name, "Manufacturer": (manufacturer,)} for name in named]


def test_the_curves_of_the_phantom_give_the_published_ratio_within_a_fifth() -> None:
    frequency = np.array(list(RATIO))

    ratio = entry("UB").curve(frequency) / entry("YA").curve(frequency)

    assert np.all(np.abs(ratio / np.array(list(RATIO.values())) - 1.0) < 0.2), ratio


def test_the_curves_of_the_phantom_are_those_of_the_real_pair(shared_data: Path) -> None:
    soft, sharp = (
        read_nifti(shared_data / "ct" / f"headphantom_philips_kernel{name}_1mm.nii.gz").voxels.astype(np.float64)
        for name in ("UB", "YA")
    )
    side = 128
    window = np.hanning(side)[:, None] * np.hanning(side)[None, :]
    radius = np.hypot(np.fft.fftfreq(side, PIXEL_MM)[:, None], np.fft.fftfreq(side, PIXEL_MM)[None, :])
    cross, power = np.zeros((side, side)), np.zeros((side, side))
    for z in range(0, soft.shape[0], 4):
        for y in range(0, soft.shape[1] - side + 1, 64):
            for x in range(0, soft.shape[2] - side + 1, 64):
                place = (z, slice(y, y + side), slice(x, x + side))
                a, b = (np.fft.fft2((v[place] - v[place].mean()) * window) for v in (soft, sharp))
                cross += (a * b.conj()).real
                power += np.abs(b) ** 2
    measured = []
    for at in RATIO:
        ring = np.abs(radius - at) < 0.02
        measured.append(cross[ring].sum() / power[ring].sum())
    frequency = np.array(list(RATIO))

    fitted = entry("UB").curve(frequency) / entry("YA").curve(frequency)

    # Above 0.55 cycles per mm there is little left in UB to be right about.
    assert np.all(np.abs(fitted / measured - 1.0)[:5] < 0.2), (fitted, measured)


def test_every_curve_that_ships_lies_in_what_the_network_was_trained_on() -> None:
    for curve in [one.curve for one in (*SHIPPED_KERNELS, *IDEALS.values())]:
        assert kernels.outside_training(curve) == []


def test_every_entry_says_what_it_was_measured_on() -> None:
    assert all(len(one.measured_on) > 40 for one in SHIPPED_KERNELS)


@pytest.mark.parametrize(
    ("manufacturer", "name", "known"),
    [
        ("Philips", "UB", True),
        ("PHILIPS Medical", "ub", True),
        ("SIEMENS", "B30f", True),
        ("Siemens Healthineers", "B30s", True),
        ("SIEMENS", "UB", False),
        ("SIEMENS", "B31f", False),
        ("Philips", "B30f", False),
        ("Philips", "D", False),
        ("GE MEDICAL SYSTEMS", "STANDARD", False),
    ],
)  # fmt: skip
def test_a_kernel_is_known_by_manufacturer_and_name(manufacturer: str, name: str, known: bool) -> None:
    assert (kernels.find(SHIPPED_KERNELS, Named(manufacturer=manufacturer, name=name)) is not None) is known


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (headers(("B30f",), ("B70f",)), "the slices name 2 convolution kernels ('B30f', 'B70f') of 1 manufacturer(s)"),
        (
            [*headers(("B30f",)), {"Manufacturer": ("SIEMENS",)}],
            "ConvolutionKernel is absent or empty in 1 of 2 slices",
        ),
        ([{"ConvolutionKernel": ("B30f",)}], "Manufacturer is absent or empty in 1 of 1 slices"),
        (headers(("",)), "ConvolutionKernel is absent or empty in 1 of 1 slices"),
        (headers(("AiCE Body",)), "ConvolutionKernel 'AiCE Body' was made by a network"),
        (headers(("AI YA>soft",)), "ConvolutionKernel 'AI YA>soft' was made by a network"),
        (headers(("a" * 17,)), "is no name of at most 16 ASCII characters"),
        (headers(("Weich ü",)), "is no name of at most 16 ASCII characters"),
    ],
)
def test_a_series_without_one_clear_kernel_is_not_taken(given: Any, reason: str) -> None:
    named, (line,) = kernels.of_series(given)

    assert named is None
    assert reason in line
    assert line.isascii()


def test_two_values_of_a_kernel_are_one_name_and_tell_of_iterative_reconstruction() -> None:
    named, lines = kernels.of_series(headers(("Br38f", "3"), ("Br38f", "3")))

    assert (named, lines) == (Named(manufacturer="SIEMENS", name="Br38f\\3"), [])
    assert named is not None
    assert named.iterative
    assert named.label == "Br38f-3"


@pytest.mark.parametrize(
    ("manufacturer", "name", "iterative"),
    [("SIEMENS", "I30f", True), ("SIEMENS", "J30s\\2", True), ("SIEMENS", "B30f", False), ("Philips", "I30f", False)],
)  # fmt: skip
def test_names_of_iterative_reconstruction(manufacturer: str, name: str, iterative: bool) -> None:
    assert Named(manufacturer=manufacturer, name=name).iterative is iterative


def test_an_unknown_kernel_says_what_to_add_to_the_settings() -> None:
    found, (line,) = kernels.source_of(SHIPPED_KERNELS, Named(manufacturer="SIEMENS", name="Br38f\\3"))

    assert found is None
    assert line == (
        r"kernel 'Br38f\\3' of 'SIEMENS' has no measured curve; measure it and add a [[kernels]] table with this "
        "manufacturer and name and noise_kept, since it is iterative to the settings"
    )


def test_an_iterative_kernel_is_known_only_with_the_noise_that_was_left() -> None:
    named = Named(manufacturer="SIEMENS", name="Br38f\\3")
    plain = replace(SHIPPED_KERNELS[-1], names=("Br38f*",))
    measured = replace(plain, curve=Kernel(cutoff=0.9, noise_kept=0.6))

    refused, (line,) = kernels.source_of([plain], named)
    assert refused is None
    assert "does not say noise_kept" in line
    assert kernels.source_of([measured], named) == (measured, [])


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("B70f", "B30f", "AI B70f>B30f"),
        ("YA", "soft", "AI YA>soft"),
        ("STANDARD", "soft", "AI STANDARD>soft"),
        ("BONEPLUS-3", "soft", "AI BONEPLU~>soft"),
        ("Hr40", "STANDARDPLUS", "AI Hr40>STANDAR~"),
        ("BONEPLUSPLUSPLUS", "STANDARDSTANDARD", "AI BONEP~>STAND~"),
    ],
)
def test_the_kernel_of_a_converted_image_fits_and_never_passes_for_a_scanners(
    source: str, target: str, text: str
) -> None:
    assert kernels.short(source, target) == text
    assert len(text) <= 16


def test_a_site_adds_its_own_kernel() -> None:
    settings = parse({**GOOD, "kernels": [SITE | {"boost": 0.0, "window_width": 350}]}, source="node.toml")

    (found,) = (kernel.measured() for kernel in settings.kernels)

    assert found.fits("Scanner Works", "s40")
    assert (found.curve, found.window) == (Kernel(cutoff=0.9), (40.0, 350.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cutoff_per_mm": 0.3}, "cutoff 0.3 lies outside 0.62 to 1.1, in which the network was trained"),
        ({"cutoff_per_mm": 2.4}, "cutoff 2.4 lies outside 1.15 to 1.9"),
        ({"boost": 0.5}, "boost of a soft kernel 0.5 lies outside 0 to 0"),
        ({"cutoff_per_mm": 1.4, "boost": 0.5, "boost_at_per_mm": 0.2}, "boost_at 0.2 lies outside 0.45 to 0.75"),
        ({"noise_kept": 0.1}, "noise_kept 0.1 lies outside 0.3 to 1"),
        ({"measured_on": "a guess"}, "kernels.0.measured_on"),
        ({"names": []}, "kernels.0.names"),
        ({"curve": 1}, "kernels.0.curve: unknown key"),
    ],
)  # fmt: skip
def test_a_kernel_of_a_site_that_the_network_does_not_know_stops_the_start(changes: Any, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse({**GOOD, "kernels": [SITE | changes]}, source="node.toml")

    assert words in str(caught.value)
