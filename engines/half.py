"""The same network with its convolutions in fp16, as ONNX: TensorRT takes the precision from the file.

Only what is safe in 10 bits is converted. HU values and everything that is computed from them with fixed filters stay
in fp32: fp16 spaces its numbers 0.5 HU apart at 1000 HU and 2 HU at 3000. Needs the package onnx, at build time only.
"""

from collections.abc import Iterator
from typing import Any, Final

from engines.engine import BackendMissing, BadSpec

_WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_FOLLOWING: Final = frozenset({"Relu", "LeakyRelu", "Add", "Concat", "DepthToSpace", "SpaceToDepth", "MaxPool"})
_FEWEST_CHANNELS: Final = 16
"""Inputs that a converted layer has at least: the first layer reads images, not features, and keeps fp32."""
_LARGEST: Final = 65504.0  # of fp16


def to_half(data: bytes) -> bytes:
    """The model with its wide layers, and what follows them directly, in fp16; inputs and outputs stay as they are.

    data:   a self-contained ONNX model
    raises: BackendMissing without the package onnx; BadSpec when there is nothing to convert, or a weight is too large
    """
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise BackendMissing(
            "A plan in fp16 needs the package onnx, which is not installed.", fix="Run `pip install onnx`, or use fp32."
        ) from error
    model = onnx.load_model_from_string(data)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    half = _convertible(graph, weights)
    made = {name for index in half for name in graph.node[index].output}
    if not made:
        raise BadSpec(
            f"No layer of the network has {_FEWEST_CHANNELS} input channels: fp16 would change nothing.",
            fix="Build it in fp32.",
        )
    outside = _read_in_single(graph, half)
    nodes: list[Any] = []
    ready: set[str] = set()  # tensors that have their fp16 twin

    def twin(name: str) -> str:
        if name in weights and name not in ready:
            values = onnx.numpy_helper.to_array(weights[name])
            if not abs(values).max(initial=0.0) <= _LARGEST:
                raise BadSpec(f"A value of {name} is beyond fp16's {_LARGEST:g}.", fix="Build the network in fp32.")
            graph.initializer.append(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}/half"))
        elif name not in ready and name not in made:
            nodes.append(
                onnx.helper.make_node("Cast", [name], [f"{name}/half"], f"{name}/to half", to=onnx.TensorProto.FLOAT16)
            )
        ready.add(name)
        return f"{name}/half"

    for index, node in enumerate(graph.node):
        if index not in half:
            nodes.append(node)
            continue
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        del changed.input[:], changed.output[:]
        changed.input.extend(twin(name) if name else "" for name in node.input)
        changed.output.extend(f"{name}/half" for name in node.output)
        nodes.append(changed)
        nodes.extend(
            onnx.helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/to single", to=onnx.TensorProto.FLOAT)
            for name in node.output
            if name in outside
        )
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input} | set(_inner_names(graph))
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _convertible(graph: Any, weights: dict[str, Any]) -> set[int]:
    """Nodes that compute in fp16: wide layers with weights of their own, and what reads nothing but their results."""
    half: set[int] = set()
    made: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type in _WEIGHTED:
            fits = len(node.input) > 1 and node.input[1] in weights and _channels(node.op_type, weights[node.input[1]])
        else:
            fits = node.op_type in _FOLLOWING and all(name in made for name in node.input)
        if fits:
            half.add(index)
            made.update(node.output)
    return half


def _channels(kind: str, weight: Any) -> bool:
    """Conv's weights are (out, in, ...), the others' (in, out, ...)."""
    return len(weight.dims) > 1 and int(weight.dims[1 if kind == "Conv" else 0]) >= _FEWEST_CHANNELS


def _read_in_single(graph: Any, half: set[int]) -> set[str]:
    """Tensors that something outside of fp16 reads."""
    names = {tensor.name for tensor in graph.output} | set(_inner_names(graph))
    for index, node in enumerate(graph.node):
        if index not in half:
            names.update(node.input)
    return names


def _inner_names(graph: Any) -> Iterator[str]:
    """What graphs inside of nodes (If, Loop) read; they may read tensors of the outer one."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                for deeper in inner.node:
                    yield from deeper.input
                yield from (tensor.name for tensor in inner.output)
                yield from _inner_names(inner)
