"""Annexes: the objects that the node makes, how their attributes follow from the source's, codes, private elements."""

from collections.abc import Iterator
from typing import Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from node.conformance import triage
from node.conformance.document import Section, table
from node.conformance.facts import Facts
from node.dicom import codes, keep, maps
from node.dicom.whole import WINDOW_PERCENTILES
from pipelines.pipeline import Pipeline

_PRIVATE: Final = (
    (codes.PRIVATE_WEIGHTS, "LO", "SHA-256 of the weights of the network"),
    (codes.PRIVATE_PARAMETERS, "UT", "Parameters of the job, JSON"),
    (codes.PRIVATE_INPUT, "LO", "Digest of the source pixels"),
    (codes.PRIVATE_GENERATION, "LO", "How often the result was made anew"),
)
# Type 3 attributes that the SOP classes do not list: they make Standard Extended SOP classes (PS3.2 7.3).
_ADDED: Final = ("SyntheticData", "ContentQualification", "PrivateDataElementCharacteristicsSequence")
_NEWER: Final = {"SyntheticData": 0x0008001C}  # than the dictionary of pydicom 3.0


def annexes(facts: Facts) -> tuple[Section, ...]:
    """Annexes A to F of the statement."""
    kinds = {pipeline.gives.kind: pipeline for pipeline in facts.pipelines.values()}
    return (
        Section(
            number="A",
            title="IODs created",
            text=(
                "Every derived image is a new instance in a new series of the source's study. SOP, Series and Device "
                "UIDs are computed (annex E).",
                _image_types(kinds),
                "Modules of the classic CT image are those of PS3.3 A.3: Patient, General Study, Patient Study, "
                "General Series, Frame of Reference, General Equipment, General Acquisition, General Image, General "
                "Reference, Image Plane, Image Pixel, Contrast/Bolus (where the source has it), CT Image, VOI LUT, "
                "SOP Common, Common Instance Reference; those of the classic MR image are those of PS3.3 A.4, with MR "
                "Image in the place of CT Image, and Overlay Plane where the kind has one. An Enhanced CT or MR image "
                "(PS3.3 A.38.1, A.36.2; for destinations with `enhanced = true`, where the source was Enhanced) adds "
                "Enhanced General Equipment, Multi-frame Functional Groups, Multi-frame Dimension, Acquisition Context "
                "and Enhanced CT or MR Image. Where it cannot be written truthfully, the classic images go instead: a "
                "Legacy Converted source, a source without Irradiation Event Identification, a kind that an overlay "
                "marks, for which an Enhanced image has no place.",
                "Implementation-specific values of Image Type are those that begin with "
                f"`{codes.AI_PREFIX}`. Value 1 is DERIVED always; value 2 of classic images is SECONDARY, "
                "of Enhanced images PRIMARY (the only value that PS3.3 permits there).",
                "The added attributes of Type 3 make Standard Extended SOP classes (PS3.2 7.3): "
                f"{', '.join(_named(keyword) for keyword in _ADDED)}, and the private block of annex C. Device UID "
                "(0018,1002) stands in General Equipment and in items of Contributing Equipment Sequence "
                "(0018,A001). No element in the private block is needed to interpret an object.",
                _marks(),
                "A Parametric Map (PS3.3 A.75; for rules with `map = true`) goes beside the images in a series of its "
                f"own. Image and Frame Type `{chr(92).join(maps.IMAGE_TYPE)}`, Synthetic Data YES, unsigned 16 bits, "
                "rescale identity. Slope and intercept of its one Real World Value Mapping (0040,9096) give values in "
                f"the unit of the table; ({maps.UNIT.value}, {maps.UNIT.scheme}, {maps.UNIT.meaning}) means stored "
                "values of the images. Frames stand where the images do and name the same sources.",
                _maps(),
                "Synthetic Data (0008,001C) is YES where content was invented by a network, NO where the network was "
                "shown to keep to what was acquired. NO is a claim of faithfulness that the site's physicist signs. "
                "Content Qualification (0018,9004) is RESEARCH: the node is not a medical device.",
            ),
            parts=(triage.objects(),),
        ),
        Section(
            number="B",
            title="Mapping of attributes from source to derived image",
            text=(
                "What is not named below is copied from the source as the bytes that came, in the source's Specific "
                "Character Set (0008,0005); the node's own texts are ASCII. Where the source is an Enhanced object "
                "and a classic image is written, attributes of functional groups take their classic places.",
                table(("Rule", "Attributes"), _mapping()),
            ),
        ),
        Section(
            number="C",
            title="Private elements",
            text=(
                f"Group {codes.PRIVATE_GROUP:04X}, creator `{codes.PRIVATE_CREATOR}`, declared safe in Private Data "
                "Element Characteristics Sequence (0008,0300). Private elements of the source are dropped.",
                table(("Element", "VR", "Meaning"), ((f"xx{n:02X}", vr, text) for n, vr, text in _PRIVATE)),
            ),
        ),
        Section(
            number="D",
            title="Coded terminology",
            text=(
                f"Private coding scheme `{codes.CODING_SCHEME}`, {codes.CODING_SCHEME_NAME}, "
                f"UID `{codes.CODING_SCHEME_UID}`, declared in Coding Scheme Identification Sequence (0008,0110) of "
                "every object. CID 7203 (extensible) has no concept for these operations.",
                table(("Code Value", "Scheme", "Code Meaning", "Used in"), _codes(kinds)),
            ),
        ),
        Section(
            number="E",
            title="Unique identifiers",
            text=(
                "SOP and Series Instance UIDs are `2.25.` and a UUID of version 5 over kind, Study Instance UID, "
                "model, version, SHA-256 of the weights, SHA-256 of the parameters, digest of the source pixels and "
                "generation: the same work makes the same object. Other weights, parameters or pixels make other "
                "UIDs; a UID never names two different contents. Transaction UIDs of Storage Commitment are random.",
            ),
        ),
        Section(
            number="F",
            title="Networks",
            text=(
                "z-support is how many neighbouring slices on each side shape a derived slice; those are listed in "
                "Source Image Sequence (0008,2112), the co-located one first; of several series, those of T1 and then "
                "the slices of the others that have a part in it. An image between slices (ZSR) lists all of them "
                "within the z-support, nearest first, none of them as Spatial Locations Preserved (0028,135A) YES; "
                "where it was made from the whole volume, all slices.",
                table(
                    ("Pipeline", "Version", "Network", "Version", "Weights (SHA-256)", "z-support"),
                    _networks(facts),
                ),
            ),
        ),
    )


