"""Guards on the examination itself: is it one that the network knows (E-1), and do header and pixels tell one story.

The header's values that are quoted hold no patient data; the age is known here only as adult or child.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.pipeline import Checked, Range
from pipelines.report import Finding, Verdict
from pipelines.role import Judge
from pipelines.steps import measure
from pipelines.steps.by_slice import BySlice, Pair
from pipelines.steps.guards_noise import above, judged
from pipelines.steps.measure import Image

VERSION = "1.0.0"

Header = Mapping[str, tuple[str, ...]]

KNOWN_KERNELS: Final = (
    # Siemens: B30f, D40s, H60h, U90u, T20f; I and J are iterative; Br38f, Hc44, Qr40 and the like
    "[BDHUT][0-9][0-9]*", "[BHQSR][a-z][0-9][0-9]*",
    # GE
    "SOFT", "STANDARD", "STND*", "DETAIL", "LUNG", "BONE*", "EDGE", "CHST", "ULTRA",
    # Philips
    "[A-F]", "L", "[UY][A-D]", "XC[A-D]", "HC", "ES",
    # Canon, Toshiba
    "FC[0-9][0-9]*",
)  # fmt: skip
"""Convolution Kernel (0018,1210) of filtered back-projection, first value; * ? [] are wildcards."""

ITERATIVE: Final = (
    "[IJ][0-9][0-9]*",
    "*ASIR*",
    "SS[0-9]*",
    "*AIDR*",
    "*IDOSE*",
    "*SAFIRE*",
    "*ADMIRE*",
    "*VEO*",
    "*IMR*",
)
"""Words for iterative reconstruction in the kernel, the protocol or a description."""

BY_NETWORK: Final = ("*DLIR*", "*TRUEFIDELITY*", "*AICE*", "*PRECISE IMAGE*", "*CLEARINFINITY*", "AI *", "*AI_*")
"""Words for reconstruction by a network."""

BY_NETWORK_MR: Final = (
    *BY_NETWORK, "*AIR*RECON*", "*DEEP*RESOLVE*", "*SMARTSPEED*AI*", "*SMARTSPEED*PRECISE*", "*SWIFTMR*", "*SUBTLE*",
)  # fmt: skip
"""The same for MR."""

_BODY_PARTS = (
    "HEAD BRAIN SKULL NECK HEADNECK CHEST THORAX LUNG HEART CHESTABDOMEN CHESTABDPELVIS ABDOMEN ABDOMENPELVIS LIVER "
    "KIDNEY PELVIS HIP SPINE CSPINE TSPINE LSPINE SHOULDER EXTREMITY LEG THIGH KNEE FOOT ANKLE ARM WHOLEBODY "
    "PARTIALBODY"
)
KNOWN_BODY_PARTS: Final = frozenset(_BODY_PARTS.split())
"""Body Part Examined (0018,0015), without blanks and hyphens."""

_WORDS_IN: Final = ("ConvolutionKernel", "ImageType", "ProtocolName", "SeriesDescription")


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The examinations that a network was made and judged for. Outside: reject; unknown: caution.

    kvp:        None where the modality has none
    fov_mm:     image width and height; a CT scanner measures 500 mm, and extends beyond by guessing
    contrast:   False when contrast agent is outside; None when both were judged
    excluded:   body parts that are outside
    iterative:  what a series by iterative reconstruction gets; its noise follows other laws than the simulated
    by_network: what a series that a network reconstructed gets
    field_t:    Magnetic Field Strength (0018,0087) of MR; None where it is not asked
    judge:      what else speaks against the series, as a role of a pipeline has it: sequence, weighting, contrast agent
    """

    modality: str
    kvp: Range | None = None
    thickness_mm: Range
    spacing_mm: Range
    fov_mm: Range
    body_parts: frozenset[str] = KNOWN_BODY_PARTS
    excluded: frozenset[str] = frozenset({"BREAST", "TEETH", "JAW", "MAXILLA", "MANDIBLE"})
    contrast: bool | None = None
    adults_only: bool = True
    iterative: Verdict = Verdict.CAUTION
    by_network: Verdict = Verdict.REJECT
    field_t: Range | None = None
    judge: Judge | None = None


