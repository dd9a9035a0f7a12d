"""The map beside derived images: one Parametric Map object that holds all of its slices as frames (PS3.3 A.75).

Runs in the child. highdicom makes the object; what it does not know, or draws from a clock or at random, is put in its
place afterwards (DICOM_SPEC section 4): patient and study as the source has them, times of the job, computed UIDs,
labels, equipment and references as the images of the job have them. Pixels go to disk slice by slice.
"""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom import codes, keep, maps, parametric_checks, part10, provenance, source_slices, template, wording
from node.dicom.codes import Code
from node.dicom.files import Batch
from node.dicom.job import Job
from node.dicom.maps import MapKind
from node.dicom.multiframe import PER_FRAME, SHARED
from node.dicom.places import Places, decimal
from node.dicom.quantized import FORGET_EVERY, HIGHEST, Quantized
from node.dicom.scale import Scales
from node.dicom.source_slices import Source
from node.errors import Refuse
from node.processing.mapped import forget, mapped

FILE_NAME: Final = "map.dcm"
_LONGEST_PIXELS: Final = 0xFFFFFFFE  # of an element with a defined length (PS3.5 7.1)
_GROUPS: Final = frozenset((0x0010, 0x0012, 0x0038))  # patient, clinical trial, visit
# Of the study, the series and the place; the rest of a source describes an image that a map is not.
_KEPT: Final = keep.tags(
    "SpecificCharacterSet StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName "
    "ReferringPhysicianIdentificationSequence ConsultingPhysicianName ConsultingPhysicianIdentificationSequence "
    "TimezoneOffsetFromUTC StudyDescription ProcedureCodeSequence PhysiciansOfRecord "
    "PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy "
    "PhysiciansReadingStudyIdentificationSequence AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence "
    "ReferencedStudySequence BodyPartExamined PatientPosition StudyInstanceUID StudyID FrameOfReferenceUID "
    "PositionReferenceIndicator Laterality RequestAttributesSequence QualityControlImage"
)
_DERIVATION, _POSITION = 0x00089124, 0x00209113


def write_map(request: dict[str, Any]) -> dict[str, Any]:
    """Write the map of one derived series.

    request: sources (Part 10 files in geometric order), frames (as for `write_series`), map (.npy, float32
             (z factor, y, x), in the unit of the result), out (folder), job (that of the images, with marker, Image
             Type, derivation, purpose, operation and Series Number of the map)
    returns: series_instance_uid, series_description, and instances: one, as those of `write_series`, of form "map"
    raises:  Refuse if the map does not fit the sources, is not finite, or breaks an assertion (before it is written)
    """
    job, paths = Job.of(request["job"]), [Path(path) for path in request["sources"]]
    sources = source_slices.read(paths, request.get("frames") or [0] * len(paths))
    values = mapped(request["map"])
    row = _kind(job)
    _check(values, sources, job)
    quantized = Quantized.of(values, signed=row.signed, unit=1.0 if row.step else Scales(sources)[0].slope)
    if row.step:
        quantized = quantized.rounded(row.step)
    study_uid, out = part10.text(sources[0].dataset, "StudyInstanceUID"), Path(request["out"])
    head, body = header(job, sources, study_uid, quantized, quantized.window(values))

    def pieces() -> Iterator[bytes | memoryview]:
        yield head
        yield body + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, values.size * 2)
        for at in range(len(values)):
            if at % FORGET_EVERY == 0:
                forget(values)
            yield quantized.stored(values[at]).data

    with Batch(out) as batch:
        digest, size = batch.write(FILE_NAME, pieces())
    described = wording.series_description(job.marker, sources[0].dataset)
    return {
        "series_instance_uid": job.series_uid(study_uid, maps.FORM),
        "series_description": wording.text_of(described, sources[0].dataset),
        "instances": [
            {
                "form": maps.FORM,
                "sop_instance_uid": job.map_uid(study_uid),
                "sop_class_uid": maps.SOP_CLASS_UID,
                "path": str(out / FILE_NAME),
                "bytes": size,
                "sha256": digest,
                "source_sop_instance_uid": sources[0].sop_instance_uid,
            }
        ],
    }