def _image_types(kinds: dict[str, Pipeline]) -> str:
    rows = []
    for kind, row in codes.OUTPUTS.items():
        made_by = kinds[kind].name if kind in kinds else "no rule of this configuration"
        rows.append(
            (
                kind,
                f"`{chr(92).join(row.image_type)}`",
                f"`{chr(92).join(('DERIVED', 'PRIMARY', *row.frame_type))}`",
                "YES" if row.synthetic else "NO",
                f"1000 x source + {row.series_code}",
                f"({row.purpose.value}, {row.purpose.scheme}, {row.purpose.meaning})",
                made_by,
            )
        )
    return table(
        (
            "Kind",
            "Image Type (0008,0008), classic",
            "Image Type, Enhanced",
            "Synthetic Data",
            "Series Number",
            "Purpose of our equipment item",
            "Pipeline",
        ),
        rows,
    )


def _maps() -> str:
    rows = (
        (
            kind,
            f"`{row.opening}`",
            f"1000 x source + {row.series_code}",
            f"({row.quantity.value}, {row.quantity.scheme}, {row.quantity.meaning})",
            f"({row.unit.value}, {row.unit.scheme}, {row.unit.meaning})",
            "above and below 0" if row.signed else "0 and above",
        )
        for kind, row in maps.MAPS.items()
    )
    return table(
        ("Map of", "Opens Series Description (0008,103E)", "Series Number", "Quantity Definition", "Unit", "Values"),
        rows,
    )


def _marks() -> str:
    """What a reader sees of kinds that were not acquired, or not so."""
    rows = (
        (
            kind,
            f"`{row.opening}`" if row.opening else "that of the pipeline",
            "the marker alone" if not row.echoes else "the source's own words follow",
            f"`{row.overlay}`" if row.overlay else "none",
            row.comment or "that of the source",
            row.remark or "-",
        )
        for kind, row in codes.OUTPUTS.items()
    )
    return table(
        (
            "Kind",
            "Opens Series Description (0008,103E)",
            "Behind it",
            "Overlay plane 6000",
            "Opens Image Comments (0020,4000)",
            "Ends Derivation Description (0008,2111)",
        ),
        rows,
    )