@dataclass(frozen=True, kw_only=True)
class protocol_gate:
    """E-1: the header says an examination that the network knows. Every slice is asked."""

    envelope: Envelope

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: how many facts are outside or unknown, each named."""
        if not case.headers:
            text = "There is no header: the examination is not known."
            return (judged("protocol", None, 0.0, Verdict.CAUTION, text, version=VERSION),)
        worst: dict[str, Verdict] = {}
        for header in case.headers:
            for verdict, fact in facts(header, self.envelope):
                worst[fact] = Verdict.worst([verdict, worst.get(fact, Verdict.PASS)])
        if self.envelope.judge is not None:
            worst |= dict.fromkeys(self.envelope.judge(case.headers), Verdict.REJECT)
        verdict = Verdict.worst(list(worst.values()) or [Verdict.PASS])
        shown = sorted(worst, key=lambda fact: (worst[fact] is not Verdict.REJECT, fact))
        text = f"{'; '.join(shown[:6])}." if shown else "The examination is one that the network was made for."
        return (judged("protocol", float(len(worst)), 0.0, verdict, text, version=VERSION),)


def facts(header: Header, envelope: Envelope) -> list[tuple[Verdict, str]]:
    """What of one header is outside of the envelope or unknown."""
    found: list[tuple[Verdict, str]] = []
    modality = _first(header, "Modality")
    if modality != envelope.modality:
        found.append((Verdict.REJECT, f"Modality is {_shown(modality)}, not {envelope.modality}"))
    for keyword, allowed in (
        ("KVP", envelope.kvp),
        ("MagneticFieldStrength", envelope.field_t),
        ("SliceThickness", envelope.thickness_mm),
    ):
        if allowed is not None:
            found += _in_range(keyword, _numbers(header, keyword)[:1], allowed)
    spacing = _numbers(header, "PixelSpacing")
    found += _in_range("PixelSpacing", spacing, envelope.spacing_mm)
    sides = _numbers(header, "Rows") + _numbers(header, "Columns")
    if len(spacing) == 2 and len(sides) == 2:
        fov = [round(side * step, 1) for side, step in zip(sides, spacing, strict=True)]
        found += _in_range("field of view, mm,", fov, envelope.fov_mm)
    made = _reconstruction(header, envelope) if envelope.modality == "CT" else _mr_reconstruction(header, envelope)
    return [*found, *made, *_patient(header, envelope)]


@dataclass(frozen=True, kw_only=True)
class pixel_size_agrees:
    """Reconstruction Diameter (0018,1100) over the image's width is Pixel Spacing (0028,0030): two witnesses of scale.

    tolerance: of the ratio to 1; images that were cropped to a rectangle agree on one side
    absent:    what a series without a diameter gets; many MR scanners write none
    """

    tolerance: float
    absent: Verdict = Verdict.CAUTION

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: the largest deviation of the ratio from 1."""
        ratios = [ratio for header in case.headers if (ratio := _scale(header)) is not None]
        if not ratios:
            text = "Reconstruction Diameter is absent: the pixel size has no second witness."
            return (judged("pixel_size", None, self.tolerance, self.absent, text, version=VERSION),)
        off = max(abs(ratio - 1.0) for ratio in ratios)
        text = f"Pixel Spacing is off from Reconstruction Diameter by {100 * off:.1f} %; allowed "
        text += f"{100 * self.tolerance:g} %."
        return (judged("pixel_size", off, self.tolerance, above(off, self.tolerance), text, version=VERSION),)


@dataclass(frozen=True, kw_only=True)
class hounsfield_scale(BySlice):
    """The source's values are Hounsfield units: air lies at -1000, and most of the rest between fat and soft tissue.

    A rescale intercept that is wrong moves everything alike, which no comparison of source and result can see.

    air_hu: how far the peak of air may lie from -1000; judged when 2 % of the image are air
    every:  one slice of this many is measured
    """

    air_hu: float
    every: int = 4

    def measure(self, case: Checked, pair: Pair) -> Image:
        """Means of 4x4 blocks in one row; blocks with padding or at the very floor are left out."""
        small = measure.halve(pair.half_before)
        good = small > float(pair.before.min()) + 0.01
        if case.source.padding is not None:
            good &= measure.halve(measure.halve(case.source.padding[pair.index].astype(np.float32))) == 0.0
        return small[good]

    def judge(self, case: Checked, rows: Sequence[Image]) -> tuple[Finding, ...]:
        """One finding: the distance of air from -1000 HU."""
        values = np.concatenate(rows)
        offset, strange = air_offset(values), strangeness(values)
        if strange > _MOST_STRANGE:
            text = f"{100 * strange:.0f} % of the source lie below -1150 or above 700 HU: not Hounsfield units."
            return (judged("hounsfield_scale", offset, self.air_hu, Verdict.REJECT, text, version=VERSION),)
        if offset is None:
            text = "The source shows too little air to find its peak; its values are those of tissue."
            return (judged("hounsfield_scale", None, self.air_hu, Verdict.PASS, text, version=VERSION),)
        text = f"Air lies {offset:+.1f} HU from -1000 HU; allowed {self.air_hu:g} HU."
        return (
            judged("hounsfield_scale", offset, self.air_hu, above(abs(offset), self.air_hu), text, version=VERSION),
        )


_MOST_STRANGE = 0.25
_LEAST_AIR = 0.02
_AIR_HU = (-1057.0, -945.0)


