"""python -m tests.bench.engines --to engines/BENCH.md: every shipped network on everything that this machine has.

ONNX Runtime (CPU, CUDA), OpenVINO, TensorRT or TensorRT-RTX, torch (eager, torch.compile, CUDA graphs). What is not
here keeps its row and says why. No part of the run needs another: a machine with torch alone still gives its rows.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cuda import Gpu
from engines.engine import BackendMissing, Engine, EngineError, EngineSpec, Precision
from engines.parity import recorded_cases
from engines.store import load_spec, names, read_weights

Feeds = Mapping[str, NDArray[Any]]
COMMAND = "python -m tests.bench.engines --to engines/BENCH.md"
SERIES = 300
PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "numpy",
    "onnx",
    "tensorrt",
    "tensorrt-rtx-cu13-libs",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One engine on one network. worst: output -> largest difference from ONNX Runtime on the CPU, HU."""

    label: str
    slice_ms: float = 0.0
    fastest_ms: float = 0.0
    series_s: float = 0.0
    load_s: float = 0.0
    worst: float = 0.0
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """needs_gpu: left open without one, whatever is installed."""

    label: str
    needs_gpu: bool
    opening: Callable[[], AbstractContextManager[Engine]]


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engines", description=__doc__)
    parser.add_argument("--to", type=Path, help="Markdown file to write; default: only print")
    parser.add_argument("--slices", type=int, default=SERIES, help="measured of the series; the rest is scaled")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU engines")
    parser.add_argument("--engine", action="append", choices=names(), help="default: every shipped one")
    parser.add_argument("--only", default="", help="rows whose label contains this")
    parser.add_argument("--remark", default="", help="a sentence about the machine, for the page")
    given = parser.parse_args()
    gpu = _gpu()
    tables = []
    for name in given.engine or names():
        spec = load_spec(name)
        tables.append((spec, list(_rows(spec, given, gpu))))
    page = "\n".join(_page(tables, given, gpu))
    sys.stdout.write(page)
    if given.to:
        given.to.write_text(page, encoding="utf-8")


def _rows(spec: EngineSpec, given: argparse.Namespace, gpu: Gpu | None) -> Iterator[Row]:
    feeds = _feeds(spec)
    with _ort(spec, given.threads)() as reference:
        expected = [reference.infer(feed) for feed in feeds]
    for candidate in _candidates(spec, given.threads):
        if given.only and given.only not in candidate.label:
            continue
        sys.stderr.write(f"{spec.name}: {candidate.label}\n")
        if candidate.needs_gpu and gpu is None:
            yield Row(label=candidate.label, why_not="open: no GPU here")
            continue
        try:
            yield _measure(candidate, feeds, expected, given.slices)
        except (EngineError, ImportError) as error:
            yield Row(label=candidate.label, why_not=_one_line(error))
        except Exception as error:  # noqa: BLE001  a compiler that fails is a row of the table, not the end of it
            yield Row(label=candidate.label, why_not=f"failed: {type(error).__name__}: {_one_line(error)}")


def _measure(candidate: Candidate, feeds: Sequence[Feeds], expected: Sequence[Feeds], slices: int) -> Row:
    begin = time.perf_counter()
    with candidate.opening() as engine:
        made = [engine.infer(feed) for feed in feeds]
        load_s = time.perf_counter() - begin
        worst = max(
            float(np.max(np.abs(one[name] - other[name])))
            for one, other in zip(made, expected, strict=True)
            for name in other
        )
        for index in range(3):
            engine.infer(feeds[index % len(feeds)])
        each, begin = [], time.perf_counter()
        for index in range(slices):
            since = time.perf_counter()
            engine.infer(feeds[index % len(feeds)])
            each.append(time.perf_counter() - since)
        total = (time.perf_counter() - begin) * SERIES / slices
    return Row(
        label=candidate.label,
        slice_ms=statistics.median(each) * 1e3,
        fastest_ms=min(each) * 1e3,
        series_s=total,
        load_s=load_s,
        worst=worst,
    )


def _candidates(spec: EngineSpec, threads: int) -> Iterator[Candidate]:
    yield Candidate(label="ONNX Runtime, CPU, fp32", needs_gpu=False, opening=_ort(spec, threads))
    yield Candidate(label="OpenVINO, CPU, fp32", needs_gpu=False, opening=_openvino(spec, threads))
    yield Candidate(
        label="torch eager, CPU, fp32", needs_gpu=False, opening=_torch(spec, "cpu", "EAGER", "FP32", threads)
    )
    yield Candidate(label="ONNX Runtime, CUDA, fp32", needs_gpu=True, opening=_ort_cuda(spec))
    for precision in (Precision.FP32, Precision.FP16):
        yield Candidate(label=f"TensorRT, {precision}", needs_gpu=True, opening=_trt(spec, precision))
    for mode, said in (
        ("EAGER", "torch eager"), ("GRAPH", "torch CUDA graph"), ("COMPILE", "torch.compile"),
        ("COMPILE_GRAPH", "torch.compile, CUDA graph"),
    ):  # fmt: skip
        for arithmetic in ("FP32", "TF32", "FP16"):
            opening = _torch(spec, "cuda", mode, arithmetic, threads)
            yield Candidate(label=f"{said}, {arithmetic.lower()}", needs_gpu=True, opening=opening)


