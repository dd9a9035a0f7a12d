"""T1, T2 and FLAIR of one head without contrast agent: what a series has to be to have such a role.

The sequence parameters decide, not the names: a rule need not say which series is which. Bounds are those of the
sequences that the network saw in simulation (engines/cards/mr_postcontrast.md), with a little for rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipelines import mr_contrast
from pipelines.match import Header, number
from pipelines.pipeline import Range, Requires, Role
from pipelines.role import Registered

UNITS: Final = {"RepetitionTime": "ms", "EchoTime": "ms", "InversionTime": "ms", "FlipAngle": "degrees"}

FIELD_T: Final = (1.4, 3.1)
"""Magnetic Field Strength (0018,0087): relaxation times are those of 1.5 to 3 T."""

HEAD: Final = frozenset({"HEAD", "BRAIN", "SKULL", "HEADNECK", "PITUITARY", "IAC", "ORBIT", "CEREBRUM"})
"""Body Part Examined (0018,0015), without blanks and hyphens, of series that show the head."""

_NO_ANATOMY = (
    "ADC AVERAGE_DC DIFFUSION FA FLOW IMAGINARY MAX_IP MIN_IP MINIP MIP MPR_THICK P PERFUSION PHASE PHASEMAP PHASE_MAP "
    "PROJECTION_IMAGE R2_MAP REAL SUBTRACTION SUB SWI T1_MAP T2_MAP TRACE TRACEW VELOCITY"
)
NO_ANATOMY: Final = frozenset(_NO_ANATOMY.split())
"""Values of Image Type (blanks as _) of images that are no plain magnitude image of one sequence."""

_OTHER_SEQUENCES = (
    "ADC ANGIO ASL BOLD CISS CSI DIR DSC DTI DWI EPI FIESTA FIELDMAP MRA MRV PERF PSIR QSM SCOUT STIR SWAN SWI TOF "
    "TRUFI"
)
OTHER_SEQUENCES: Final = frozenset(_OTHER_SEQUENCES.split())
"""Words of a description that name another sequence, though its times might fit."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One kind of sequence, and between which values its parameters lie. Bounds belong to the range.

    name:        for reasons
    ranges:      DICOM keyword -> allowed ranges; a value has to lie in one of them
    acquisition: values of MR Acquisition Type (0018,0023)
    inverted:    whether it begins with an inversion, so that Inversion Time (0018,0082) must be there
    """

    name: str
    ranges: Mapping[str, tuple[Range, ...]]
    acquisition: frozenset[str] = frozenset({"2D", "3D"})
    inverted: bool = False


T1_SPIN_ECHO: Final = Timing(
    name="T1 by spin echo", ranges={"RepetitionTime": ((300.0, 1000.0),), "EchoTime": ((4.0, 30.0),)}
)
# Up to 15 ms: with 20 ms and more, 3-D gradient echoes are those of angiography, in which blood is bright.
T1_SPOILED_3D: Final = Timing(
    name="T1 by 3-D spoiled gradient echo",
    ranges={"RepetitionTime": ((3.0, 15.0),), "EchoTime": ((0.8, 8.0),), "FlipAngle": ((8.0, 40.0),)},
    acquisition=frozenset({"3D"}),
)
T1_SPOILED_2D: Final = Timing(
    name="T1 by 2-D spoiled gradient echo",
    ranges={"RepetitionTime": ((80.0, 500.0),), "EchoTime": ((0.8, 12.0),), "FlipAngle": ((40.0, 90.0),)},
    acquisition=frozenset({"2D"}),
)
# Repetition Time is that of the inversions (Siemens) or of the echoes (GE, Philips, United Imaging).
T1_MPRAGE: Final = Timing(
    name="T1 by inversion-prepared gradient echo",
    ranges={
        "RepetitionTime": ((3.0, 15.0), (1000.0, 3500.0)),
        "EchoTime": ((0.8, 8.0),),
        "InversionTime": ((250.0, 1400.0),),
        "FlipAngle": ((4.0, 20.0),),
    },
    acquisition=frozenset({"3D"}),
    inverted=True,
)
T2_SPIN_ECHO: Final = Timing(name="T2", ranges={"RepetitionTime": ((2000.0, 15000.0),), "EchoTime": ((60.0, 160.0),)})
FLAIR_2D: Final = Timing(
    name="FLAIR",
    ranges={
        "RepetitionTime": ((4000.0, 15000.0),),
        "EchoTime": ((70.0, 200.0),),
        "InversionTime": ((1500.0, 3000.0),),
    },
    inverted=True,
)
# Long trains of small refocusing angles: the echo time stated is two to four times the one that makes the contrast.
FLAIR_3D: Final = Timing(
    name="3-D FLAIR",
    ranges={
        "RepetitionTime": ((4000.0, 12000.0),),
        "EchoTime": ((70.0, 450.0),),
        "InversionTime": ((1500.0, 3000.0),),
    },
    acquisition=frozenset({"3D"}),
    inverted=True,
)


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """What a series must be weighted by. name: for reasons; choose: the kind of sequence that a series is held against,
    or why it is none of them; words: of a description that name another one; angiography: it shows vessels, for which
    magnetisation transfer is usual. Called with the headers, it gives every reason against the series."""

    name: str
    choose: "Callable[[Header], Timing | str]"
    parts: frozenset[str] = field(default=HEAD)
    words: frozenset[str] = field(default=OTHER_SEQUENCES)
    angiography: bool = False

    def __call__(self, headers: Sequence[Header]) -> list[str]:
        """Why a series cannot have this role: facts with their values, without patient data; every slice is asked."""
        found: list[str] = []
        kinds: dict[str, tuple[Timing, list[Header]]] = {}
        for header in headers:
            chosen = self.choose(header)
            if isinstance(chosen, str):
                found.append(f"{chosen}; {self.name} needs another sequence")
            else:
                kinds.setdefault(chosen.name, (chosen, []))[1].append(header)
        for timing, members in kinds.values():
            found += _outside(timing, members)
        found += [line for header in headers for line in self._other(header)]
        found += mr_contrast.reasons(headers)
        return list(dict.fromkeys(found))

    def _other(self, header: Header) -> list[str]:
        """What says that the image is no plain image of the head by such a sequence, whatever its times are."""
        found = []
        types = {value.upper().replace(" ", "_") for value in header.get("ImageType", ())}
        if wrong := sorted(types & NO_ANATOMY):
            found.append(f"ImageType holds {wrong[0]}; {self.name} needs a magnitude image of one sequence")
        spoken = {w for k in ("SeriesDescription", "ProtocolName") for w in _words(" ".join(header.get(k, ())))}
        if wrong := sorted(spoken & self.words):
            found.append(f"a description holds {wrong[0]}; {self.name} needs another sequence")
        if "MTC" in header.get("SequenceVariant", ()) and not self.angiography:
            found.append("SequenceVariant holds MTC; magnetisation transfer changes the contrast")
        if "Y" in header.get("AngioFlag", ()) and not self.angiography:  # (0018,0025)
            found.append(f"AngioFlag is Y; {self.name} needs no angiography")
        part = "".join(letter for letter in "".join(header.get("BodyPartExamined", ())).upper() if letter.isalnum())
        if part and part not in self.parts:
            found.append(f"BodyPartExamined is {part[:16]}; {self.name} needs the head")
        field_t = [number(value) for value in header.get("MagneticFieldStrength", ())]
        if any(value is None or not FIELD_T[0] <= value <= FIELD_T[1] for value in field_t):
            stated = "no number" if None in field_t else f"{field_t[0]:g} T"
            found.append(f"MagneticFieldStrength is {stated}; {self.name} needs {FIELD_T[0]:g} to {FIELD_T[1]:g} T")
        return found


def _t1(header: Header) -> Timing | str:
    kinds = _scanning(header)
    if isinstance(kinds, str):
        return kinds
    three = "3D" in header.get("MRAcquisitionType", ())
    if "GR" in kinds or (
        "SE" not in kinds and (_largest(header, "EchoTime") or 0) < T1_MPRAGE.ranges["EchoTime"][0][1]
    ):
        if _inversion(header) or "IR" in kinds:
            return T1_MPRAGE
        return T1_SPOILED_3D if three else T1_SPOILED_2D
    if _inversion(header) or "IR" in kinds:
        return f"ScanningSequence is {_shown(kinds)} with an inversion"
    return T1_SPIN_ECHO


def _t2(header: Header) -> Timing | str:
    kinds = _scanning(header)
    if isinstance(kinds, str):
        return kinds
    if "GR" in kinds:
        return f"ScanningSequence is {_shown(kinds)}"
    return (
        f"ScanningSequence is {_shown(kinds)} with an inversion"
        if _inversion(header) or "IR" in kinds
        else T2_SPIN_ECHO
    )


def _flair(header: Header) -> Timing | str:
    kinds = _scanning(header)
    if isinstance(kinds, str):
        return kinds
    if "GR" in kinds:
        return f"ScanningSequence is {_shown(kinds)}"
    if not _inversion(header) and "IR" not in kinds:
        return f"ScanningSequence is {_shown(kinds)} without an inversion"
    return FLAIR_3D if "3D" in header.get("MRAcquisitionType", ()) else FLAIR_2D


def _scanning(header: Header) -> frozenset[str] | str:
    """Values of Scanning Sequence (0018,0020): SE, IR, GR, EP, RM (a vendor's own: its times decide)."""
    kinds = frozenset(header.get("ScanningSequence", ()))
    if not kinds & {"SE", "IR", "GR", "RM"} or "EP" in kinds:
        return f"ScanningSequence is {_shown(kinds) or 'missing'}"
    return kinds


def _outside(timing: Timing, headers: Sequence[Header]) -> list[str]:
    """Where the parameters of some slices leave the bounds of their kind of sequence."""
    found = []
    for keyword, ranges in timing.ranges.items():
        values = [_largest(header, keyword) for header in headers]
        given = [value for value in values if value is not None]
        if len(given) < len(values):
            found.append(f"{keyword} is missing or no number in {len(values) - len(given)} of {len(values)} slices; "
                         f"{timing.name} needs it")  # fmt: skip
        elif any(not any(low <= value <= high for low, high in ranges) for value in given):
            unit = UNITS[keyword]
            allowed = " or ".join(f"{low:g} to {high:g}" for low, high in ranges)
            found.append(f"{keyword} {min(given):g} to {max(given):g} {unit}; {timing.name} needs {allowed} {unit}")
    kinds = {"\\".join(header.get("MRAcquisitionType", ())) for header in headers}
    if not kinds <= timing.acquisition:
        wanted = " or ".join(sorted(timing.acquisition))
        found.append(f"MRAcquisitionType is {_shown(kinds) or 'missing'}; {timing.name} needs {wanted}")
    return found


def _inversion(header: Header) -> bool:
    """Whether an inversion time is given; some write 0 where there is no inversion."""
    return (_largest(header, "InversionTime") or 0.0) > 0.0


def _largest(header: Header, keyword: str) -> float | None:
    values = [number(value) for value in header.get(keyword, ())]
    found = [value for value in values if value is not None]
    return max(found) if values and len(found) == len(values) else None


def _shown(values: "frozenset[str] | set[str]") -> str:
    """Values of closed vocabularies: few, short and printable."""
    return "\\".join(sorted("".join(c for c in value if c.isalnum() or c in "_ ")[:16] for value in values)[:4])


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in text.upper()).split())