def header(
    job: Job, sources: Sequence[Source], study_uid: str, quantized: Quantized, window: tuple[float, float]
) -> tuple[bytes, bytes]:
    """File Meta Information with what precedes it, and the data set up to Pixel Data; checked.

    window: centre and width, in stored values
    raises: Refuse if it would break an assertion
    """
    first, places = sources[0].dataset, Places(job, sources)
    positions = [position_of(sources, places, index) for index in range(1, places.count + 1)]
    try:
        made = _constructed(job, sources[0], places, positions, quantized, window)
    except ValueError as error:  # what highdicom does not take; its words may hold values of the source
        raise Refuse("The place of the slices, or a text of the job, is not what a map can have.") from error
    made.Rows, made.Columns = _size(first)
    del made.PixelData
    del made.SourceImageSequence  # said frame by frame
    organization = job.map_dimension_uid(study_uid)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    said = provenance.common(job, sources, study_uid, sop_class_uid=maps.SOP_CLASS_UID, form=maps.FORM)
    said.SOPInstanceUID = job.map_uid(study_uid)
    said.ContentCreatorName = ""  # Type 2: nobody but the network
    own = part10.elements(said) | {Tag("SeriesDescription"): wording.series_description(job.marker, first)}
    joined = template.encode(without_groups(made)) | template.encode(_kept(sources[0], job))
    joined |= template.encode(part10.dataset_of(own)) | provenance.lossy(sources[0])
    images = provenance.Images(job, sources, study_uid, places)
    joined[0x0018A001] = template.sequence(0x0018A001, images.equipment(sources[0]))
    if job.cautions:
        joined[0x00204000] = images.comments(sources[0])
    said_of_it = {tag: joined.pop(tag) for tag in (0x00082111, 0x00089215)}  # goes into each frame's derivation
    joined[SHARED] = template.sequence(SHARED, [template.data_set(template.encode(made[SHARED].value[0]))])
    joined[PER_FRAME] = template.sequence(
        PER_FRAME,
        [
            frame_item(frame, position, said_of_it | {0x00082112: images.source_images(index)})
            for index, (frame, position) in enumerate(zip(made[PER_FRAME].value, positions, strict=True), start=1)
        ],
    )
    head, body = template.head(job.map_uid(study_uid), maps.SOP_CLASS_UID), template.data_set(joined)
    if wrong := parametric_checks.violations(job, part10.parse(head + body), sources):
        raise Refuse(f"The map breaks what it must hold: {'; '.join(wrong[:5])}.")
    return head, body


def _constructed(
    job: Job,
    source: Source,
    places: Places,
    positions: Sequence[tuple[str, ...]],
    quantized: Quantized,
    window: tuple[float, float],
) -> Dataset:
    """The object as highdicom makes it, of one pixel a frame: its own are put in where they are written."""
    import highdicom  # here: half a second, and only those who want maps need to have it

    row, first = _kind(job), source.dataset
    spacing = [float(text) for text in part10.values(first, "PixelSpacing") or ()]
    orientation = [float(text) for text in part10.values(first, "ImageOrientationPatient") or ()]
    thickness = places.finer.spacing_mm if places.finer is not None else _number(first, "SliceThickness")
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=row.label,
        lut_explanation=row.explanation,
        unit=_concept(row.unit),
        value_range=(0, HIGHEST),
        slope=quantized.slope,
        intercept=quantized.intercept,
        quantity_definition=_concept(row.quantity),
    )
    between = places.finer.spacing_mm if places.finer is not None else None  # else measured on the positions
    made: Dataset = highdicom.pm.ParametricMap(
        source_images=[stand_in(first, source, thickness)],
        pixel_array=np.zeros((places.count, 1, 1), np.uint16),
        series_instance_uid="1.2.3",  # this and what follows up to the labels: see `header`
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=1,
        manufacturer="-",
        manufacturer_model_name="-",
        software_versions="-",
        device_serial_number="-",
        # A face can be made of the edges in a map as it can of the images, unless these have none.
        contains_recognizable_visual_features=part10.text(first, "RecognizableVisualFeatures") != "NO",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(window_center=window[0], window_width=window[1]),
        ],
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=spacing,
            slice_thickness=None if thickness is None else float(decimal(thickness)),
            spacing_between_slices=None if between is None else float(decimal(between)),
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", orientation),
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", [float(text) for text in one]) for one in positions
        ],
        content_label=row.label,
        content_description=row.explanation,
        content_qualification="RESEARCH",
        derivation=_concept(job.derivation),
    )
    return made


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def stand_in(first: Dataset, source: Source, thickness: float | None) -> Dataset:
    """What highdicom asks of a source: its place. Names and times are put in from the source's own bytes.

    thickness: mm, of a slice of the map; of two thicknesses highdicom would take that of the source
    """
    made = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(made, keyword, "")
    made.StudyDate = made.StudyTime = None
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2", "1.2.5"
    made.SOPClassUID, made.SOPInstanceUID = codes.CLASSIC[source.modality], source.sop_instance_uid
    made.FrameOfReferenceUID = part10.text(first, "FrameOfReferenceUID")
    made.Rows, made.Columns = _size(first)
    for keyword in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"):
        setattr(made, keyword, list(part10.values(first, keyword) or ()))
    made.SliceThickness = None if thickness is None else float(decimal(thickness))
    return made


