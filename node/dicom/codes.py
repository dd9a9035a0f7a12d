"""Codes and names that stand in our objects; the placeholders of DICOM_SPEC live here and nowhere else."""

from dataclasses import dataclass

from node.dicom.uids import duid

VENDOR = "EXAMPLE VENDOR"
PRODUCT = "imaging-node"
CODING_SCHEME = "99GENAI"
CODING_SCHEME_UID = duid("coding scheme", CODING_SCHEME)
CODING_SCHEME_NAME = "Generative imaging codes"

PRIVATE_GROUP = 0x0099
PRIVATE_CREATOR = "EXAMPLE VENDOR GENAI 1.0"
PRIVATE_WEIGHTS, PRIVATE_PARAMETERS, PRIVATE_INPUT, PRIVATE_GENERATION = 0x01, 0x02, 0x03, 0x04

# PS3.5 B.2 discourages 2.25 here; it waits for an organisation's own root (DICOM_SPEC section 7).
IMPLEMENTATION_CLASS_UID = duid("implementation class", PRODUCT)
IMPLEMENTATION_VERSION_NAME = "IMAGING_NODE_1"  # SH, at most 16 characters

DEVICE_UID = duid("device", VENDOR, PRODUCT)
"""Device UID (0018,1002) of the node as a product: one value everywhere, so that the loop guard knows it.
The Device Serial Number tells installations apart."""

AI_PREFIX = "AI_"  # opens value 4 of Image Type in all that the node makes
MODALITIES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
}
"""Storage SOP classes that a pipeline can take, and the modality that each one implies."""

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
CLASSIC = {"CT": CT_IMAGE_STORAGE, "MR": "1.2.840.10008.5.1.4.1.1.4"}
"""Modality -> the single-frame storage class that is written for it."""
ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
"""Modality -> the multi-frame storage class that is written where the source was of that class."""
MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR",
}


IMAGE_CLASSES = MODALITIES | {uid: "MR" if "MR" in name else "CT" for uid, name in MULTI_FRAME.items()}
"""Every storage class that can be a source, and its modality."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 8.1): Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


SOURCE_IMAGE = Code(value="121322", scheme="DCM", meaning="Source image for image processing operation")  # CID 7202
ACQUISITION_EQUIPMENT = Code(value="109101", scheme="DCM", meaning="Acquisition Equipment")  # CID 7005
PROCESSING_EQUIPMENT = Code(value="109102", scheme="DCM", meaning="Processing Equipment")
SYNTHESIZING_EQUIPMENT = Code(value="109100", scheme="DCM", meaning="Synthesizing Equipment")


def model_device_uid(model: str, version: str, weights_sha256: str) -> str:
    """Device UID of one version of one network; retraining changes it."""
    return duid("model", model, version, weights_sha256)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One row of DICOM_SPEC 1.1: what a kind of derived image has to say of itself.

    series_code: Series Number = 1000 * source + code
    modality:    of its sources, and its own
    frame_type:  values 3 and 4 of Frame Type (0008,9007), DICOM_SPEC 1.7
    opening:     words that its marker has to begin with, which open Series Description
    echoes:      whether the source's own Series Description follows the marker; it would say of a synthetic image
                 what is true of the acquired one only
    elements:    keywords of what the job says differently from its source (DICOM_SPEC 1.5)
    lost:        keywords of what its source may say and it must not
    rescaled:    its intensities are others than its source's: the window is that of its own voxels, and Bits Stored
                 grows where they need it
    finer:       its slices lie between those of its source: position, location, thickness and spacing are its own
    synthesis:   shows what nobody acquired (NETWORKS D6): it goes only where a destination says that it takes that
    overlay:     words in overlay plane 6000; "" without one
    comment:     sentences that Image Comments (0020,4000) says before the source's own
    remark:      sentence that ends Derivation Description (0008,2111)
    body_part:   Body Part Examined (0018,0015) where the source has none; "" where the node does not know
    measured:    word that the job's note on the network has to contain, for a figure that it owes the reader
    """

    series_code: int
    image_type: tuple[str, str, str, str]
    synthetic: bool
    derivation: Code
    purpose: Code
    modality: str = "CT"
    frame_type: tuple[str, str] = ("VOLUME", "NONE")
    opening: str = ""
    echoes: bool = True
    elements: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    rescaled: bool = False
    finer: bool = False
    synthesis: bool = False
    overlay: str = ""
    comment: str = ""
    remark: str = ""
    body_part: str = ""
    measured: str = ""