def _takes(pixel_mm: Range, thickness_mm: Range, slices: int) -> Requires:
    return Requires(
        modality="MR",
        minimum_slices=slices,
        pixel_spacing_mm=pixel_mm,
        slice_thickness_mm=thickness_mm,
        tilt_deg_max=0.5,
        rows=(64, 1024),
        columns=(64, 1024),
    )


# T1 is the grid of the network: what it was trained on. The others are brought to it, so that theirs may be finer and
# coarser; beyond 7 mm a slice shows no lesion of the size of the smallest that is looked for.
T1: Final = Role(takes=_takes((0.4, 1.2), (0.8, 6.0), 12), judge=Weighting(name="T1", choose=_t1))
T2: Final = Role(
    takes=_takes((0.2, 1.6), (0.4, 7.0), 8),
    judge=Weighting(name="T2", choose=_t2),
    required=False,
    register=Registered(),
)
FLAIR: Final = Role(
    takes=_takes((0.2, 1.6), (0.4, 7.0), 8),
    judge=Weighting(name="FLAIR", choose=_flair),
    required=False,
    register=Registered(),
)

ROLES: Final[Mapping[str, Role]] = {"t1": T1, "t2": T2, "flair": FLAIR}
"""Of a pipeline with grid "t1", `least` 1 (of T2 and FLAIR one has to be there) and `together` `contrast_refused`."""

contrast_refused: Final = mr_contrast.given_before
