"""ONNX files: weights elsewhere are refused, those beside the file come inside, and no file ends the node."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from engines.engine import DigestMismatch, UnsafeWeights
from engines.graph import BadGraph, read
from engines.ort import OrtEngine
from engines.store import read_weights, reseal
from tests.small_engines import install, network, outside


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret.bin", "sub/values.bin", "./values.bin", "..", ".", "", "a\\b", "link.bin", "dir.bin"],
)
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4)
    model = network()
    outside(model, location, length=4)
    spec = install(tmp_path / "engines", "small", model)
    (tmp_path / "engines" / "weights" / "link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "engines" / "weights" / "dir.bin").mkdir()
    reseal(tmp_path / "engines")

    with pytest.raises(UnsafeWeights, match=r"(outside of its folder|is a link or no plain file)"):
        read_weights(spec)


@pytest.mark.parametrize(("offset", "length"), [(0, 5), (4, 4), (5, None), (1 << 40, 4)])
def test_weights_beyond_the_end_of_their_file_are_refused(tmp_path: Path, offset: int, length: int | None) -> None:
    model = network()
    values = outside(model, "values.bin", offset=offset, length=length)
    spec = install(tmp_path, "small", model, files={"values.bin": values})

    with pytest.raises(UnsafeWeights, match=r"reads bytes .* of values.bin, which has 4"):
        read_weights(spec)


def test_weights_beside_the_file_are_sealed_too_and_brought_inside(tmp_path: Path) -> None:
    model = network(weight=3.0)
    values = outside(model, "values.bin", offset=4, length=4)
    spec = install(tmp_path, "small", model, files={"values.bin": b"\xff" * 4 + values})
    image = np.ones((1, 1, 64, 64), np.float32)

    inside = onnx.load_from_string(read_weights(spec))
    onnx.checker.check_model(inside)
    assert not inside.graph.initializer[0].external_data
    assert inside.graph.initializer[0].data_location == TensorProto.DEFAULT
    with OrtEngine(spec, threads=1) as engine:
        assert np.array_equal(engine.infer({"hu": image})["made"], 3.0 * image)

    (tmp_path / "weights" / "values.bin").write_bytes(b"\xff" * 4 + b"\0" * 4)
    with pytest.raises(DigestMismatch, match=r"External data values.bin"):
        read_weights(spec)


def test_weights_outside_are_found_in_every_place_of_a_graph_that_can_hold_some(tmp_path: Path) -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../far.bin")
    inner = helper.make_graph([], "inner", [], [], [tensor])
    places = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("If", ["b"], ["c"], then_branch=inner, else_branch=inner),
    ]
    for node in places:
        model = network([helper.make_node("Identity", ["hu"], ["made"]), node])
        with pytest.raises(UnsafeWeights, match=r"'../far.bin', outside"):
            read_weights(install(tmp_path, "small", model))
    model = network()
    model.functions.append(helper.make_function("own", "F", [], ["c"], [places[0]], [helper.make_opsetid("", 17)]))
    with pytest.raises(UnsafeWeights, match=r"'../far.bin', outside"):
        read_weights(install(tmp_path, "small", model))
    model = network()
    model.graph.sparse_initializer.add(values=tensor)
    with pytest.raises(UnsafeWeights, match=r"'../far.bin', outside"):
        read_weights(install(tmp_path, "small", model))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_give_an_error_of_ours_or_a_graph(data: st.DataObject) -> None:
    """A file that is made to hurt must not end the node in an unforeseen way."""
    good = network().SerializeToString()
    kind = data.draw(st.sampled_from(["cut", "bits", "noise"]))
    if kind == "cut":
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    elif kind == "noise":
        bad = data.draw(st.binary(max_size=200))
    else:
        flipped = bytearray(good)
        for position in data.draw(st.lists(st.integers(0, len(good) * 8 - 1), min_size=1, max_size=4)):
            flipped[position // 8] ^= 1 << position % 8
        bad = bytes(flipped)
    with contextlib.suppress(BadGraph):
        read(bad)


def test_graphs_that_nest_without_end_are_refused() -> None:
    graph = b""
    for _ in range(100):
        attribute = b"\x32" + _length(graph) + graph
        node = b"\x2a" + _length(attribute) + attribute
        graph = b"\x0a" + _length(node) + node
    with pytest.raises(BadGraph, match="nested deeper"):
        read(b"\x3a" + _length(graph) + graph)


def _length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size])
