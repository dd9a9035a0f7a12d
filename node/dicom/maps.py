"""The maps that go beside derived images as Parametric Maps (DICOM_SPEC 1.1, 3.2): codes and words of each kind."""

from dataclasses import dataclass
from typing import Final

from node.dicom.codes import CODING_SCHEME, PROCESSING_EQUIPMENT, Code
from node.dicom.triage_codes import ANOM_Z, NO_UNITS

SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.1.1.30"
SOP_CLASS_NAME: Final = "Parametric Map"
FORM: Final = "map"
"""What stands for it among the forms of a job's results; its series and object have UIDs of their own by that word."""

IMAGE_TYPE: Final = ("DERIVED", "PRIMARY", "VOLUME", "QUANTITY")
PURPOSE: Final = PROCESSING_EQUIPMENT
UNIT: Final = Code(value="[arb'U]", scheme="UCUM", meaning="arbitrary unit")
"""Values of an MR image have no unit: a map of them is in stored values of the images that it goes with."""


@dataclass(frozen=True, kw_only=True)
class MapKind:
    """The map of one kind of image.

    opening:     words that open Series Description
    label:       Content Label (0070,0080) and LUT Label (0040,9210), at most 16 characters
    explanation: LUT Explanation (0028,3003), at most 64
    signed:      whether its values may be below 0
    unit:        of its values
    step:        of its values, or a round multiple of it where they reach beyond; None: the finest that holds them, in
                 stored values of the images
    """

    series_code: int
    opening: str
    operation: str
    derivation: Code
    quantity: Code
    label: str
    explanation: str
    signed: bool
    unit: Code = UNIT
    step: float | None = None


def _ours(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=CODING_SCHEME, meaning=meaning)


MAPS: Final = {
    "SCE": MapKind(
        series_code=22,
        opening="AI UNCERTAINTY MAP",
        operation="Spread that the network states for each voxel of its synthesis (one standard deviation)",
        derivation=_ours("DL_SPREAD", "Spread of a synthesis, stated by the neural network"),
        quantity=_ours("SYNTH_SD", "Standard deviation of the synthetic image"),
        label="AI_UNCERTAINTY",
        explanation="SD of the synthetic image, in its stored values",
        signed=False,
    ),
    "ZSR": MapKind(
        series_code=32,
        opening="AI ADDED DETAIL MAP",
        operation="What the network added to what the slices measured (null-space part)",
        derivation=Code(value="113062", scheme="DCM", meaning="Pixel by pixel subtraction"),
        quantity=_ours("ADDED_DETAIL", "Null-space part of the super-resolved image"),
        label="AI_ADDED_DETAIL",
        explanation="Thin slice minus what was measured, in stored values",
        signed=True,
    ),
    "PH": MapKind(
        series_code=42,
        opening="AI ANOMALY MAP - NOT FOR DIAGNOSIS",
        operation="Signed deviation of the image from its pseudo-healthy synthesis, in standard deviations",
        derivation=Code(value="113062", scheme="DCM", meaning="Pixel by pixel subtraction"),
        quantity=ANOM_Z,
        label="AI_ANOMALY",
        explanation="Deviation from the synthesis, in standard deviations",
        signed=True,
        unit=NO_UNITS,
        step=0.001,
    ),
}
"""Kind of image -> its map."""
