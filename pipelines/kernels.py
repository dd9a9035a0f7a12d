"""Reconstruction kernels of scanners as measured curves, and how a series' header leads to one.

Vendors do not publish their kernels, and a name says nothing of another vendor's kernel of the same name. So a kernel
is known here only when its curve was measured, and the entry says on what. A site adds its own in the settings.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engines.kernel import Kernel
from pipelines.match import Header

Window = tuple[float, float]
"""Window Center and Width, HU."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Kernels of one vendor that share a curve.

    manufacturer: pattern of Manufacturer (0008,0070); * and ? are wildcards, letter case does not matter
    names:        patterns of the first value of Convolution Kernel (0018,1210)
    curve:        what was measured
    window:       that such images are read with; for the derived series when this kernel is the target
    measured_on:  object, scanner and method, for whoever doubts the curve
    """

    manufacturer: str
    names: tuple[str, ...]
    curve: Kernel
    window: Window
    measured_on: str

    def fits(self, manufacturer: str, name: str) -> bool:
        """Whether a kernel of that name by that manufacturer is one of these."""
        return _like(manufacturer, self.manufacturer) and self.has(name)

    def has(self, name: str) -> bool:
        """Whether the name is one of these, whoever made the scanner."""
        return any(_like(name, pattern) for pattern in self.names)


@dataclass(frozen=True, kw_only=True)
class Ideal:
    """A kernel that no vendor sells: a target with a name that people understand."""

    curve: Kernel
    window: Window


IDEALS: Mapping[str, Ideal] = MappingProxyType(
    {
        "soft": Ideal(curve=Kernel(cutoff=0.85), window=(40.0, 400.0)),
        "medium": Ideal(curve=Kernel(cutoff=1.1), window=(40.0, 400.0)),
        "sharp": Ideal(curve=Kernel(cutoff=1.5, boost=0.5), window=(400.0, 2000.0)),
    }
)
"""Targets by plain name. Soft reads as body soft-tissue kernels do, sharp as those for bone and lung."""

SHIPPED_KERNELS: tuple[Measured, ...] = (
    Measured(
        manufacturer="Philips*",
        names=("UB",),
        curve=Kernel(cutoff=0.83),
        window=(40.0, 80.0),
        measured_on="head phantom, Ingenuity CT, 1 mm, 120 kVp (dcm_qa_ct S21570, series 2020 and 2030, same raw "
        "data): cross spectrum of UB and YA, fitted together with YA, all six points of the ratio within 12 %. "
        "Reconstructed with iDose, which the header does not tell",
    ),
    Measured(
        manufacturer="Philips*",
        names=("YA",),
        curve=Kernel(cutoff=1.9, boost=0.95, boost_at=0.515, boost_width=0.31),
        window=(900.0, 2500.0),
        measured_on="the same pair; besides, the noise of YA alone in the flat insert: within 22 % of the curve from "
        "0.15 to 0.9 cycles per mm, above which the grid of 0.45 mm cuts",
    ),
    Measured(
        manufacturer="Siemens*",
        names=("B30f", "B30s"),
        curve=Kernel(cutoff=0.85),
        window=(40.0, 400.0),
        measured_on="not by us: noise of four quarter-dose abdomens (NPS peak 0.164, centroid 0.241 cycles per pixel) "
        "lies between Hann 0.80 and 0.95 per mm, and a published phantom code takes 0.85 for B30",
    ),
)
"""Few on purpose: what is not here was not measured."""

# Made by iteration or by a network: the noise follows no curve of the kernel, whatever the name before it says.
_ITERATIVE: tuple[tuple[str, str], ...] = (
    ("Siemens*", "[IJ][0-9]*"),  # SAFIRE and IRIS: I30f, J30s
    ("*", "*ASIR*"),
    ("*", "*DLIR*"),
    ("*", "*TRUEFID*"),
    ("*", "*AIDR*"),
    ("*", "*AICE*"),
    ("*", "*IMR*"),
    ("*", "*ADMIRE*"),
    ("*", "*SAFIRE*"),
    ("*", "AI *"),
)

# What the network saw in training (engines/training/kernel_pairs.py); outside of it nobody knows what it does.
CUTOFF_PER_MM = (0.62, 1.9)
BOOST = (0.0, 1.0)
BOOST_AT_PER_MM = (0.45, 0.75)
BOOST_WIDTH_PER_MM = (0.2, 0.35)


@dataclass(frozen=True, kw_only=True)
class Named:
    """The kernel that a series was reconstructed with, as its header has it."""

    manufacturer: str
    name: str


def outside_training(curve: Kernel) -> list[str]:
    """Where a curve leaves what the network was trained on."""
    asked = [("cutoff", curve.cutoff, CUTOFF_PER_MM), ("boost", curve.boost, BOOST)]
    if curve.boost:
        asked += [("boost_at", curve.boost_at, BOOST_AT_PER_MM), ("boost_width", curve.boost_width, BOOST_WIDTH_PER_MM)]
    return [
        f"{name} {value:g} lies outside {low:g} to {high:g}, in which the network was trained"
        for name, value, (low, high) in asked
        if not low <= value <= high
    ]


def of_series(headers: Sequence[Header]) -> tuple[Named | None, list[str]]:
    """The one kernel of a series, or why it has none that a curve could describe."""
    total = len(headers)
    for keyword in ("ConvolutionKernel", "Manufacturer"):
        missing = sum(1 for header in headers if not any(header.get(keyword, ())))
        if missing:
            return None, [f"{keyword} is absent or empty in {missing} of {total} slices; the conversion needs it"]
    kernels = sorted({header["ConvolutionKernel"] for header in headers})
    makers = sorted({header["Manufacturer"][0] for header in headers})
    if len(kernels) > 1 or len(makers) > 1:
        shown = ", ".join(_shown("\\".join(values)) for values in kernels[:3])
        return None, [
            f"the slices name {len(kernels)} convolution kernels ({shown}) of {len(makers)} manufacturer(s); "
            "a conversion needs one of one"
        ]
    name, *more = kernels[0]
    found = Named(manufacturer=makers[0], name=name)
    text = _shown("\\".join(kernels[0]))
    if not (name.isascii() and name.isprintable() and len(name) <= _LONGEST_SH):
        return None, [f"ConvolutionKernel {text} is no name of at most {_LONGEST_SH} ASCII characters"]
    # Siemens writes the strength of its iterative reconstruction as a second value, as in Br38f\3.
    if any(value not in ("", "0") for value in more):
        return None, [
            f"ConvolutionKernel {text} has a second value, as iterative reconstruction writes its strength there; its "
            "noise follows no kernel's curve"
        ]
    if any(_like(found.manufacturer, maker) and _like(name, pattern) for maker, pattern in _ITERATIVE):
        return None, [
            f"ConvolutionKernel {text} is iterative or made by a network; its noise follows no kernel's curve"
        ]
    return found, []


def find(table: Sequence[Measured], named: Named) -> Measured | None:
    """The first entry that describes the kernel."""
    return next((entry for entry in table if entry.fits(named.manufacturer, named.name)), None)


def short(source: str, target: str) -> str:
    """Convolution Kernel (0018,1210) of a converted image: `AI B70f>B30f`, SH, at most 16 characters.

    Never the bare target: nothing was reconstructed with it. A name that is cut ends in `~`; the whole names stand in
    Series Description and Derivation Description.
    """
    room = _LONGEST_SH - len("AI >")
    if len(source) + len(target) > room:
        source = _cut(source, max(room - len(target), room // 2))
        target = _cut(target, room - len(source))
    return f"AI {source}>{target}"


def to_plain(curve: Kernel) -> list[float]:
    """A curve as JSON: cutoff, boost, boost_at, boost_width."""
    return [curve.cutoff, curve.boost, curve.boost_at, curve.boost_width]


def from_plain(values: Sequence[Any]) -> Kernel:
    """The inverse of `to_plain`."""
    cutoff, boost, boost_at, boost_width = map(float, values)
    return Kernel(cutoff=cutoff, boost=boost, boost_at=boost_at, boost_width=boost_width)


_LONGEST_SH = 16  # PS3.5 6.2


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else name[: room - 1] + "~"


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text.casefold(), pattern.casefold())


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 32 else text[:29] + "...")
