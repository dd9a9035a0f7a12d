"""The capture of a triage: Secondary Capture images that every viewer shows (DICOM_SPEC 3.2).

A page of text first, then the slices that the assessment points at, in geometric order, with the region marked. Who the
patient is stands in the header only: nothing of it is drawn.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import codes, decode, geometry, part10, provenance, template, triage_codes
from node.dicom.job import Job
from node.dicom.places import decimal
from node.dicom.source_slices import Source
from node.dicom.wording import CAUTION, local_start
from node.errors import Refuse
from node.worklist.objects import image_checks, picture
from node.worklist.objects.picture import Picture, Scene
from node.worklist.objects.work import PICTURE, Work, labelled, stand_in
from pipelines.triage import MOST_SLICES, Flag

FORM: Final = "capture"
IMAGE_TYPE: Final = ("DERIVED", "SECONDARY", "OTHER", f"{codes.AI_PREFIX}TRIAGE")
"""Value 4 is the node's own: what opens with it is never taken for a source."""
_PLANE: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_ENDS: Final = (("R", "L"), ("A", "P"), ("F", "H"))  # of the axes of LPS
_OBLIQUE: Final = 0.2  # of a direction: smaller parts of it are not named
_ORIENTATION, _SPACING, _CODES = 0x00200020, 0x00280030, 0x00089215


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image of the capture.

    index:       Instance Number, 1..N
    sources:     what it shows
    orientation: Patient Orientation (0020,0020): towards which side rows and columns run; empty on a page of text
    spacing_mm:  between pixels, both ways; None on a page of text
    """

    index: int
    pixels: Picture
    sources: tuple[Source, ...]
    orientation: tuple[str, ...] = ()
    spacing_mm: float | None = None

    @property
    def file_name(self) -> str:
        return f"capture{self.index:02d}.dcm"


def capture(work: Work, region: NDArray[np.bool_]) -> Iterator[tuple[Shot, bytes]]:
    """The images with their files, one after the other.

    region: (z, y, x) on the grid of the sources
    raises: Refuse if nothing is flagged, a slice has no place or pixels, or an image would break an assertion
    """
    if work.assessment.flag is not Flag.RAISED or not work.assessment.slices:
        raise Refuse("A capture is made of slices that raised a flag; this assessment has none.")
    job = replace(work.form(FORM), image_type=IMAGE_TYPE)
    for shot in shots(work, region):
        yield shot, _file(work, job, shot)


def shots(work: Work, region: NDArray[np.bool_]) -> Iterator[Shot]:
    """Page and slices, drawn."""
    strongest = work.assessment.slices[:MOST_SLICES]
    if not all(0 <= at < len(work.slices) for at in strongest):
        raise Refuse(f"The assessment points at a slice beyond the {len(work.slices)} of its source.")
    yield Shot(index=1, pixels=_page(work), sources=tuple(work.slices[at] for at in sorted(strongest)))
    for number, at in enumerate(sorted(strongest), start=2):
        source = work.slices[at]
        scene, orientation = _scene(source, region[at])
        lines = (
            f"SLICE {at + 1}/{len(work.slices)}{_number(source)}  RANK {strongest.index(at) + 1}/{len(strongest)}",
            f"FLAG RAISED  WINDOW {picture.WINDOW_HU[0]:g}..{picture.WINDOW_HU[1]:g} HU",
        )
        yield Shot(
            index=number,
            pixels=picture.drawn(scene, triage_codes.CAPTION, lines),
            sources=(source,),
            orientation=orientation,
            spacing_mm=scene.mm_per_pixel,
        )


def sides(direction: NDArray[np.float64]) -> str:
    """Letters of the side of the patient that a direction runs towards, the most of it first (PS3.3 C.7.6.1.1.1).

    direction: unit vector, LPS
    """
    parts = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    named = [axis for axis in parts if abs(direction[axis]) > _OBLIQUE]
    return "".join(_ENDS[axis][int(direction[axis] > 0)] for axis in named)


def _scene(source: Source, region: NDArray[np.bool_]) -> tuple[Scene, tuple[str, str]]:
    """A slice to draw, and its Patient Orientation."""
    header = {keyword: part10.values(source.dataset, keyword) or () for keyword in _PLANE}
    try:
        grid = geometry.Grid.of(header)
    except geometry.Unreadable as unreadable:
        raise Refuse(f"A slice to show has no place: {unreadable}.") from unreadable
    hu = decode.plane(part10.read(source.path), source.frame, is_ct=True).voxels
    if hu.shape != region.shape:
        raise Refuse(f"The region is {region.shape}, the slice is {hu.shape}.")
    right, lower = sides(grid.along_columns), sides(grid.along_rows)
    scene = Scene(
        hu=hu,
        region=np.asarray(region),
        gaps_mm=(grid.row_gap_mm, grid.column_gap_mm),
        sides=(sides(-grid.along_columns), right, sides(-grid.along_rows), lower),
    )
    return scene, (right, lower)


def _number(source: Source) -> str:
    """How the scanner numbered the image, where that is a number: readers find it by that."""
    number = part10.text(source.dataset, "InstanceNumber")
    if source.frame:
        return f"  FRAME {source.frame}"
    return f"  IMAGE {number}" if number.isdigit() and len(number) <= 6 else ""


def _page(work: Work) -> Picture:
    assessed, job = work.assessment, work.job
    date, time = local_start(job.started, work.headers[0].dataset)
    slices = " ".join(str(at + 1) for at in assessed.slices)
    series = part10.text(work.headers[0].dataset, "SeriesNumber")
    of_series = f" OF SERIES {series}" if series.isdigit() else ""
    cautions = [f"{CAUTION}: {', '.join(job.cautions)[:120]}"] if job.cautions else []
    paragraphs = [
        f"SCORE {assessed.score or 0.0:.3f}, FLAG RAISED FROM {assessed.threshold:.3f} ON.",
        f"STRONGEST FIRST: SLICES {slices} OF {len(work.headers)}{of_series}, COUNTED FROM THE FIRST POSITION.",
        *cautions,
        f"MODEL {job.model} {job.model_version}, WEIGHTS SHA256 {job.weights_sha256[:20]}.",
        f"COMPUTED {date[:4]}-{date[4:6]}-{date[6:]} {time[:2]}:{time[2:4]}:{time[4:6]}.",
        "AUTOMATED RESULT FOR RESEARCH. NOT A DIAGNOSIS. NOT CHECKED BY A PERSON. READ THE ORIGINAL IMAGES: THE "
        "CONTOUR SHOWS WHERE THE STUDY DIFFERS FROM WHAT THE NETWORK EXPECTS; WHAT IS NOT MARKED IS NOT CLEARED.",
    ]
    return picture.page(triage_codes.CAPTION, "FLAG RAISED", paragraphs)


def _file(work: Work, job: Job, shot: Shot) -> bytes:
    uid = job.object_uid(work.study_uid, FORM, shot.index)
    made = _constructed(work, shot)
    made.Rows, made.Columns = shot.pixels.shape[:2]
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = local_start(job.started, work.headers[0].dataset)
    made.ConversionType, made.BurnedInAnnotation = "WSD", "NO"  # no identity is drawn (PS3.3 C.7.6.1)
    joined = labelled(job, work.slices, FORM, made, PICTURE, index=shot.index)
    joined.pop(_CODES, None)  # how the pseudo-healthy image came to be, not this one
    joined |= provenance.lossy(shot.sources[0])
    joined[_ORIENTATION] = template.element(_ORIENTATION, "CS", "\\".join(shot.orientation))
    if shot.spacing_mm is not None:
        joined[_SPACING] = template.element(_SPACING, "DS", "\\".join([decimal(shot.spacing_mm)] * 2))
    joined[0x00082112] = template.sequence(0x00082112, [_source(one) for one in shot.sources])
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, shot.pixels.nbytes) + shot.pixels.tobytes()
    head = template.head(uid, triage_codes.CAPTURE.sop_class_uid) + template.data_set(joined)
    if wrong := image_checks.capture(job, part10.parse(head + pixels), work.slices, shot.sources, index=shot.index):
        raise Refuse(f"The capture breaks what it must hold: {'; '.join(wrong[:5])}.")
    return head + pixels


def _constructed(work: Work, shot: Shot) -> Dataset:
    """The object as highdicom makes it, of one pixel and lying anywhere: see `_file`."""
    import highdicom

    made: Dataset = highdicom.sc.SCImage.from_ref_dataset(
        ref_dataset=stand_in(work.headers[0]),
        pixel_array=np.zeros((1, 1, 3), np.uint8),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid="1.2.3",
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=shot.index,
        manufacturer="-",
        patient_orientation=("L", "P"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    del made.PixelData
    return made


def _source(source: Source) -> bytes:
    """An item of Source Image Sequence; a slice that was drawn at another size does not stand where it stood."""
    element = template.element
    code = template.data_set(template.encode(provenance.code_item(codes.SOURCE_IMAGE)))
    return (
        element(0x00081150, "UI", source.sop_class_uid)
        + element(0x00081155, "UI", source.sop_instance_uid)
        + (element(0x00081160, "IS", str(source.frame)) if source.frame else b"")
        + element(0x0028135A, "CS", "NO")
        + template.sequence(0x0040A170, [code])
    )