def _named(keyword: str) -> str:
    tag = _NEWER.get(keyword) or tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)  # a name that the dictionary does not have is a fault of ours
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _tag(tag: int) -> str:
    return f"{keyword_for_tag(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _mapping() -> Iterator[tuple[str, str]]:
    yield "written anew", ", ".join(_named(keyword) for keyword in keep.REGENERATED.split())
    yield (
        "of the scanner; moved to the first item of Contributing Equipment Sequence",
        ", ".join(_named(keyword) for keyword in keep.EQUIPMENT.split()),
    )
    yield "dropped", ", ".join(_named(keyword) for keyword in keep.DROPPED.split())
    first, last = keep.PERFORMED_STEP.start, keep.PERFORMED_STEP.stop - 1
    yield (
        "dropped",
        f"performed procedure step attributes ({first >> 16:04X},{first & 0xFFFF:04X}) to "
        f"({last >> 16:04X},{last & 0xFFFF:04X}) but RequestAttributesSequence (0040,0275); groups 50xx and 60xx; "
        f"group {keep.SECURITY_GROUP:04X}; private groups",
    )
    yield "dropped in Enhanced images, or said anew", ", ".join(_tag(tag) for tag in sorted(keep.ENHANCED.dropped))
    yield "dropped in classic MR images", ", ".join(_tag(tag) for tag in sorted(keep.CLASSIC["MR"].dropped))
    for name, form in (("CT", keep.CLASSIC["CT"]), ("MR", keep.CLASSIC["MR"]), ("Enhanced", keep.ENHANCED)):
        yield f"present in {name} images, empty where the source has none", ", ".join(map(_named, form.type_2))
    yield (
        "by kind of output",
        "; ".join(f"{kind}: {', '.join(sorted(row.elements))}" for kind, row in codes.OUTPUTS.items() if row.elements),
    )
    for kind, row in codes.OUTPUTS.items():
        if row.lost:
            yield f"dropped in {kind}", ", ".join(map(_named, sorted(row.lost)))
        if row.rescaled:
            low, high = WINDOW_PERCENTILES
            yield (
                f"of the result in {kind}",
                f"{', '.join(_tag(tag) for tag in sorted(keep.WINDOW))}: one window for the series, from "
                f"percentile {low:g} to percentile {high:g} of its voxels, nothing else; BitsStored (0028,0101) and "
                "HighBit (0028,0102): 16 and 15 where the source's bits do not hold the values, else kept",
            )
        if row.finer:
            yield f"of the image in {kind}", ", ".join(_tag(tag) for tag in sorted(keep.PLACE))
        if row.body_part:
            yield f"`{row.body_part}` in {kind} where the source has none", _named("BodyPartExamined")


def _codes(kinds: dict[str, Pipeline]) -> Iterator[tuple[str, str, str, str]]:
    for kind, row in codes.OUTPUTS.items():
        code = row.derivation
        yield code.value, code.scheme, code.meaning, f"Derivation Code Sequence (0008,9215), {kind}"
    for kind, map_ in maps.MAPS.items():
        code, quantity = map_.derivation, map_.quantity
        yield code.value, code.scheme, code.meaning, f"Derivation Code Sequence (0008,9215), map of {kind}"
        yield quantity.value, quantity.scheme, quantity.meaning, f"Quantity Definition (0040,9220), map of {kind}"
    for unit in dict.fromkeys(map_.unit for map_ in maps.MAPS.values()):
        yield unit.value, unit.scheme, unit.meaning, "Measurement Units (0040,08EA) of maps"
    yield from triage.coded()
    source = codes.SOURCE_IMAGE
    yield source.value, source.scheme, source.meaning, "Purpose of Reference Code Sequence (0040,A170), CID 7202"
    for code in (codes.ACQUISITION_EQUIPMENT, codes.PROCESSING_EQUIPMENT, codes.SYNTHESIZING_EQUIPMENT):
        yield code.value, code.scheme, code.meaning, "Contributing Equipment Sequence (0018,A001), CID 7005"


def _networks(facts: Facts) -> Iterator[tuple[object, ...]]:
    for pipeline in facts.pipelines.values():
        spec = facts.specs[pipeline.engine]
        yield pipeline.name, pipeline.version, spec.name, spec.version, f"`{spec.sha256[:20]}`", spec.z_support
