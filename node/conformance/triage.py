"""What the statement says of the result objects of a triage (DICOM_SPEC section 3)."""

from collections.abc import Iterator
from typing import Final

from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.dicom import codes, maps, triage_codes
from node.dicom.codes import Code

_WHEN: Final = {
    "report": "always: flag raised, flag not raised, not analysable",
    "capture": "flag raised",
    "keys": "flag raised",
    "segment": "`worklist.objects` names `segmentation`, and something was analysed",
    "rejection": "a result is withdrawn",
}


def triages(facts: Facts) -> bool:
    """Whether a rule of this configuration triages."""
    return any(pipeline.triage is not None for pipeline in facts.pipelines.values())


def created(facts: Facts) -> set[str]:
    """The classes that a triage makes in this configuration, but that of its map."""
    wanted = [form for form in triage_codes.FORMS if form != "segment" or form in facts.settings.worklist.forms]
    return {triage_codes.FORMS[form].sop_class_uid for form in wanted} if triages(facts) else set()


def objects() -> Section:
    """The part of annex A on triage."""
    row = codes.OUTPUTS[triage_codes.KIND]
    return Section(
        title="Result objects of a triage",
        text=(
            "Each form is a series of its own in the source's study. Patient and study are those of the source, as the "
            "bytes that came. SOP and Series Instance UIDs are computed (annex E) with the form in their parts; so are "
            "Tracking and Dimension Organization UIDs.",
            table(("Form", "SOP Class", "Modality", "Series Number", "Series Description (0008,103E)", "Written when"),
                  _forms()),
            f"The map is a Parametric Map, Series Number 1000 x source + {maps.MAPS[triage_codes.KIND].series_code}, "
            f"of signed z-values in steps of {maps.MAPS[triage_codes.KIND].step:g} (or 2, 5, 10, ... times that where "
            "they reach beyond), stored 32768 for 0. The pseudo-healthy images are those of the kind "
            f"{triage_codes.KIND} above ({row.overlay}). Map, segmentation and pseudo-healthy images are written only "
            "where `worklist.objects` names them, and never of a study that was not analysable.",
            "Synthetic Data (0008,001C) is YES in every object of a result that was computed from the pseudo-healthy "
            "image, the report included; NO in the report of a study that was not analysable, and in a rejection note. "
            f"Value 4 of Image Type of a capture is `{codes.AI_PREFIX}TRIAGE`; our Device UID stands in all of them, "
            "so that none is taken for a source.",
            "Secondary Capture: RGB of 8 bits, Conversion Type WSD, a page of text and at most 8 slices, each with the "
            f"words `{triage_codes.CAPTION}`, the contour of the region, letters of the patient's sides and a scale "
            "bar; Pixel Spacing is that of the picture. No identity is drawn: Burned In Annotation NO.",
            "Key Object Selection: (113000, DCM, Of Interest) with the images of the capture and the original slice of "
            f"the strongest finding; description `{triage_codes.KEYS_DESCRIPTION}` Rejection note: "
            f"{' or '.join(_code(code) for code in triage_codes.REJECTED.values())}, the former with "
            f"{_code(triage_codes.TITLE_MODIFIER)} = {_code(triage_codes.QUALITY_REASON)}, over its own objects.",
            "Comprehensive 3D SR, TID 1500, Completion COMPLETE, Preliminary PRELIMINARY, Verification UNVERIFIED. "
            "Content:",
            table(("Concept", "Value", "Occurs"), _report()),
        ),
    )  # fmt: skip


def coded() -> Iterator[tuple[str, str, str, str]]:
    """Rows of annex D: our codes first."""
    for code, where in (
        (triage_codes.ANOM_TRIAGE, "Finding (121071, DCM) of a triage report"),
        (triage_codes.ANOM_SCORE, "NUM of a triage report"),
        (triage_codes.TRIAGE_FLAG, "CODE of a triage report; OBX-3 of its HL7 message"),
        *((code, "value of TRIAGE_FLAG") for code in triage_codes.FLAGS.values()),
        (triage_codes.PROBABILITY, "NUM of a triage report"),
        (triage_codes.ARTIFICIAL_INTELLIGENCE, "Algorithm Family (111000, DCM), CID 7162"),
        (triage_codes.CT_HEAD, "Procedure Reported (121058, DCM)"),
        (triage_codes.HEAD, "Finding Site (363698007, SCT); Anatomic Region of the segmentation"),
        (triage_codes.OF_INTEREST, "title of the key objects, CID 7010"),
        *((code, "title of a rejection note, CID 7010") for code in triage_codes.REJECTED.values()),
        (triage_codes.SEGMENTING, "Derivation Code Sequence (0008,9215) of the segmentation"),
        (triage_codes.MORPHOLOGICALLY_ABNORMAL, "Segmented Property Category (0062,0003)"),
        (triage_codes.LESION, "Segmented Property Type (0062,000F)"),
    ):
        yield code.value, code.scheme, code.meaning, where


def _forms() -> Iterator[tuple[str, str, str, str, str, str]]:
    for form, row in triage_codes.FORMS.items():
        number = f"1000 x source + {row.series_code}"
        yield form, row.sop_class_name, row.modality, number, f"`{row.marker}`", _WHEN[form]


def _report() -> Iterator[tuple[str, str, str]]:
    yield "Title", _code(triage_codes.REPORT_TITLE), "1"
    yield "Observer (121005, 121012 to 121016, DCM)", "Device: UID, name, manufacturer, model, serial number", "1"
    yield "Procedure Reported (121058, DCM)", _code(triage_codes.CT_HEAD), "1"
    yield "Tracking Identifier and UID (112039, 112040, DCM)", "of the finding, computed", "1"
    yield "Finding (121071, DCM)", _code(triage_codes.ANOM_TRIAGE), "1"
    yield "Finding Site (363698007, SCT)", _code(triage_codes.HEAD), "1"
    yield "Algorithm (111001, 111003, 122405, 111000, DCM)", "name, version, manufacturer, family of the network", "1"
    yield "Algorithm Parameters (111002, DCM)", "threshold; SHA-256 of the weights; calibration; what a rule chose", "4"
    yield _code(triage_codes.ANOM_SCORE), "0 to 1, (1, UCUM, no units)", "1, none if not analysable"
    yield _code(triage_codes.PROBABILITY), "the same, where the score is calibrated", "0 or 1"
    flags = ", ".join(f"{code.value} ({code.meaning})" for code in triage_codes.FLAGS.values())
    yield _code(triage_codes.TRIAGE_FLAG), flags, "1"
    yield _code(triage_codes.COMMENT), "why nothing could be analysed", "1-n if not analysable"
    yield "Source of Measurement (121112, DCM)", "every source image, with frame numbers of Enhanced ones", "1-n"


def _code(code: Code) -> str:
    return f"({code.value}, {code.scheme}, {code.meaning})"
