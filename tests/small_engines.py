"""Small networks as real ONNX files with a specification, sealed into a folder of engines as the node reads it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.engine import EngineSpec
from engines.parity import record
from engines.store import load_spec, reseal

SPEC = """\
name = "{name}"
version = "1.0.0"
weights = "{name}.onnx"
sha256 = "{sha256}"
validation_level = "none"
z_support = 0

[[inputs]]
name = "hu"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "HU"
multiple_of = {{ y = 8, x = 8 }}

[[outputs]]
name = "made"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "HU"

[profile]
n = [1, 1, 2]
y = [16, 64, 128]
x = [16, 64, 256]

[tolerances]
made = 0.01
"""


def network(
    nodes: Sequence[onnx.NodeProto] | None = None,
    *,
    weight: float = 2.0,
    opset: int = 17,
    opsets: Mapping[str, int] | None = None,
    dtype: int = TensorProto.FLOAT,
    shape: Sequence[Any] = ("n", 1, "y", "x"),
) -> onnx.ModelProto:
    """hu -> made = weight * hu, or `nodes` in its place."""
    nodes = nodes or [helper.make_node("Mul", ["hu", "w"], ["made"])]
    tensors = [numpy_helper.from_array(np.full((1, 1, 1, 1), weight, np.float32), "w")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("hu", dtype, shape)],
        [helper.make_tensor_value_info("made", dtype, shape)],
        tensors,
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **(opsets or {})}.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def outside(model: onnx.ModelProto, location: str, *, offset: int | None = None, length: int | None = None) -> bytes:
    """The model with its first tensor's values said to lie in `location`; returns those values."""
    tensor = model.graph.initializer[0]
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return values


def write(folder: Path, name: str, model: onnx.ModelProto, *, spec: str = SPEC) -> tuple[Path, Path]:
    """NAME.onnx and NAME.toml in one folder, as a site has them before `engines add`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    (folder / f"{name}.onnx").write_bytes(data)
    text = spec.format(name=name, sha256=hashlib.sha256(data).hexdigest())
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder / f"{name}.onnx", folder / f"{name}.toml"


def install(
    folder: Path, name: str, model: onnx.ModelProto, *, spec: str = SPEC, files: Mapping[str, bytes] | None = None
) -> EngineSpec:
    """A folder of engines with one more in it, sealed. files: to lie beside the ONNX file."""
    for part in ("specs", "weights", "cases"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    (folder / "weights" / f"{name}.onnx").write_bytes(data)
    for file, content in (files or {}).items():
        (folder / "weights" / file).write_bytes(content)
    text = spec.format(name=name, sha256=hashlib.sha256(data).hexdigest())
    (folder / "specs" / f"{name}.toml").write_text(text, encoding="utf-8")
    reseal(folder)
    return load_spec(name, folder)


def recorded(folder: Path, name: str, **options: Any) -> EngineSpec:
    """`install` of a small network, with its cases."""
    spec = install(folder, name, network(**options))
    record(spec, threads=1)
    return spec
