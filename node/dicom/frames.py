"""Frames of Enhanced and Legacy Converted Enhanced CT and MR (PS3.3 A.38, A.36, A.70, A.71), seen one by one.

Runs in the child. A frame is shown as the single-frame image that it would have been (`multiframe`), so that gate,
geometry, decoder and writer read one kind of header. A header has, beside, what tells a frame from the others at its
place: stack, phase, echo, diffusion weighting, magnitude or phase.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from node.dicom import codes, part10, scan
from node.dicom.multiframe import MultiFrame
from node.dicom.part10 import Part10
from node.dicom.scan import Header

# Functional group -> what of it goes into a header as it is called there (PS3.3 C.7.6.16, C.8.13.5, C.8.15.3).
GROUPS: Final[Mapping[str, str]] = {
    "FrameContentSequence": "StackID InStackPositionNumber TemporalPositionIndex DimensionIndexValues",
    "CTImageFrameTypeSequence": "FrameType PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique",
    "MRImageFrameTypeSequence": "FrameType PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique "
    "ComplexImageComponent AcquisitionContrast",
    "MRDiffusionSequence": "DiffusionBValue DiffusionDirectionality",
    "MRMetaboliteMapSequence": "MetaboliteMapDescription",
    "MRArterialSpinLabelingSequence": "ASLContext",
    "CardiacSynchronizationSequence": "NominalCardiacTriggerDelayTime NominalPercentageOfCardiacPhase",
    "RespiratorySynchronizationSequence": "NominalPercentageOfRespiratoryPhase",
    "TemporalPositionSequence": "TemporalPositionTimeOffset",
    "ContrastBolusUsageSequence": "ContrastBolusAgentNumber ContrastBolusAgentAdministered ContrastBolusAgentPhase",
    "CTReconstructionSequence": "ReconstructionAlgorithm",
}
_TEXTS: Final = scan.CHARSET_DEPENDENT | {"SpecificCharacterSet"}
_GRADIENT: Final = "DiffusionGradientDirectionSequence"
KEYWORDS: Final = scan.KEYWORDS | {keyword for group in GROUPS.values() for keyword in group.split()}
_OF_THE_OBJECT: Final = (
    "MultienergyCTAcquisition",
    "ConcatenationUID",
    "InConcatenationNumber",
    "ContentQualification",
)


def frame_headers(request: dict[str, Any]) -> dict[str, Any]:
    """Headers of every slice that some files hold.

    request: paths (Part 10 files)
    returns: headers: for each path a list of headers, keyword -> list of text as `scan.scan` gives them, without who
             the patient is; one header for a single-frame object; one per frame of an Enhanced object, in order, each
             with "FrameNumber": ["3"]
    raises:  Refuse if a file or its functional groups can't be read
    """
    found = []
    for path in request["paths"]:
        part = part10.read(path)
        numbers = range(1, part.frames + 1) if is_multi_frame(part) else (0,)
        found.append([_listed(scan.without_identity(header(part, number, KEYWORDS))) for number in numbers])
    return {"headers": found}


def is_multi_frame(part: Part10) -> bool:
    """Whether an object holds frames with functional groups, be it only one."""
    return part.sop_class_uid in codes.MULTI_FRAME


def of(part: Part10) -> MultiFrame:
    """The functional groups of an object, taken apart once.

    raises: Refuse if they can't be read or don't fit the number of frames
    """
    if "multiframe" not in part.known:
        part.known["multiframe"] = MultiFrame.of(part.sop_class_uid, part.sop_instance_uid, part.dataset)
    found: MultiFrame = part.known["multiframe"]
    return found


def view(part: Part10, frame: int) -> Part10:
    """One frame as a single-frame object: `dataset` holds its classic equivalent as raw Explicit VR Little Endian
    elements (functional groups flattened, Number of Frames gone), and `decode.stored_values` of it gives its pixels.

    part:    as `part10.read` gives it; taken apart once, and cheap to view again
    frame:   1..N; 0 gives a single-frame object back as it is
    raises:  Refuse if there is no such frame, or its groups can't be read
    """
    if frame == 0:
        return part
    elements = of(part).as_single(frame)
    return replace(part, dataset=part10.dataset_of({BaseTag(tag): one for tag, one in elements.items()}), frame=frame)


def header(part: Part10, frame: int, keywords: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The header of a slice: text decoded by its character set, patient included.

    part, frame: as of `view`
    raises:      Refuse as `view`
    """
    wanted = frozenset(keywords)
    found = texts(view(part, frame), wanted)
    if frame:
        groups = of(part).groups(frame)
        for name, attributes in GROUPS.items():
            if (group := groups.get(keyword_dict[name])) is not None:
                found |= {word: text for word in attributes.split() if (text := part10.values(group, word))}
        if (diffusion := groups.get(keyword_dict["MRDiffusionSequence"])) is not None:
            found |= _gradient(diffusion)
        if part10.CONTRAST_AGENTS in wanted and part10.items(part.dataset, part10.CONTRAST_AGENTS):
            found |= {part10.CONTRAST_AGENTS: ("item",)}
        found |= {word: text for word in _OF_THE_OBJECT if (text := part10.values(part.dataset, word))}
        found |= {"FrameNumber": (str(frame),), "ImageType": found.get("FrameType", found.get("ImageType", ()))}
    return found


def texts(part: Part10, keywords: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Values of a single-frame object or view, text decoded by its character set."""
    found = part10.header(part, keywords)
    raw = {tag: part10.raw(part.dataset, tag) for tag, (word, _) in scan.KEPT.items() if word in _TEXTS}
    decoded = scan.texts({tag: value for tag, value in raw.items() if value is not None})
    return found | {word: values for word, values in decoded.items() if word in found}


def _gradient(diffusion: Dataset) -> Header:
    for item in part10.items(diffusion, _GRADIENT):
        if direction := part10.values(item, "DiffusionGradientOrientation"):
            return {"DiffusionGradientOrientation": direction}
    return {}


def _listed(found: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {keyword: list(values) for keyword, values in found.items()}