def air_offset(values: Image) -> float | None:
    """Where the peak of air lies, HU from -1000; None when there is too little air or its peak is not in sight.

    Emphysema has a broad peak of its own around -930 HU: nothing is looked for above -945 HU, and a peak that does not
    stand out of the slope towards it is none.
    """
    low, high = _AIR_HU
    counts, edges = np.histogram(values, bins=int((high - low) / 4.0), range=_AIR_HU)
    at = int(np.argmax(counts))
    if counts[at] < 2 * max(counts[0], counts[-1]):
        return None
    air = values[np.abs(values - float(edges[at]) - 2.0) < 12.0]
    return float(np.median(air)) + 1000.0 if air.size >= max(_LEAST_AIR * values.size, 100) else None


def strangeness(values: Image) -> float:
    """Share of the values that are neither air, lung, soft tissue nor spongy bone."""
    return float(np.mean((values < -1150.0) | (values > 700.0))) if values.size else 0.0


def _reconstruction(header: Header, envelope: Envelope) -> list[tuple[Verdict, str]]:
    kernel = header.get("ConvolutionKernel", ())
    words = [value for keyword in _WORDS_IN for value in header.get(keyword, ())]
    found: list[tuple[Verdict, str]] = []
    # Siemens writes the strength of its iterative reconstruction as a second value, as in Br38f\3.
    second = any(value not in ("", "0") for value in kernel[1:])
    if envelope.by_network is not Verdict.PASS and _any_like(words, BY_NETWORK):
        found.append((envelope.by_network, "the images were reconstructed by a network"))
    elif envelope.iterative is not Verdict.PASS and (second or _any_like(words, ITERATIVE)):
        found.append((envelope.iterative, "the images were reconstructed iteratively"))
    elif not any(kernel):
        found.append((Verdict.CAUTION, "ConvolutionKernel is unknown"))
    elif not _any_like(kernel[:1], KNOWN_KERNELS):
        found.append((Verdict.CAUTION, f"ConvolutionKernel {_shown(kernel[0])} is no kernel that is known here"))
    return found


def _mr_reconstruction(header: Header, envelope: Envelope) -> list[tuple[Verdict, str]]:
    words = [value for keyword in _WORDS_IN for value in header.get(keyword, ())]
    if envelope.by_network is not Verdict.PASS and _any_like(words, BY_NETWORK_MR):
        return [(envelope.by_network, "the images were reconstructed by a network")]
    return []


def _patient(header: Header, envelope: Envelope) -> list[tuple[Verdict, str]]:
    found: list[tuple[Verdict, str]] = []
    part = _first(header, "BodyPartExamined").upper()
    plain = "".join(letter for letter in part if letter.isalnum())
    if plain in envelope.excluded:
        found.append((Verdict.REJECT, f"BodyPartExamined {_shown(part)} is outside"))
    elif not plain:
        found.append((Verdict.CAUTION, "BodyPartExamined is unknown"))
    elif plain not in envelope.body_parts:
        found.append((Verdict.CAUTION, f"BodyPartExamined {_shown(part)} is no part that is known here"))
    if envelope.contrast is False and any(header.get("ContrastBolusAgent", ())):
        found.append((Verdict.REJECT, "contrast agent was given"))
    if envelope.adults_only:
        group = _first(header, "PatientAgeGroup")
        if group == "CHILD":
            found.append((Verdict.REJECT, "the patient is younger than 18 years"))
        elif group != "ADULT":
            found.append((Verdict.CAUTION, "the patient's age is unknown"))
    return found


def _scale(header: Header) -> float | None:
    diameter = _numbers(header, "ReconstructionDiameter")
    spacing = _numbers(header, "PixelSpacing")
    sides = _numbers(header, "Rows") + _numbers(header, "Columns")
    if len(diameter) != 1 or len(spacing) != 2 or len(sides) != 2 or diameter[0] <= 0:
        return None
    ratios = [side * step / diameter[0] for side, step in zip(sides, spacing, strict=True)]
    return min(ratios, key=lambda ratio: abs(ratio - 1.0))


def _in_range(keyword: str, values: Sequence[float], allowed: Range) -> list[tuple[Verdict, str]]:
    if not values:
        return [(Verdict.CAUTION, f"{keyword} is unknown")]
    low, high = allowed
    return [
        (Verdict.REJECT, f"{keyword} {value:g} lies outside {low:g} to {high:g}")
        for value in values
        if not low <= value <= high
    ]


def _numbers(header: Header, keyword: str) -> list[float]:
    found = []
    for text in header.get(keyword, ()):
        try:
            value = float(text)
        except ValueError:
            continue
        if np.isfinite(value):
            found.append(value)
    return found


def _first(header: Header, keyword: str) -> str:
    return next(iter(header.get(keyword, ())), "")


def _any_like(values: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(v.upper(), p.upper()) for v in values for p in patterns)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 24 else text[:21] + "...")
