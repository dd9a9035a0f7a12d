"""Derive from frames in tests: what the decoder gives for them; the MR outputs, and one that only tests know."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.dicom import codes, decode, derive, frames, geometry, part10
from tests.dicom_phantom import job

PLANE = frozenset(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
TEST_KIND = codes.Output(
    series_code=99,
    image_type=("DERIVED", "SECONDARY", "OTHER", "AI_TEST"),
    synthetic=False,
    derivation=codes.OUTPUTS["DN"].derivation,
    purpose=codes.PROCESSING_EQUIPMENT,
    modality="MR",
    frame_type=("T1", "NONE"),
)


def with_test_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer know a kind of MR output."""
    monkeypatch.setitem(codes.OUTPUTS, "TEST", TEST_KIND)


def mr_job(**changes: Any) -> dict[str, Any]:
    """A job of that kind."""
    return job(kind="TEST", image_type=list(TEST_KIND.image_type), marker="AI TEST", series_number=4099) | changes


def of_kind(kind: str, **changes: Any) -> dict[str, Any]:
    """A job of a kind that the table knows, with one neighbour on each side."""
    row = codes.OUTPUTS[kind]
    said: dict[str, Any] = {
        "kind": kind,
        "image_type": list(row.image_type),
        "marker": row.opening,
        "synthetic": row.synthetic,
        "derivation": asdict(row.derivation),
        "purpose": asdict(row.purpose),
        "operation": row.derivation.meaning,
        "series_number": 4000 + row.series_code,
        "z_support": 1,
    }
    return job(**{**said, **changes})


def sce_job(**changes: Any) -> dict[str, Any]:
    """A synthetic post-contrast series."""
    return of_kind("SCE", **changes)


def zsr_job(spacing_mm: float, factor: int = 2, **changes: Any) -> dict[str, Any]:
    """A series of finer slices. `spacing_mm`: of its sources."""
    said = {
        "marker": f"AI SUPER-RES Z {spacing_mm / factor:.3g}mm spacing",
        "factor": factor,
        "note": "Measured through-plane FWHM 1.9 mm.",
        "z_support": 2,
    }
    return of_kind("ZSR", **{**said, **changes})


def gap_mm(request: dict[str, Any]) -> float:
    """Spacing of the sources of a request along their stack."""
    ends = []
    for path, frame in (
        (request["sources"][0], request["frames"][0]),
        (request["sources"][-1], request["frames"][-1]),
    ):
        header = part10.header(frames.view(part10.read(path), frame), PLANE)
        ends.append(np.array(geometry.numbers(header, "ImagePositionPatient", 3)))
    return float(np.linalg.norm(ends[1] - ends[0])) / (len(request["sources"]) - 1)


def request_for(folder: Path, files: list[str], work: dict[str, Any], *forms: str) -> dict[str, Any]:
    """A request whose result is what the sources show, with noise: one slice at each position, in geometric order."""
    slices: dict[tuple[float, ...], tuple[str, int]] = {}
    for path in files:
        part = part10.read(path)
        for number in range(1, part.frames + 1) if frames.is_multi_frame(part) else (0,):
            found = part10.header(frames.view(part, number), PLANE)
            slices.setdefault(geometry.numbers(found, "ImagePositionPatient", 3), (path, number))
    chosen = list(slices.values())
    views = [frames.view(part10.read(path), number) for path, number in chosen]
    grids = [geometry.Grid.of(part10.header(view, PLANE)) for view in views]
    order = sorted(range(len(grids)), key=lambda at: float(grids[at].position @ grids[0].normal))
    values = []
    for at in order:
        stored = decode.stored_values(views[at])
        values.append(stored.values * np.float64(stored.slope) + stored.intercept)
    folder.mkdir(parents=True, exist_ok=True)
    factor = int(work.get("factor", 1))
    made = np.repeat(np.stack(values), factor, axis=0)
    noise = np.random.default_rng(3).normal(0, 2, made.shape)
    np.save(folder / "result.npy", (made + noise).astype(np.float32))
    return {
        "sources": [chosen[at][0] for at in order],
        "frames": [chosen[at][1] for at in order],
        "result": f"{folder}/result.npy",
        "out": f"{folder}/out",
        "job": work,
        "forms": list(forms) or ["classic"],
    }


def derived(folder: Path, files: list[str], work: dict[str, Any], *forms: str) -> dict[str, Any]:
    """The reply to such a request."""
    return derive.write_series(request_for(folder, files, work, *forms))
