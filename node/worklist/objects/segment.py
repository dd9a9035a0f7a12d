"""The region of a triage as a Segmentation, behind a switch (DICOM_SPEC 3.1, section 4): one bit for each voxel."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import codes, parametric, part10, provenance, template, triage_codes
from node.dicom.job import Job
from node.dicom.multiframe import PER_FRAME, SHARED
from node.dicom.places import Places, decimal
from node.errors import Refuse
from node.worklist.objects import image_checks
from node.worklist.objects.report import parameters, tracking_identifier, tracking_uid
from node.worklist.objects.work import VOLUME, Work, concept, labelled

FORM: Final = "segment"
FILE_NAME: Final = "segment.dcm"
IMAGE_TYPE: Final = ("DERIVED", "PRIMARY")
LABEL: Final = "AI_ANOMALY"
DESCRIPTION: Final = "Region that deviates from the synthesis; not a diagnosis"
SEGMENT_LABEL: Final = "AI anomaly region"
_DESCRIBED, _CODED, _SOURCES = 0x00082111, 0x00089215, 0x00082112


def segment(work: Work, region: NDArray[np.bool_]) -> Iterator[bytes | memoryview]:
    """The whole file in pieces; every slice has its frame, an empty one, too.

    region: (z, y, x) on the grid of the sources
    raises: Refuse if a slice has no place, or the object would break an assertion (before the first piece)
    """
    head = header(work)
    bits = np.packbits(region.reshape(-1), bitorder="little")
    odd = bits.size % 2
    yield head
    yield struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, bits.size + odd)
    yield bits.data
    yield bytes(odd)


def header(work: Work) -> bytes:
    """Everything but the pixels. Raises Refuse as `segment`."""
    job, sources = replace(work.form(FORM), image_type=IMAGE_TYPE, derivation=triage_codes.SEGMENTING), work.slices
    if not part10.text(sources[0].dataset, "FrameOfReferenceUID"):
        raise Refuse("The sources name no frame of reference, which a segmentation has to lie in.")
    places = Places(job, sources)
    positions = [parametric.position_of(sources, places, index) for index in range(1, places.count + 1)]
    try:
        made = _constructed(work, job, positions)
    except ValueError as error:  # what highdicom does not take; its words may hold values of the source
        raise Refuse("The place of the slices, or a text of the job, is not what a segmentation can have.") from error
    made.Rows, made.Columns = work.shape[1:]
    del made.PixelData
    if "SourceImageSequence" in made:
        del made.SourceImageSequence  # said frame by frame
    organization = job.object_uid(work.study_uid, "segment dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    made.ContentCreatorName = ""  # Type 2: nobody but the network
    joined = labelled(job, sources, FORM, parametric.without_groups(made), VOLUME)
    joined |= provenance.lossy(sources[0])
    images = provenance.Images(job, sources, work.study_uid, places)
    said = {tag: joined.pop(tag) for tag in (_DESCRIBED, _CODED)}
    joined[SHARED] = template.sequence(SHARED, [template.data_set(template.encode(made[SHARED].value[0]))])
    joined[PER_FRAME] = template.sequence(
        PER_FRAME,
        [
            parametric.frame_item(one, position, said | {_SOURCES: images.source_images(index)})
            for index, (one, position) in enumerate(zip(made[PER_FRAME].value, positions, strict=True), start=1)
        ],
    )
    uid = job.object_uid(work.study_uid, FORM)
    head = template.head(uid, triage_codes.SEGMENT.sop_class_uid) + template.data_set(joined)
    if wrong := image_checks.segment(job, part10.parse(head), sources):
        raise Refuse(f"The segmentation breaks what it must hold: {'; '.join(wrong[:5])}.")
    return head


def _constructed(work: Work, job: Job, positions: Sequence[tuple[str, ...]]) -> Dataset:
    """The object as highdicom makes it, of one pixel a frame: its own are put in where they are written."""
    import highdicom

    source = work.slices[0]
    first = source.dataset
    stated = part10.text(first, "SliceThickness")
    thickness = float(stated) if stated else None
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=job.model,
        family=concept(triage_codes.ARTIFICIAL_INTELLIGENCE),
        version=job.model_version,
        source=codes.VENDOR,
        parameters=dict(one.split("=", 1) for one in parameters(work)),
    )
    described = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=SEGMENT_LABEL,
        segmented_property_category=concept(triage_codes.MORPHOLOGICALLY_ABNORMAL),
        segmented_property_type=concept(triage_codes.LESION),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(job, work.study_uid),
        tracking_id=tracking_identifier(job),
        anatomic_regions=[concept(triage_codes.HEAD)],
    )
    made: Dataset = highdicom.seg.Segmentation(
        source_images=[parametric.stand_in(first, source, thickness)],
        pixel_array=np.ones((len(positions), 1, 1), np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[described],
        series_instance_uid="1.2.3",  # this and what follows: see `labelled`
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=1,
        manufacturer="-",
        manufacturer_model_name="-",
        software_versions="-",
        device_serial_number="-",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=[float(text) for text in part10.values(first, "PixelSpacing") or ()],
            slice_thickness=None if thickness is None else float(decimal(thickness)),
        ),
        plane_orientation=highdicom.PlaneOrientationSequence(
            "PATIENT", [float(text) for text in part10.values(first, "ImageOrientationPatient") or ()]
        ),
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", [float(text) for text in one]) for one in positions
        ],
        omit_empty_frames=False,  # some viewers misplace the frames of one that leaves slices out
        content_label=LABEL,
        content_description=DESCRIPTION,
    )
    return made