def _ort(spec: EngineSpec, threads: int) -> Callable[[], AbstractContextManager[Engine]]:
    def opening() -> AbstractContextManager[Engine]:
        from engines.ort import OrtEngine

        return OrtEngine(spec, threads=threads)

    return opening


def _ort_cuda(spec: EngineSpec) -> Callable[[], AbstractContextManager[Engine]]:
    def opening() -> AbstractContextManager[Engine]:
        from engines.ort import OrtCudaEngine

        return OrtCudaEngine(spec)

    return opening


def _openvino(spec: EngineSpec, threads: int) -> Callable[[], AbstractContextManager[Engine]]:
    def opening() -> AbstractContextManager[Engine]:
        from engines.ov import OvEngine

        return OvEngine(spec, threads=threads)

    return opening


def _trt(spec: EngineSpec, precision: Precision) -> Callable[[], AbstractContextManager[Engine]]:
    @contextmanager
    def opening() -> Iterator[Engine]:
        from engines.build import compile_graph, graph_in
        from engines.plan import wanted_profile
        from engines.trt import Session
        from engines.trt_library import load_library

        library = load_library()
        graph = graph_in(read_weights(spec), precision)
        with Gpu() as gpu:
            plan = compile_graph(library, graph, wanted_profile(spec)).plan
            with Session(spec, library, plan, gpu) as session:
                yield session

    return opening


def _torch(
    spec: EngineSpec, device: str, mode: str, arithmetic: str, threads: int
) -> Callable[[], AbstractContextManager[Engine]]:
    def opening() -> AbstractContextManager[Engine]:
        import torch

        from tests.bench.torch_engine import Arithmetic, Mode, TorchEngine

        torch.set_num_threads(threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendMissing(f"torch {torch.__version__} has no CUDA.")
        return TorchEngine(spec, device=device, mode=Mode[mode], arithmetic=Arithmetic[arithmetic])

    return opening


def _feeds(spec: EngineSpec) -> list[Feeds]:
    """The recorded cases, repeated to the usual size (512 x 512)."""
    made = []
    for case in recorded_cases(spec):
        feeds: dict[str, NDArray[Any]] = {}
        for tensor in spec.inputs:
            array = case.feeds[tensor.name]
            wanted = spec.shape_at(tensor, "optimum")
            gaps = [(0, max(0, goal - length)) for goal, length in zip(wanted, array.shape, strict=True)]
            whole = np.pad(array, gaps, mode="symmetric")[tuple(slice(length) for length in wanted)]
            feeds[tensor.name] = np.ascontiguousarray(whole)
        made.append(feeds)
    return made


def _page(tables: Sequence[tuple[EngineSpec, list[Row]]], given: argparse.Namespace, gpu: Gpu | None) -> Iterator[str]:
    yield "# Engines: what was measured\n"
    yield f"Written by `{COMMAND}`. Run it again on the machine\nthat is to serve, above all on one with a GPU.\n"
    yield f"* CPU: {_cpu()}, {given.threads} thread(s)"
    if gpu:
        yield f"* GPU: {gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}"
    else:
        yield "* GPU: none. Every row that needs one is open."
    yield f"* {', '.join(f'{name} {version}' for name, version in _versions())}, Python {platform.python_version()}"
    yield f"* load average of the machine at the end: {os.getloadavg()[1]:.1f} over 5 minutes"
    if given.remark:
        yield f"* {given.remark}"
    scaled = "" if given.slices >= SERIES else f", scaled from {given.slices} slices"
    yield f"""
Host array in, host array out, one slice of 512 x 512 after the other. *ms per slice*: median. *300 slices*: the
sum{scaled}. *Load*: from the file to the first results, compilation included. *Off by*: largest difference from ONNX
Runtime on the CPU, HU. fp16: only the wide layers, HU and fixed filters stay in fp32; tf32: what torch does with fp32
by default. TensorRT rows are of the library that is installed, TensorRT or TensorRT-RTX."""
    for spec, rows in tables:
        limit = ", ".join(f"{name} {value:g} HU" for name, value in spec.tolerances.items())
        yield f"\n## {spec.name} {spec.version}\n"
        yield f"ONNX sha256 `{spec.sha256[:16]}…`; allowed difference: {limit}.\n"
        yield "| engine | ms per slice | fastest | 300 slices, s | load, s | off by, HU |"
        yield "|---|---:|---:|---:|---:|---:|"
        for row in rows:
            if row.why_not:
                yield f"| {row.label} | - | - | - | - | {row.why_not} |"
            else:
                figures = " | ".join(
                    (
                        _short(row.slice_ms),
                        _short(row.fastest_ms),
                        _short(row.series_s),
                        _short(row.load_s),
                        f"{row.worst:.2g}",
                    )
                )
                yield f"| {row.label} | {figures} |"
    yield ""


def _gpu() -> Gpu | None:
    try:
        return Gpu()
    except BackendMissing as error:
        sys.stderr.write(f"{error}\n")
        return None


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {os.cpu_count()} cores"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).replace("|", "/")
    return text if len(text) < 300 else f"{text[:300]}…"


if __name__ == "__main__":
    main()
