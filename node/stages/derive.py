"""Derive: a checked result becomes DICOM objects on disk, valid, with stable UIDs, made in the child process."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engines.engine import EngineSpec
from node.child import Child
from node.dicom import codes, maps, wording
from node.errors import Refuse
from node.prepared import Prepared
from pipelines.pipeline import Images, Pipeline
from pipelines.report import Report

_LONGEST_PART = 20  # characters of Series Description
_LARGEST_SERIES_NUMBER = 2**31 - 1  # PS3.5 6.2, VR IS


def series_number(source: int | None, code: int, taken: set[int]) -> int:
    """1000·source + code, capped to VR IS and moved on where the study has that number already (DICOM_SPEC §1.5)."""
    wanted = 1000 * (source or 0) + code
    if not 0 < wanted <= _LARGEST_SERIES_NUMBER:
        wanted = code
    while wanted in taken:
        wanted += 100  # keeps the last two digits, which say what the series is
    return wanted


def parameters(pipeline: Pipeline, spec: EngineSpec, settled: Mapping[str, Any]) -> dict[str, Any]:
    """What shaped the result besides weights and input; part of the derived UIDs. `settled`: of the job."""
    return {"pipeline": pipeline.name, "version": pipeline.version, "strength": 1.0, "engine": spec.name, **settled}


def marker(gives: Images, part: str, *, caution: bool) -> str:
    """The words that open Series Description: what it is, of which part of a set ("all": of the whole), how sure.

    part: label of the part, "EchoTime=4.6": of several parts the reader sees their values
    """
    values = ",".join(one.partition("=")[2] for one in part.split(",") if "=" in one)[:_LONGEST_PART]
    return " ".join([gives.marker, *([f"[{values}]"] if values else []), *([wording.CAUTION] if caution else [])])


def spacing_mm(prepared: Prepared, factor: int) -> str:
    """Distance of the result's slices along the stack, mm, in three digits: "1.25"."""
    step = [row[0] for row in prepared.affine[:3]]
    return f"{math.hypot(*step) / factor:.3g}"


def derive(
    child: Child,
    prepared: Prepared,
    *,
    result: Path,
    out: Path,
    pipeline: Pipeline,
    spec: EngineSpec,
    forms: Sequence[str] = ("classic",),
    slices: tuple[int, int] | None = None,
    job: Mapping[str, Any],
    report: Mapping[str, Any],
    node: Mapping[str, str],
) -> dict[str, Any]:
    """Write the derived series into `out`.

    forms:   "classic" (one image for each slice), "enhanced" (one object of all; sources have to be Enhanced)
    slices:  [first, last) of those to write now, from 0; all if None. The same bytes, whatever the ranges
    job:     input_digest, generation, started_at (seconds since the epoch), series_number, parameters, part,
             others (series of other roles: role, series_uid, slices, reach, resampled; `node.dicom.job.Other`)
    report:  of the checks, as JSON; a caution is written where the reader sees it
    node:    node_version, station_name, device_serial
    returns: series_instance_uid, series_description, series_instance_uids (by form), instances (DICOM objects written,
             in order, each with its form; durable)
    raises:  Refuse if an object would not be valid, or the checks reject the result
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    request = {
        "sources": list(prepared.sources),
        "frames": list(prepared.frames),
        "result": str(result),
        # Arrays between stages are not synced: after a power cut the sources tell where padding is.
        "padding": prepared.padding if Path(prepared.padding).exists() else None,
        "forms": list(forms),
        "range": slices,
        "out": str(out),
        "job": _described(prepared, pipeline, spec, job, report, node),
    }
    return child.call("node.dicom.derive:write_series", request)


def derive_map(
    child: Child,
    prepared: Prepared,
    *,
    values: Path,
    out: Path,
    pipeline: Pipeline,
    spec: EngineSpec,
    job: Mapping[str, Any],
    report: Mapping[str, Any],
    node: Mapping[str, str],
) -> dict[str, Any]:
    """Write the map that goes beside the derived series into `out`; it has a series of its own.

    values:  .npy, float32 (z factor, y, x), in the unit of the result
    job:     as for `derive`, and map_series_number in the place of series_number
    returns: series_instance_uid, series_description, instances (one; durable)
    raises:  Refuse as `derive`
    """
    row = maps.MAPS[pipeline.gives.kind]
    images = _described(prepared, pipeline, spec, {**job, "series_number": job["map_series_number"]}, report, node)
    opening = replace(pipeline.gives, marker=row.opening)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    request = {
        "sources": list(prepared.sources),
        "frames": list(prepared.frames),
        "map": str(values),
        "out": str(out),
        "job": {
            **images,
            "image_type": list(maps.IMAGE_TYPE),
            "marker": marker(opening, job["part"], caution=bool(images["cautions"])),
            "synthetic": True,
            "derivation": asdict(row.derivation),
            "purpose": asdict(maps.PURPOSE),
            "operation": row.operation,
            "elements": {},
        },
    }
    return child.call("node.dicom.parametric:write_map", request)


def _described(
    prepared: Prepared,
    pipeline: Pipeline,
    spec: EngineSpec,
    job: Mapping[str, Any],
    report: Mapping[str, Any],
    node: Mapping[str, str],
) -> dict[str, Any]:
    """The job as the writer of its objects gets it (`node.dicom.job.Job`). Raises Refuse as `derive`."""
    factor, row = pipeline.factor(job["parameters"]), codes.OUTPUTS[pipeline.gives.kind]
    gives = pipeline.gives.told({**job["parameters"], "spacing_mm": spacing_mm(prepared, factor)})
    chosen, judged = parameters(pipeline, spec, job["parameters"]), Report.from_json(report)
    if judged.held:
        raise Refuse("The checks reject the result; it is not written.")
    return {
        "kind": gives.kind,
        "image_type": list(row.image_type),
        "marker": marker(gives, job["part"], caution=judged.caution),
        "synthetic": row.synthetic,
        "derivation": asdict(row.derivation),
        "purpose": asdict(row.purpose),
        "operation": gives.operation,
        "elements": dict(gives.elements),
        "factor": factor,
        "note": gives.note,
        # What works on the whole volume at once has every slice of it for a source (DICOM_SPEC 1.3).
        "z_support": len(prepared.sources) if gives.whole_volume(job["parameters"]) else spec.z_support,
        "model": spec.name,
        "model_version": spec.version,
        "weights_sha256": spec.sha256,
        "parameters": chosen,
        "parameters_sha256": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest(),
        "input_digest": job["input_digest"],
        "generation": job["generation"],
        # DICOM times without an offset are local ones (PS3.3 C.12.1.1.8).
        "started": datetime.fromtimestamp(job["started_at"], UTC).astimezone().isoformat(),
        "series_number": job["series_number"],
        "checks": len(judged.findings),
        "cautions": sorted({finding.name for finding in judged.cautions}),
        "others": list(job["others"]),
        **node,
    }
