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
    names:        patterns of Convolution Kernel (0018,1210); two values are parted by a backslash
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
        "sharp": Ideal(curve=Kernel(cutoff=1.5, boost=0.5), window=(400.0, 2000.0)),
    }
)
"""Targets by plain name. Soft reads as body soft-tissue kernels do, sharp as those for bone and lung."""

SHIPPED_KERNELS: tuple[Measured, ...] = (
    Measured(
        manufacturer="Philips*",
        names=("UB",),
        curve=Kernel(cutoff=0.83, noise_kept=0.68),
        window=(40.0, 80.0),
        measured_on="head phantom, Ingenuity CT, 1 mm, 120 kVp (dcm_qa_ct S21570, series 2020 and 2030, same raw "
        "data): cross spectrum of UB and YA, fitted together with YA, all six points of the ratio within 12 %. "
        "Reconstructed with iDose, which the header does not tell: its noise is 0.65 to 0.74 of what the curves say",
    ),
    Measured(
        manufacturer="Philips*",
        names=("YA",),
        curve=Kernel(cutoff=1.9, boost=0.95, boost_at=0.515, boost_width=0.31),
        window=(900.0, 2500.0),
        measured_on="the same pair; besides, the noise of YA alone in flat parts: within 22 % of the curve from 0.15 "
        "to 0.9 cycles per mm, above which the grid of 0.45 mm cuts",
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

# Reconstructed by iteration: an entry has to say how much of the noise was left.
_ITERATIVE: tuple[tuple[str, str], ...] = (
    ("Siemens*", "[IJ][0-9]*"),  # IRIS and SAFIRE: I30f, J30s
    ("*", "*ASIR*"),
    ("*", "*AIDR*"),
    ("*", "*IMR*"),
    ("*", "*ADMIRE*"),
    ("*", "*SAFIRE*"),
)
# Made by a network: what it left of noise and edges follows no curve.
_BY_NETWORK = ("*DLIR*", "*TRUEFID*", "*AICE*", "*PIQE*", "AI *")

# What the network saw in training (engines/training/kernel_pairs.py, kernel.py): a soft kernel to a sharp one or back.
SOFT_CUTOFF_PER_MM = (0.62, 1.1)
SHARP_CUTOFF_PER_MM = (1.15, 1.9)
BOOST = (0.0, 1.0)
BOOST_AT_PER_MM = (0.45, 0.75)
BOOST_WIDTH_PER_MM = (0.2, 0.35)
NOISE_KEPT = (0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class Named:
    """The kernel that a series was reconstructed with, as its header has it.

    name: the values of Convolution Kernel, parted by a backslash; Siemens writes the strength of its iterative
          reconstruction as a second one, as in Br38f\\3
    """

    manufacturer: str
    name: str

    @property
    def label(self) -> str:
        """The name for texts of a derived image, which have no backslash."""
        return self.name.replace("\\", "-")

    @property
    def iterative(self) -> bool:
        """Whether the name tells of iterative reconstruction."""
        return "\\" in self.name or any(
            _like(self.manufacturer, maker) and _like(self.name, pattern) for maker, pattern in _ITERATIVE
        )


def is_sharp(curve: Kernel) -> bool:
    """Whether the network knows the kernel as a sharp one; else as a soft one."""
    return curve.cutoff > (SOFT_CUTOFF_PER_MM[1] + SHARP_CUTOFF_PER_MM[0]) / 2


def outside_training(curve: Kernel) -> list[str]:
    """Where a curve leaves what the network was trained on."""
    asked = [("noise_kept", curve.noise_kept, NOISE_KEPT)]
    if is_sharp(curve):
        asked += [("cutoff", curve.cutoff, SHARP_CUTOFF_PER_MM), ("boost", curve.boost, BOOST)]
        if curve.boost:
            asked += [("boost_at", curve.boost_at, BOOST_AT_PER_MM)]
            asked += [("boost_width", curve.boost_width, BOOST_WIDTH_PER_MM)]
    else:
        asked += [("cutoff", curve.cutoff, SOFT_CUTOFF_PER_MM), ("boost of a soft kernel", curve.boost, (0.0, 0.0))]
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
    named = sorted({"\\".join(header["ConvolutionKernel"]).rstrip("\\") for header in headers})
    makers = sorted({header["Manufacturer"][0] for header in headers})
    if len(named) > 1 or len(makers) > 1:
        return None, [
            f"the slices name {len(named)} convolution kernels ({', '.join(map(_shown, named[:3]))}) of {len(makers)} "
            "manufacturer(s); a conversion needs one of one"
        ]
    found = Named(manufacturer=makers[0], name=named[0])
    if not (found.name.isascii() and found.name.isprintable() and len(found.name) <= _LONGEST_SH):
        return None, [f"ConvolutionKernel {_shown(found.name)} is no name of at most {_LONGEST_SH} ASCII characters"]
    if any(_like(found.name, pattern) for pattern in _BY_NETWORK):
        return None, [f"ConvolutionKernel {_shown(found.name)} was made by a network; its noise follows no curve"]
    return found, []


def source_of(table: Sequence[Measured], named: Named) -> tuple[Measured | None, list[str]]:
    """The curve of a series' kernel, or what to add to the settings so that there is one."""
    what = f"kernel {_shown(named.name)} of {_shown(named.manufacturer)}"
    entry = find(table, named)
    if entry is None:
        more = " and noise_kept, since it is iterative" if named.iterative else ""
        return None, [
            f"{what} has no measured curve; measure it and add a [[kernels]] table with this manufacturer and name"
            f"{more} to the settings"
        ]
    if named.iterative and entry.curve.noise_kept == 1.0:
        return None, [f"{what} is iterative, and its [[kernels]] table does not say noise_kept; measure that too"]
    return entry, []


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
    """A curve as JSON: cutoff, boost, boost_at, boost_width, noise_kept."""
    return [curve.cutoff, curve.boost, curve.boost_at, curve.boost_width, curve.noise_kept]


def from_plain(values: Sequence[Any]) -> Kernel:
    """The inverse of `to_plain`."""
    cutoff, boost, boost_at, boost_width, kept = map(float, values)
    return Kernel(cutoff=cutoff, boost=boost, boost_at=boost_at, boost_width=boost_width, noise_kept=kept)


_LONGEST_SH = 16  # PS3.5 6.2


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else name[: room - 1] + "~"


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text.casefold(), pattern.casefold())


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 32 else text[:29] + "...")
