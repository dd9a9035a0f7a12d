"""Write what a job made, labelled, traceable and byte-identical on every repeat.

Runs in the child. DICOM_SPEC sections 1, 2 and 5 are the rule; `keep` holds what passes from the source, `provenance`
what we say ourselves, `validate` what must hold before a file gets its name; `classic` and `enhanced` are two forms.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node.dicom import codes, enhanced, part10, source_slices, uids, validate, wording
from node.dicom.classic import ClassicSeries, pixel_element, stored
from node.dicom.files import Batch
from node.dicom.job import Job
from node.dicom.scale import Scales
from node.dicom.source_slices import Source
from node.dicom.whole import Whole
from node.errors import Refuse
from node.processing.mapped import forget, mapped

_FORGET_EVERY: Final = 16  # slices after which mapped pages are given back
_MOST_OPEN: Final = 2
_sources: Final[dict[str, tuple[Source, ...]]] = {}
_series: Final[dict[str, tuple[Job, ClassicSeries]]] = {}
"""Those that were asked for last: a series that is written range by range reads its sources once."""


def write_series(request: dict[str, Any]) -> dict[str, Any]:
    """Write the derived images of one series, or of a range of it.

    request: sources (Part 10 files in geometric order), frames (parallel; 0 for a single-frame object; all 0 if
             absent), result (.npy, float32 (z factor, y, x), factor of the job), padding (.npy, bool (z, y, x), of the
             decoder; optional), out (folder), job, forms ("classic", "enhanced"; classic if absent), range ([first,
             last) of the result, from 0; all if absent). Only the slices of the range are looked at, so that later ones
             may still be computed, unless the kind's window is that of its own voxels: then all have to be there. The
             enhanced form is written by the request whose range ends with the last slice
    returns: series_instance_uid and series_description; series_instance_uids of each form; instead, why there is only
             the classic form though the enhanced one was asked for (empty else); and instances: form,
             sop_instance_uid, sop_class_uid, path, bytes, sha256 and source_sop_instance_uid of each, in geometric
             order. Every file named is durable under its name
    raises:  Refuse if the result does not fit the sources, or an object breaks an assertion (before it is written)
    """
    voxels = mapped(request["result"])
    padding = mapped(request["padding"]) if request.get("padding") else None
    job, slices, series = _opened(request, voxels, padding)
    _check_result(voxels, padding, slices, job.factor)
    total = series.places.count
    first, last = request.get("range") or (0, total)
    if not 0 <= first < last <= total:
        raise Refuse(f"There is no range from {first} to {last} in {total} slices.")
    study_uid = part10.text(slices[0].dataset, "StudyInstanceUID")
    instances = []
    forms, instead = _forms(request.get("forms") or ["classic"], job, slices)
    planes = np.asarray(voxels)  # slices of a memmap cost ten times those of an array
    with Batch(Path(request["out"])) as batch:
        for index in range(first + 1, last + 1) if "classic" in forms else ():
            if index % _FORGET_EVERY == 0:
                forget(voxels, padding)
            head, body = series.header(index)
            at = series.places.source(index)
            nothing = None if padding is None else padding[at]
            name = f"{index:05d}.dcm"
            digest, size = batch.write(
                name, (head, body, *pixel_element(series.pixels(index, planes[index - 1], nothing)))
            )
            instances.append(
                {
                    "form": "classic",
                    "sop_instance_uid": job.instance_uid(study_uid, index),
                    "sop_class_uid": series.sop_class_uid,
                    "path": str(Path(request["out"]) / name),
                    "bytes": size,
                    "sha256": digest,
                    "source_sop_instance_uid": slices[at].sop_instance_uid,
                }
            )
        if "enhanced" in forms and last == total:
            instances.append(_enhanced(series, voxels, padding, batch, Path(request["out"])))
    header = slices[0].dataset
    return {
        "series_instance_uid": job.series_uid(study_uid),
        "series_instance_uids": {form: job.series_uid(study_uid, form) for form in forms},
        "instead": instead,
        "series_description": wording.text_of(
            wording.series_description(job.marker, header, echoes=codes.OUTPUTS[job.kind].echoes), header
        ),
        "instances": instances,
    }


def _forms(wanted: list[str], job: Job, slices: tuple[Source, ...]) -> tuple[list[str], str]:
    """The forms to write, and why the classic one takes the place of the enhanced one where it does."""
    if not wanted or not set(wanted) <= {"classic", "enhanced"}:
        raise Refuse(f"{', '.join(wanted) or 'nothing'} is no form of a derived series.")
    if "enhanced" in wanted and (reason := enhanced.lacking(job, slices)):
        return ["classic"], reason
    return wanted, ""


def _enhanced(
    series: ClassicSeries,
    voxels: NDArray[np.float32],
    padding: NDArray[np.bool_] | None,
    batch: Batch,
    out: Path,
) -> dict[str, Any]:
    job, slices = series.job, series.sources
    scales, scratch = Scales(slices, stated=True, whole=series.whole), np.empty(voxels.shape[1:])

    def pixels(index: int) -> NDArray[Any]:
        if index % _FORGET_EVERY == 0:
            forget(voxels, padding)
        at = series.places.source(index)
        nothing = None if padding is None else padding[at]
        return stored(slices[at], scales[at], voxels[index - 1], nothing, scratch)

    study_uid = part10.text(slices[0].dataset, "StudyInstanceUID")
    return {
        "form": "enhanced",
        "path": str(out / enhanced.FILE_NAME),
        "source_sop_instance_uid": slices[0].sop_instance_uid,
        **enhanced.write(job, slices, study_uid, pixels, batch, whole=series.whole),
    }


def _opened(
    request: dict[str, Any], voxels: NDArray[np.float32], padding: NDArray[np.bool_] | None
) -> tuple[Job, tuple[Source, ...], ClassicSeries]:
    """Job and sources of a request; known ones if it names the same job and the same, unchanged files."""
    paths = [Path(path) for path in request["sources"]]
    frames = request.get("frames") or [0] * len(paths)
    stats = [path.stat() for path in dict.fromkeys(paths)]
    files = _digest(request["sources"], frames, [(s.st_ino, s.st_size, s.st_mtime_ns) for s in stats])
    key = _digest(files, request["job"])
    if (row := codes.OUTPUTS.get(request["job"].get("kind"))) is not None and row.rescaled:
        made = Path(request["result"]).stat()  # another result has another window
        key = _digest(key, request["result"], made.st_ino, made.st_size, made.st_mtime_ns)
    if key not in _series:
        job = Job.of(request["job"])
        if wrong := validate.job(job):
            raise Refuse(f"The job can't be written: {'; '.join(wrong)}.")
        if files not in _sources:
            _remember(_sources, files, source_slices.read(paths, frames))
        slices = _sources[files]
        _check_sources(slices, job)
        _check_result(voxels, padding, slices, job.factor)
        whole = Whole.of(voxels, padding, job.factor) if codes.OUTPUTS[job.kind].rescaled else None
        series = ClassicSeries(job, slices, part10.text(slices[0].dataset, "StudyInstanceUID"), whole)
        _remember(_series, key, (job, series))
    job, series = _series[key]
    return job, tuple(series.sources), series


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _remember(known: dict[str, Any], key: str, what: object) -> None:
    while len(known) >= _MOST_OPEN:
        del known[next(iter(known))]
    known[key] = what


def _check_result(voxels: NDArray[Any], padding: NDArray[Any] | None, slices: tuple[Source, ...], factor: int) -> None:
    first = slices[0].dataset
    shape = (len(slices), *(int(part10.text(first, keyword) or 0) for keyword in ("Rows", "Columns")))
    if voxels.dtype != np.float32 or voxels.shape != (len(slices) * factor, *shape[1:]):
        finer = f", {factor} for one" if factor != 1 else ""
        raise Refuse(f"The result is {voxels.dtype} {voxels.shape}, the sources are float32 {shape}{finer}.")
    if padding is not None and (padding.dtype != np.bool_ or padding.shape != shape):
        raise Refuse(f"The padding is {padding.dtype} {padding.shape}, the sources are {shape}.")


def _check_sources(slices: tuple[Source, ...], job: Job) -> None:
    if not slices:
        raise Refuse("There is no source to derive from.")
    modality = codes.OUTPUTS[job.kind].modality
    if any(source.modality != modality for source in slices):
        raise Refuse(f"The sources are not all {modality}, which {job.kind} is made from.")
    if len({source.sop_class_uid for source in slices}) != 1:
        raise Refuse("The sources are of several SOP classes.")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        found = {part10.text(source.dataset, keyword) for source in slices}
        if len(found) != 1 or "" in found:
            raise Refuse(f"The sources have {len(found - {''})} different values of {keyword}, not one.")
    named = [part10.text(slices[0].dataset, "StudyInstanceUID"), *(source.sop_instance_uid for source in slices)]
    if not all(uids.is_well_formed(uid) for uid in named):
        raise Refuse("A source has a Study or SOP Instance UID that is no UID.")
    if len({(source.sop_instance_uid, source.frame) for source in slices}) != len(slices):
        raise Refuse("A source is named twice.")
    if "ContrastBolusAgent" in codes.OUTPUTS[job.kind].lost and any(
        part10.text(source.dataset, "ContrastBolusAgent") or part10.items(source.dataset, "ContrastBolusAgentSequence")
        for source in slices
    ):
        raise Refuse("A source was acquired with a contrast agent.", fix="Send the series from before it was given.")
    if modality == "MR" and not all(
        part10.text(source.dataset, keyword) for source in slices for keyword in ("ScanningSequence", "SequenceVariant")
    ):
        raise Refuse("A source does not say by which pulse sequence it was acquired, which an MR image has to.")
