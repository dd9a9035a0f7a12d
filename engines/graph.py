"""What an ONNX file asks for, read from its bytes without running or importing anything of it.

A walk over the protobuf messages of onnx.proto3 (ONNX 1.23, IR version 13), whose field numbers these are.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_DEEPEST: Final = 32  # graphs inside graphs; a file that nests deeper was made to hurt

DTYPES: Final[Mapping[int, str]] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""TensorProto.DataType -> numpy's name."""

QUANTIZED: Final = frozenset({
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
})  # fmt: skip
"""Operators of the standard domain that compute with integers instead of real numbers."""


class BadGraph(ValueError):
    """The bytes are no ONNX model; the text says where the walk ended."""


# Message -> its fields that hold messages which may, somewhere inside, hold a tensor or an operator.
_CHILDREN: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {},
}


@dataclass(frozen=True, kw_only=True)
class External:
    """Where a tensor's values lie outside of the ONNX file. `length` None: to the end of the file."""

    location: str
    offset: int
    length: int | None


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of the graph. dtype: numpy's name or None; a length of None is free; shape None: not said."""

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(kw_only=True)
class Graph:
    """What an ONNX file holds.

    operators: (domain, name), the standard domain as "", subgraphs and functions included
    opsets:    domain -> version
    functions: how many functions of its own the model defines
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    operators: set[tuple[str, str]] = field(default_factory=set)
    opsets: dict[str, int] = field(default_factory=dict)
    externals: list[External] = field(default_factory=list)
    functions: int = 0

    @property
    def quantized(self) -> bool:
        """Whether any operator computes in integers of few bits."""
        return any(domain == "" and name in QUANTIZED for domain, name in self.operators)


def read(data: bytes) -> Graph:
    """What the model in `data` asks for. Raises BadGraph."""
    found = Graph()
    main: memoryview | None = None
    for number, value in _fields(memoryview(data)):
        if number == 7:
            if main is not None:  # protobuf would merge them; no exporter writes two
                raise BadGraph("two graphs in it")
            main = _message(value)
        elif number == 8:
            opset = _scalars(value)
            found.opsets[_standard(_text(opset.get(1, b"")))] = _int(opset.get(2, 0))
        elif number == 25:
            found.functions += 1
    if main is None:
        raise BadGraph("no graph in it")

    def visit(kind: str, message: memoryview) -> None:
        if kind == "node":
            node = _scalars(message)
            found.operators.add((_standard(_text(node.get(7, b""))), _text(node.get(4, b""))))
        elif kind == "tensor" and (external := _external(message)) is not None:
            found.externals.append(external)

    _walk(memoryview(data), "model", visit, 0)
    initializers = {_text(_scalars(value).get(8, b"")) for number, value in _fields(main) if number == 5}
    found.inputs = tuple(t for t in _tensors(main, 11) if t.name not in initializers)
    found.outputs = tuple(_tensors(main, 12))
    return found


def inline(data: bytes, values: Callable[[External], bytes]) -> bytes:
    """The same model with every outside tensor inside, so that no library opens a file by itself. Raises BadGraph."""
    return _rewrite(memoryview(data), "model", values, 0)


def _walk(data: memoryview, kind: str, visit: Callable[[str, memoryview], None], depth: int) -> None:
    _not_too_deep(depth)
    visit(kind, data)
    for number, value in _fields(data):
        if number in _CHILDREN[kind]:
            _walk(_message(value), _CHILDREN[kind][number], visit, depth + 1)


def _rewrite(data: memoryview, kind: str, values: Callable[[External], bytes], depth: int) -> bytes:
    _not_too_deep(depth)
    external = _external(data) if kind == "tensor" else None
    out = bytearray()
    for number, value, raw in _raw_fields(data):
        if external is not None and number in (9, 13, 14):  # raw_data, external_data, data_location
            continue
        if number in _CHILDREN[kind]:
            out += _delimited(number, _rewrite(_message(value), _CHILDREN[kind][number], values, depth + 1))
        else:
            out += raw
    if external is not None:
        out += _delimited(9, values(external))
    return bytes(out)


def _external(tensor: memoryview) -> External | None:
    """TensorProto.external_data = 13 (StringStringEntryProto: key 1, value 2), data_location = 14 (EXTERNAL = 1)."""
    entries: dict[str, str] = {}
    outside = False
    for number, value in _fields(tensor):
        if number == 13:
            entry = _scalars(value)
            entries[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
            outside = True
        elif number == 14:
            outside = outside or _int(value) == 1
    if not outside:
        return None
    offset, length = entries.get("offset", "0"), entries.get("length")
    if not offset.isdecimal() or (length is not None and not length.isdecimal()):
        raise BadGraph(f"external data at offset {offset!r}, length {length!r}")
    return External(
        location=entries.get("location", ""), offset=int(offset), length=None if length is None else int(length)
    )


def _tensors(graph: memoryview, wanted: int) -> Iterator[Tensor]:
    """ValueInfoProto: name = 1, type = 2; TypeProto.tensor_type = 1: elem_type = 1, shape = 2; dim = 1: value = 1."""
    for number, value in _fields(graph):
        if number != wanted:
            continue
        info = _scalars(value)
        tensor = _scalars(_scalars(info.get(2, b"")).get(1, b""))
        shape: tuple[int | None, ...] | None = None
        if 2 in tensor:
            dims = (_scalars(dim).get(1) for n, dim in _fields(_message(tensor[2])) if n == 1)
            shape = tuple(dim if isinstance(dim, int) else None for dim in dims)
        yield Tensor(name=_text(info.get(1, b"")), dtype=DTYPES.get(_int(tensor.get(1, 0))), shape=shape)


_Value = int | bytes | memoryview


def _scalars(value: _Value) -> dict[int, _Value]:
    return dict(_fields(_message(value)))


def _fields(data: memoryview) -> Iterator[tuple[int, _Value]]:
    for number, value, _ in _raw_fields(data):
        yield number, value


def _raw_fields(data: memoryview) -> Iterator[tuple[int, _Value, memoryview]]:
    """(field number, value, the bytes of the whole field); protobuf wire types 0, 1, 2 and 5."""
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        value: _Value
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1 | 5 as wire:
                size = 8 if wire == 1 else 4
                value, at = data[at : at + size], at + size
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case wire:
                raise BadGraph(f"wire type {wire} at byte {begin} of a message")
        if at > len(data) or tag >> 3 == 0:
            raise BadGraph(f"a field at byte {begin} of a message does not fit into it")
        yield tag >> 3, value, data[begin:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise BadGraph("a message ends within a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise BadGraph("a number of more than 10 bytes")


def _delimited(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _not_too_deep(depth: int) -> None:
    if depth > _DEEPEST:
        raise BadGraph(f"messages nested deeper than {_DEEPEST}")


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise BadGraph("a number where a message belongs")
    return memoryview(value)


def _int(value: _Value) -> int:
    if not isinstance(value, int):
        raise BadGraph("bytes where a number belongs")
    return value


def _text(value: _Value) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError as error:
        raise BadGraph("a name that is not UTF-8") from error


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