def without_groups(made: Dataset) -> Dataset:
    """An object without its functional groups."""
    elements = part10.elements(made)
    return part10.dataset_of({tag: one for tag, one in elements.items() if int(tag) not in (SHARED, PER_FRAME)})


def _kept(source: Source, job: Job) -> Dataset:
    """Patient, study and place as they came, and what of them has to be there, empty if need be."""
    named = {
        tag: element
        for tag, element in part10.elements(source.dataset).items()
        if tag.group in _GROUPS or int(tag) in _KEPT
    }
    form = keep.Form(type_2=keep.ENHANCED.type_2, body_part=keep.form(codes.OUTPUTS[job.kind]).body_part)
    return keep.kept(part10.dataset_of(named), signed=False, form=form)


def frame_item(made: Dataset, position: tuple[str, ...], derivation: dict[int, bytes]) -> bytes:
    """The item of one frame in Per-frame Functional Groups; `derivation`: tag -> element of its Derivation Image."""
    made.PlanePositionSequence[0].ImagePositionPatient = list(position)  # to the digit where the image stands
    groups = template.encode(made)
    groups[_DERIVATION] = template.sequence(_DERIVATION, [template.data_set(derivation)])
    return template.data_set(groups)


def position_of(sources: Sequence[Source], places: Places, index: int) -> tuple[str, ...]:
    """Image Position (Patient) of image 1..N, to the digit as its source has it."""
    if places.finer is not None:
        return places.finer.position(index)
    return tuple(part10.values(sources[places.source(index)].dataset, "ImagePositionPatient") or ())


def _kind(job: Job) -> MapKind:
    if job.kind not in maps.MAPS:
        raise Refuse(f"There is no map of the kind {job.kind}.")
    return maps.MAPS[job.kind]


def _size(first: Dataset) -> tuple[int, int]:
    return int(part10.text(first, "Rows") or 0), int(part10.text(first, "Columns") or 0)


def _number(first: Dataset, keyword: str) -> float | None:
    text = part10.text(first, keyword)
    return float(text) if text else None


def _check(values: NDArray[Any], sources: Sequence[Source], job: Job) -> None:
    if not sources:
        raise Refuse("There is no source that the map goes with.")
    shape = (len(sources) * job.factor, *_size(sources[0].dataset))
    if values.dtype != np.float32 or values.shape != shape:
        raise Refuse(f"The map is {values.dtype} {values.shape}, the images are float32 {shape}.")
    if not part10.text(sources[0].dataset, "FrameOfReferenceUID"):
        raise Refuse("The sources name no frame of reference, which a map has to lie in.")
    if values.size * 2 > _LONGEST_PIXELS:
        raise Refuse(f"{values.size * 2} bytes of pixels are too many for one object.", fix="Set map = false.")
