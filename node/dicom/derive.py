"""Write a derived series: one CT image per source slice, labelled, traceable and byte-identical on every repeat.

Runs in the child. DICOM_SPEC sections 1, 2 and 5 are the rule; `keep` holds what passes from the source, `provenance`
what we say ourselves, `validate` what must hold before a file gets its name.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import codes, decode, keep, part10, provenance, template, uids, validate, wording
from node.dicom.decode import Stored
from node.dicom.job import Job
from node.dicom.part10 import Part10
from node.errors import Refuse
from node.spool import sync_folder, written_aside


def write_series(request: dict[str, Any]) -> dict[str, Any]:
    """Write the derived images of one series.

    request: sources (Part 10 files in geometric order), result (.npy, float32 (z, y, x), HU), out (folder), job
    returns: series_instance_uid, series_description, and instances: sop_instance_uid, sop_class_uid, path, bytes,
             sha256 and source_sop_instance_uid of each, in geometric order
    raises:  Refuse if the result does not fit the sources, or an object breaks an assertion (before it is written)
    """
    job = Job.of(request["job"])
    if wrong := validate.job(job):
        raise Refuse(f"The job can't be written: {'; '.join(wrong)}.")
    paths = [Path(path) for path in request["sources"]]
    sources = [_without_pixels(part10.read(path)) for path in paths]
    voxels = np.load(request["result"], mmap_mode="r")
    _check_result(voxels, sources)
    study_uid = part10.text(sources[0].dataset, "StudyInstanceUID")
    common = template.encode(provenance.common(job, sources, study_uid))
    checks = validate.Series(job=job, sources=sources)
    folder = Path(request["out"])
    folder.mkdir(parents=True, exist_ok=True)
    instances = []
    for index, path in enumerate(paths, start=1):
        source = part10.read(path)
        stored = decode.stored_values(source)
        own = provenance.of_image(job, sources, index, study_uid)
        taken = keep.kept(source.dataset, signed=stored.values.dtype.kind == "i")
        pixels = to_stored(voxels[index - 1], stored)
        uid = str(own.SOPInstanceUID)
        head = template.head(uid)
        body = template.data_set(template.encode(taken), common, template.encode(own))
        if wrong := checks.image(_read_back(head, body), index):
            raise Refuse(
                f"Image {index} of {len(paths)} breaks what a derived image must hold: {'; '.join(wrong[:5])}."
            )
        name = folder / f"{index:05d}.dcm"
        digest, size = _write(name, head, body + template.pixel_header(pixels.nbytes), pixels.data)
        instances.append(
            {
                "sop_instance_uid": uid,
                "sop_class_uid": codes.CT_IMAGE_STORAGE,
                "path": str(name),
                "bytes": size,
                "sha256": digest,
                "source_sop_instance_uid": source.sop_instance_uid,
            }
        )
    sync_folder(folder)
    return {
        "series_instance_uid": job.series_uid(study_uid),
        "series_description": _description(sources[0].dataset, job),
        "instances": instances,
    }


def to_stored(hu: NDArray[np.float32], source: Stored) -> NDArray[Any]:
    """Turn HU into stored values of the source's own scale, clipped to what its bits can hold.

    hu:      (y, x), finite
    returns: (y, x), int16 or uint16 as the source, little endian; padding of the source stands exactly
             where it stood, and no other pixel takes a padding value
    raises:  Refuse if a voxel is not finite
    """
    if wild := int(np.count_nonzero(~np.isfinite(hu))):
        raise Refuse(f"{wild} voxels of a slice are not finite.")
    scaled = hu.astype(np.float64)
    scaled -= source.intercept
    scaled /= source.slope
    np.rint(scaled, out=scaled)
    np.clip(scaled, source.lowest, source.highest, out=scaled)
    values = scaled.astype(source.values.dtype)
    if source.padding is not None:
        _leave_padding(values, source)
        values[source.padding] = source.values[source.padding]
    return np.ascontiguousarray(values)


def _leave_padding(values: NDArray[Any], source: Stored) -> None:
    """Move pixels that by chance took a padding value to the nearest value that is none: they do show something."""
    low, high = source.padding_range
    taken = (values >= low) & (values <= high)
    if not taken.any():
        return
    free = [value for value in (low - 1, high + 1) if source.lowest <= value <= source.highest]
    if not free:
        raise Refuse(f"Padding covers every value from {low} to {high}.")
    middle = (low + high) / 2
    values[taken] = np.where(values[taken] < middle, free[0], free[-1])


def _check_result(voxels: NDArray[Any], sources: list[Part10]) -> None:
    if not sources:
        raise Refuse("There is no source to derive from.")
    first = sources[0].dataset
    shape = (len(sources), *(int(part10.text(first, keyword) or 0) for keyword in ("Rows", "Columns")))
    if voxels.dtype != np.float32 or voxels.shape != shape:
        raise Refuse(f"The result is {voxels.dtype} {voxels.shape}, the sources are float32 {shape}.")
    if any(source.sop_class_uid != codes.CT_IMAGE_STORAGE for source in sources):
        raise Refuse("Only CT images are derived in this version.")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = {part10.text(source.dataset, keyword) for source in sources}
        if len(found) != 1 or "" in found:
            raise Refuse(f"The sources have {len(found - {''})} different values of {keyword}, not one.")
    named = [part10.text(sources[0].dataset, "StudyInstanceUID"), *(source.sop_instance_uid for source in sources)]
    if not all(uids.is_well_formed(uid) for uid in named):
        raise Refuse("A source has a Study or SOP Instance UID that is no UID.")
    if len({source.sop_instance_uid for source in sources}) != len(sources):
        raise Refuse("A source is named twice.")


def _without_pixels(part: Part10) -> Part10:
    """The same instance without its pixels, so that a long series fits into the child's memory."""
    return Part10(
        transfer_syntax=part.transfer_syntax,
        sop_class_uid=part.sop_class_uid,
        sop_instance_uid=part.sop_instance_uid,
        dataset=part.dataset,
        data=b"",
        pixels_at=0,
    )


def _read_back(head: bytes, body: bytes) -> Part10:
    return part10.parse(head + body)


def _description(source: Dataset, job: Job) -> str:
    return wording.text_of(wording.series_description(job.marker, source), source)


def _write(path: Path, head: bytes, body: bytes, pixels: memoryview) -> tuple[str, int]:
    """Write one object whole and synced; the same bytes again when a step runs twice."""
    digest = hashlib.sha256()
    size = 0
    with written_aside(path) as stream:
        for piece in (head, body, pixels.cast("B")):
            digest.update(piece)
            size += stream.write(piece)
    return digest.hexdigest(), size
