"""Take a site's own ONNX file: looked at, run, and only then put where the node finds it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engines.engine import BadSpec, Engine, EngineError, EngineMissing, EngineSpec, UnsafeWeights
from engines.graph import Graph
from engines.ort import OrtEngine
from engines.parity import Difference, record, require
from engines.spec import fits_graph, parse
from engines.store import (
    SUMS,
    external_files,
    graph_of,
    load_spec,
    names,
    read_weights,
    reseal,
    seal,
    verify,
    weights_path,
    write_synced,
)

OPSETS: Final = range(11, 24)
"""Versions of the standard operators that ONNX Runtime, OpenVINO and TensorRT all read."""

OPERATORS: Final = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape
    Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range
    Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize Round ScatterND
    Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile
    TopK Transpose Trilu Unsqueeze Upsample Where Xor
""".split()  # noqa: SIM905  a list literal of it would be 112 lines
)
"""What a network may use: arithmetic on tensors. Not in it: loops and branches, whose time nobody can bound; text,
sequences and random numbers, which no image needs; training."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """spec: as it now lies in the folder; recorded: True when the cases were made now, False when they were given and
    passed; differences: the figures of given cases."""

    spec: EngineSpec
    recorded: bool
    differences: tuple[Difference, ...]


def add(
    onnx: Path, spec_file: Path, to: Path, *, cases: Path | None = None, replace: bool = False, threads: int = 2
) -> Added:
    """Check a network and its specification, run it, and put both with its cases into the folder `to`.

    onnx:    the network; external data, if any, beside it
    cases:   recorded cases that it has to pass; without, they are recorded now from a phantom
    replace: whether an engine of the same name may be there already
    raises:  BadSpec, DigestMismatch, UnsafeWeights, EngineMissing, EngineFailed, ParityFailed; `to` is unchanged then
    """
    to.mkdir(parents=True, exist_ok=True)
    with _alone(to):
        if (to / SUMS).exists():
            verify(to)
        staged = Path(tempfile.mkdtemp(prefix=".adding-", dir=to))
        try:
            spec = _stage(onnx, spec_file, staged)
            if cases is not None:
                write_synced(staged / "cases" / f"{spec.name}.npz", _bytes(cases, "The recorded cases"))
                seal(staged, [f"cases/{spec.name}.npz"])
            with OrtEngine(spec, threads=threads) as engine:
                _shapes_hold(engine)
                differences = require(engine) if cases is not None else ()
            if cases is None:
                record(spec, threads=threads)
            _no_clash(spec, staged, to, replace=replace)
            _publish(staged, to)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Added(spec=load_spec(spec.name, to), recorded=cases is None, differences=differences)


def check_operators(name: str, graph: Graph) -> None:
    """Only operators of `OPERATORS` in an opset of `OPSETS`. Raises UnsafeWeights naming those that are not."""
    version = graph.opsets.get("")
    if version not in OPSETS:
        raise UnsafeWeights(
            f"Engine {name} is written in opset {version}, not in {OPSETS.start} to {OPSETS.stop - 1}.",
            fix="Export the network again in one of these.",
        )
    foreign = sorted({f"{domain}.{operator}" for domain, operator in graph.operators if domain})
    if foreign or graph.functions:
        raise UnsafeWeights(
            f"Engine {name} uses operators or functions of its own: {', '.join(foreign)[:200] or graph.functions}.",
            fix="Export it with operators of the ONNX standard only.",
        )
    if other := sorted({operator for _, operator in graph.operators} - OPERATORS):
        raise UnsafeWeights(
            f"Engine {name} uses operators that are not allowed: {', '.join(other)[:200]}.",
            fix="Export it without; allowed are those in engines/add.py.",
        )


def _stage(onnx: Path, spec_file: Path, staged: Path) -> EngineSpec:
    for part in ("specs", "weights", "cases"):
        (staged / part).mkdir()
    text = _bytes(spec_file, "The specification")
    spec = parse(text, spec_file.stem, staged)
    data = _bytes(onnx, "The network")
    graph = graph_of(spec.name, data)
    check_operators(spec.name, graph)
    fits_graph(spec, graph)
    write_synced(weights_path(spec), data)
    for file in external_files(spec.name, graph, onnx.absolute().parent):
        write_synced(staged / "weights" / file, _bytes(onnx.absolute().parent / file, f"External data {file}"))
    write_synced(staged / "specs" / f"{spec.name}.toml", text)
    reseal(staged)
    read_weights(spec)  # the digest that the specification names, and everything else that the node will look at
    return spec


def _shapes_hold(engine: Engine) -> None:
    """Outputs are shaped as the specification says, for the smallest feeds and for the usual ones."""
    spec = engine.spec
    for which in ("minimum", "optimum"):
        given = engine.infer({t.name: np.zeros(spec.shape_at(t, which), t.dtype) for t in spec.inputs})
        for tensor in spec.outputs:
            wanted, made = spec.shape_at(tensor, which), given[tensor.name]
            if made.shape != wanted or made.dtype != np.dtype(tensor.dtype):
                raise BadSpec(
                    f"Engine {spec.name}, {tensor.name}: the specification says {tensor.dtype} {list(wanted)} for the "
                    f"{which} of its profile, the network gives {made.dtype} {list(made.shape)}.",
                    fix="Correct the specification.",
                )


def _no_clash(spec: EngineSpec, staged: Path, to: Path, *, replace: bool) -> None:
    there = names(to) if (to / SUMS).exists() else ()
    if spec.name in there and not replace:
        raise EngineError(
            f"Engine {spec.name} {load_spec(spec.name, to).version} is in {to} already.",
            fix="Give the new one another name, or say --replace.",
        )
    new = {path.name for path in (staged / "weights").iterdir()}
    for other in (load_spec(name, to) for name in there if name != spec.name):
        graph = graph_of(other.name, weights_path(other).read_bytes())
        if shared := new & {other.weights, *external_files(other.name, graph, to / "weights")}:
            raise EngineError(
                f"Engine {other.name} has a file {sorted(shared)[0]} already.", fix="Name the file otherwise."
            )


def _publish(staged: Path, to: Path) -> None:
    """Each file by rename, SHA256SUMS last: until then what is new counts for nothing, and a half-replaced engine is
    refused, not run."""
    moved = []
    for part in ("weights", "cases", "specs"):
        (to / part).mkdir(exist_ok=True)
        for path in (staged / part).iterdir():
            path.replace(to / part / path.name)
            moved.append(f"{part}/{path.name}")
        _sync(to / part)
    _sync(to)
    seal(to, moved)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One `add` at a time for a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bytes(path: Path, told: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineMissing(f"{told} cannot be read from {path}: {error.strerror}.", fix="Name the file.") from error