MARK = "SYNTHETIC - AI"
"""The words in the overlay plane of images that show what nobody acquired (DICOM_SPEC 1.1)."""

_CONTRAST = (
    "ContrastBolusAgent ContrastBolusAgentSequence ContrastBolusAdministrationRouteSequence ContrastBolusRoute "
    "ContrastBolusVolume ContrastBolusStartTime ContrastBolusStopTime ContrastBolusTotalDose "
    "SyringeCounts ContrastFlowRate ContrastFlowDuration ContrastBolusIngredient ContrastBolusIngredientConcentration "
    "ContrastBolusAgentNumber ContrastBolusIngredientCodeSequence ContrastAdministrationProfileSequence "
    "ContrastBolusUsageSequence ContrastBolusAgentAdministered ContrastBolusAgentDetected ContrastBolusAgentPhase "
    "ContrastBolusIngredientOpaque ContrastBolusT1Relaxivity"
)
CONTRAST = frozenset(_CONTRAST.split())
"""All that an image can say of a contrast agent that was given (PS3.3 C.7.6.4, C.7.6.4b)."""


def _ours(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=CODING_SCHEME, meaning=meaning)


OUTPUTS = {
    "DN": Output(
        series_code=11,
        image_type=("DERIVED", "SECONDARY", "AXIAL", "AI_DENOISE"),
        synthetic=False,
        derivation=_ours("DL_NR", "Noise reduction by neural network"),
        purpose=PROCESSING_EQUIPMENT,
    ),
    "KC": Output(
        series_code=12,
        image_type=("DERIVED", "SECONDARY", "AXIAL", "AI_KERNEL"),
        synthetic=False,
        derivation=_ours("DL_KC", "Reconstruction kernel conversion by neural network"),
        purpose=PROCESSING_EQUIPMENT,
        elements=frozenset({"ConvolutionKernel", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"}),
    ),
    "SCE": Output(
        series_code=21,
        image_type=("DERIVED", "SECONDARY", "OTHER", "AI_SYNTH_CE"),
        synthetic=True,
        derivation=_ours("DL_SYNTH_CE", "Synthesis of post-contrast image by neural network"),
        purpose=SYNTHESIZING_EQUIPMENT,
        modality="MR",
        frame_type=("T1", "AI_SYNTH_CE"),
        opening="SYNTHETIC CE T1 (AI) NOT ACQUIRED",
        echoes=False,
        lost=CONTRAST,
        rescaled=True,
        synthesis=True,
        overlay=MARK,
        comment="SYNTHETIC image, computed by a neural network and not acquired. No contrast agent was administered.",
        remark="No contrast agent was administered.",
        body_part="BRAIN",
    ),
    "ZSR": Output(
        series_code=31,
        image_type=("DERIVED", "SECONDARY", "OTHER", "AI_SUPERRES_Z"),
        synthetic=True,
        derivation=Code(value="113085", scheme="DCM", meaning="Spatial resampling"),
        purpose=SYNTHESIZING_EQUIPMENT,
        modality="MR",
        frame_type=("TOF", "RESAMPLED"),
        opening="AI SUPER-RES Z",
        lost=frozenset({"InStackPositionNumber", "DimensionIndexValues"}),
        rescaled=True,
        finer=True,
        remark="Detail between acquired slices is estimated.",
        measured="FWHM",
    ),
    "PH": Output(
        series_code=41,
        image_type=("DERIVED", "SECONDARY", "AXIAL", "AI_PSEUDOHEALTH"),
        synthetic=True,
        derivation=_ours("DL_PH", "Synthesis of pseudo-healthy image by neural network"),
        frame_type=("VOLUME", "AI_PSEUDOHEALTH"),
        purpose=SYNTHESIZING_EQUIPMENT,
        opening="SYNTHETIC PSEUDO-HEALTHY (AI)",
        echoes=False,
        synthesis=True,
        overlay=MARK,
        comment="SYNTHETIC image, computed by a neural network. It does not show this patient.",
        body_part="HEAD",
    ),
}
"""The kinds that `derive` writes: images on the grid of their sources, or between its slices."""

SYNTHESIS = frozenset(kind for kind, row in OUTPUTS.items() if row.synthesis)
"""Kinds that go only to destinations with `synthetic = true`."""

PRIMARY_ALLOWED = frozenset({"DN", "KC"})  # DICOM_SPEC 1.1: a site may ask for PRIMARY as value 2 of these only
