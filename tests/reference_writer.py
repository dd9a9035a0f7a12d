"""The slow, obvious writer of derived images: every image on its own, as pydicom data sets.

Tests hold the fast one to it, byte for byte. They share what is said once for a series (`provenance.common`), the table
of what is kept (`keep`) and the words; bytes, order, references, equipment and pixels are made here from scratch.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag

from node.dicom import codes, decode, frames, keep, part10, provenance, template, wording
from node.dicom.job import Job
from node.dicom.source_slices import Source
from tests.dicom_phantom import code, item

_DATE_TIME = re.compile(r"[0-9]{8}([0-9]{2}){0,3}(\.[0-9]{1,6})?([+-][0-9]{4})?")
_SCANNER = (
    "Manufacturer InstitutionName InstitutionAddress StationName InstitutionalDepartmentName ManufacturerModelName "
    "DeviceSerialNumber SoftwareVersions DeviceUID DateOfLastCalibration TimeOfLastCalibration"
)


def write(request: dict[str, Any]) -> list[bytes]:
    """The bytes of every image of a request to `derive.write_series`, in order."""
    job = Job.of(request["job"])
    paths = [Path(path) for path in request["sources"]]
    numbers = request.get("frames") or [0] * len(paths)
    views = [frames.view(part10.read(path), number) for path, number in zip(paths, numbers, strict=True)]
    sources = [Source.of(view, path=path) for view, path in zip(views, paths, strict=True)]
    study_uid = part10.text(sources[0].dataset, "StudyInstanceUID")
    modality = sources[0].modality
    common = provenance.common(job, sources, study_uid, sop_class_uid=codes.CLASSIC[modality])
    for keyword, text in job.elements.items():
        setattr(common, keyword, text)
    voxels = np.load(request["result"])
    made = []
    for index, view in enumerate(views, start=1):
        stored = decode.stored_values(view)
        kept = keep.kept(view.dataset, signed=stored.values.dtype.kind == "i", form=keep.CLASSIC[modality])
        own = of_image(job, sources, index, study_uid)
        image = FileDataset(
            "",
            part10.dataset_of(kept._dict | common._dict | own._dict),
            file_meta=template.file_meta(str(own.SOPInstanceUID), codes.CLASSIC[modality]),
        )
        image.preamble = bytes(128)
        image.add_new(0x7FE00010, "OW", to_stored(voxels[index - 1], stored).tobytes())
        image.set_original_encoding(False, True, image._character_set)
        stream = BytesIO()
        pydicom.dcmwrite(stream, image, enforce_file_format=True)
        made.append(stream.getvalue())
    return made


def to_stored(values: NDArray[np.float32], source: decode.Stored) -> NDArray[Any]:
    """Round and clip in one obvious expression; then the padding."""
    exact = (values.astype(np.float64) - source.intercept) / source.slope
    stored = np.clip(np.rint(exact), source.lowest, source.highest).astype(source.values.dtype)
    if source.padding is not None:
        low, high = source.padding_range
        for value in np.unique(stored[(stored >= low) & (stored <= high)]):
            free = [near for near in (low - 1, high + 1) if source.lowest <= near <= source.highest]
            stored[stored == value] = free[0] if value < (low + high) / 2 else free[-1]
        stored[source.padding] = source.values[source.padding]
    return stored


def of_image(job: Job, sources: list[Source], index: int, study_uid: str) -> Dataset:
    """What one image says of itself."""
    source = sources[index - 1].dataset
    said = Dataset()
    said.SOPInstanceUID = job.instance_uid(study_uid, index)
    said.InstanceNumber = index
    near = [at for at in range(len(sources)) if abs(at - (index - 1)) <= job.z_support]
    near.sort(key=lambda at: (abs(at - (index - 1)), at))
    said.SourceImageSequence = [_reference(sources[at], same_place=at == index - 1) for at in near]
    said.ContributingEquipmentSequence = [
        _scanner(source),
        *(keep.copied(one) for one in part10.items(source, "ContributingEquipmentSequence")),
        _network(job, source),
    ]
    said.LossyImageCompression = part10.text(source, "LossyImageCompression") or "00"
    if said.LossyImageCompression == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            setattr(said, keyword, list(part10.values(source, keyword) or ()))
    if job.cautions:
        said = part10.dataset_of(said._dict | {Tag("ImageComments"): wording.image_comments(job, source)})
    return said


def _reference(source: Source, *, same_place: bool) -> Dataset:
    made = item(
        ReferencedSOPClassUID=source.sop_class_uid,
        ReferencedSOPInstanceUID=source.sop_instance_uid,
        SpatialLocationsPreserved="YES" if same_place else "NO",
        PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
    )
    if source.frame:
        made.ReferencedFrameNumber = source.frame
    return made


def _scanner(source: Dataset) -> Dataset:
    tags = keep.tags(_SCANNER)
    known = {t: e for t, e in source._dict.items() if t in tags and (part10.raw(source, t) or b"").strip(b" \0")}
    made = keep.copied(part10.dataset_of(known))
    if "Manufacturer" not in made:
        made.Manufacturer = "UNKNOWN"
    when = part10.text(source, "AcquisitionDateTime")
    if not when and part10.text(source, "AcquisitionDate"):
        when = part10.text(source, "AcquisitionDate") + part10.text(source, "AcquisitionTime")
    if _DATE_TIME.fullmatch(when):
        made.ContributionDateTime = when
    made.PurposeOfReferenceCodeSequence = [code("109101", "DCM", "Acquisition Equipment")]
    return made


def _network(job: Job, source: Dataset) -> Dataset:
    return item(
        Manufacturer="EXAMPLE VENDOR",
        ManufacturerModelName=job.model,
        SoftwareVersions=[job.model_version, f"sha256:{job.weights_sha256[:20]}"],
        DeviceUID=codes.model_device_uid(job.model, job.model_version, job.weights_sha256),
        ContributionDateTime="".join(wording.local_start(job.started, source)),
        ContributionDescription=job.operation,
        PurposeOfReferenceCodeSequence=[code(job.purpose.value, job.purpose.scheme, job.purpose.meaning)],
    )
