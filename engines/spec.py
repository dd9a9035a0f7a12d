"""The specification of an engine, from its TOML text; and whether the network's graph is what it says."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.engine import BadSpec, Bounds, EngineSpec, Precision, TensorSpec, ValidationLevel
from engines.graph import Graph, Tensor

_KEYS: Final = frozenset({
    "name", "version", "weights", "sha256", "validation_level", "z_support", "inputs", "outputs", "profile",
    "tolerances",
})  # fmt: skip
_OPTIONAL: Final = frozenset({"accepted"})
_TENSOR_KEYS: Final = frozenset({"name", "shape", "dtype", "unit"})


def parse(data: bytes, name: str, folder: Path) -> EngineSpec:
    """The specification of engine `name` in `data`; `folder` holds its weights. Raises BadSpec."""
    try:
        spec = _spec(tomllib.loads(data.decode()), folder)
        if spec.name != name:
            raise ValueError(f"it calls itself {spec.name!r}")
    except (KeyError, TypeError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise BadSpec(
            f"The specification of engine {name} cannot be understood: {type(error).__name__} {error}.",
            fix="Compare it with the specifications that ship with the node.",
        ) from error
    return spec


def fits_graph(spec: EngineSpec, graph: Graph) -> None:
    """The specification and the graph must say the same: names in their order, types, ranks and fixed lengths.

    raises: BadSpec with both sides
    """
    for kind, wanted, found in (("inputs", spec.inputs, graph.inputs), ("outputs", spec.outputs, graph.outputs)):
        if [tensor.name for tensor in wanted] != [tensor.name for tensor in found]:
            raise BadSpec(
                f"Engine {spec.name}: the specification's {kind} are {[tensor.name for tensor in wanted]}, "
                f"the graph's {[tensor.name for tensor in found]}.",
                fix="Correct the specification.",
            )
        for said, there in zip(wanted, found, strict=True):
            if said.dtype != there.dtype or not _same_shape(said, there):
                shape = "a shape that it does not say" if there.shape is None else [n or "free" for n in there.shape]
                raise BadSpec(
                    f"Engine {spec.name}, {said.name}: the specification says {said.dtype} {list(said.shape)}, "
                    f"the graph has {there.dtype or 'a type that is not taken'} {shape}.",
                    fix="Correct the specification.",
                )
    if graph.quantized and Precision.INT8 not in spec.accepted:
        raise BadSpec(
            f"Engine {spec.name} computes in int8, but its specification accepts {[p.value for p in spec.accepted]}.",
            fix='Run its acceptance in int8; if it passes, write accepted = ["int8"].',
        )


def _same_shape(said: TensorSpec, there: Tensor) -> bool:
    """A length that the graph fixes is fixed in the specification; one that the graph leaves free may be either."""
    if there.shape is None or len(there.shape) != len(said.shape):
        return False
    return all(length is None or length == wanted for wanted, length in zip(said.shape, there.shape, strict=True))


def _spec(data: dict[str, Any], folder: Path) -> EngineSpec:
    _keys("", data, _KEYS, _OPTIONAL)
    weights, sha256 = _text(data, "weights"), _text(data, "sha256")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.onnx", weights):
        raise ValueError("weights must be a plain file name that ends in .onnx")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError("sha256 must be 64 lower-case hexadecimal digits")
    spec = EngineSpec(
        name=_text(data, "name"),
        version=_text(data, "version"),
        weights=weights,
        sha256=sha256,
        validation_level=ValidationLevel(data["validation_level"]),
        z_support=_whole("z_support", data["z_support"], 0),
        inputs=tuple(_tensor(item) for item in data["inputs"]),
        outputs=tuple(_tensor(item) for item in data["outputs"]),
        profile={key: _bounds(key, value) for key, value in data["profile"].items()},
        tolerances={key: float(value) for key, value in data["tolerances"].items()},
        accepted=tuple(Precision(value) for value in data.get("accepted", ["fp32"])),
        folder=folder,
    )
    _consistent(spec)
    return spec


def _consistent(spec: EngineSpec) -> None:
    tensors = (*spec.inputs, *spec.outputs)
    if not spec.inputs or not spec.outputs or len({tensor.name for tensor in tensors}) != len(tensors):
        raise ValueError("inputs and outputs must be there, each with a name of its own")
    free = {length for tensor in spec.inputs for length in tensor.shape if isinstance(length, str)}
    if unknown := {length for tensor in spec.outputs for length in tensor.shape if isinstance(length, str)} - free:
        raise ValueError(f"lengths {sorted(unknown)} of the outputs are in no input")
    if free != set(spec.profile):
        raise ValueError(f"profile gives {sorted(spec.profile)}, the shapes name {sorted(free)}")
    if {tensor.name for tensor in spec.outputs} != set(spec.tolerances):
        raise ValueError(f"tolerances gives {sorted(spec.tolerances)}; every output needs one")
    if not all(0 < value < float("inf") for value in spec.tolerances.values()):
        raise ValueError("tolerances must be above 0 and finite")
    for tensor in tensors:
        for name, multiple in tensor.multiple_of.items():
            if name not in tensor.shape:
                raise ValueError(f"{tensor.name}.multiple_of names {name!r}, which is no length of it")
            bounds = spec.profile[name]
            if any(length % multiple for length in (bounds.minimum, bounds.optimum, bounds.maximum)):
                raise ValueError(f"profile {name} is not in steps of {multiple}")


def _tensor(item: dict[str, Any]) -> TensorSpec:
    _keys("a tensor: ", item, _TENSOR_KEYS, frozenset({"multiple_of"}))
    dtype = _text(item, "dtype")
    if np.dtype(dtype).name != dtype or np.dtype(dtype).kind not in "biuf":
        raise ValueError(f"dtype {dtype!r} is none that networks take")
    shape = item["shape"]
    if not isinstance(shape, list) or not shape:
        raise ValueError("shape must be a list of numbers and names")
    return TensorSpec(
        name=_text(item, "name"),
        shape=tuple(length if isinstance(length, str) and length else _whole("shape", length, 1) for length in shape),
        dtype=dtype,
        unit=_text(item, "unit"),
        multiple_of={key: _whole(f"multiple_of {key}", value, 1) for key, value in item.get("multiple_of", {}).items()},
    )


def _bounds(key: str, value: Any) -> Bounds:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"profile {key} must be [smallest, usual, largest]")
    low, usual, high = (_whole(f"profile {key}", length, 1) for length in value)
    if not low <= usual <= high:
        raise ValueError(f"profile {key} must rise: [smallest, usual, largest]")
    return Bounds(minimum=low, optimum=usual, maximum=high)


def _keys(where: str, data: Mapping[str, Any], wanted: frozenset[str], optional: frozenset[str]) -> None:
    if missing := wanted - set(data):
        raise ValueError(f"{where}{sorted(missing)} missing")
    if unknown := set(data) - wanted - optional:
        raise ValueError(f"{where}unknown key {sorted(unknown)}")


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be a text")
    return value


def _whole(key: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key} must be a whole number of at least {least}")
    return value
