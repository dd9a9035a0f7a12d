"""Specifications: checked whole, and against the graph, whichever backend runs it."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from engines.engine import BadSpec
from engines.store import read_weights
from tests.small_engines import SPEC, install, network


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('sha256 = "', 'sha256 = "zz', "64 lower-case"),
        ('weights = "small.onnx"', 'weights = "../small.onnx"', "plain file name"),
        ('validation_level = "none"', 'validation_level = "perfect"', "perfect"),
        ("z_support = 0", "", "z_support"),
        ("z_support = 0", "z_support = true", "whole number"),
        ("z_support = 0", 'z_support = 0\nlicence = "none"', r"unknown key \['licence'\]"),
        ('unit = "HU"', 'unit = "HU"\nlongest = 3', r"unknown key \['longest'\]"),
        ('name = "hu"', "name = ", "TOMLDecodeError"),
        ('name = "small"', 'name = "other"', "calls itself"),
        ('dtype = "float32"', 'dtype = "float"', "dtype"),
        ('dtype = "float32"', 'dtype = "object"', "dtype"),
        ("y = [16, 64, 128]", "y = [16, 64]", "smallest, usual, largest"),
        ("y = [16, 64, 128]", "y = [64, 16, 128]", "must rise"),
        ("y = [16, 64, 128]", "y = [10, 64, 128]", "steps of 8"),
        ("y = [16, 64, 128]", "", "profile gives"),
        ("y = [16, 64, 128]", "y = [16, 64, 128]\nq = [1, 1, 1]", "profile gives"),
        ("made = 0.01", "", "every output"),
        ("made = 0.01", "made = 0", "above 0"),
        ("made = 0.01", "made = inf", "above 0"),
        ("made = 0.01", "made = nan", "above 0"),
        ("z_support = 0", 'z_support = 0\naccepted = ["fp8"]', "fp8"),
    ],
)
def test_a_specification_that_cannot_be_understood_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SPEC.replace("{name}", "small")
    spec = SPEC.replace("{name}", "small").replace(old, new, 1)

    with pytest.raises(BadSpec, match=f"specification of engine small cannot be understood.*{says}"):
        install(tmp_path, "small", network(), spec=spec)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "hu"', 'name = "image"', r"inputs are \['image'\], the graph's \['hu'\]"),
        ('dtype = "float32"', 'dtype = "float16"', "says float16 .*, the graph has float32"),
        ('shape = ["n", 1, "y", "x"]', 'shape = ["n", 2, "y", "x"]', r"\['n', 2, 'y', 'x'\], the graph has"),
        ('shape = ["n", 1, "y", "x"]', 'shape = ["n", "y", "x"]', r"the graph has float32 \['free', 1"),
    ],
)
def test_a_specification_that_contradicts_the_graph_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    spec = install(tmp_path, "small", network(), spec=SPEC.replace(old, new, 1))

    with pytest.raises(BadSpec, match=says):
        read_weights(spec)


def test_a_length_that_the_graph_fixes_cannot_be_free_in_the_specification(tmp_path: Path) -> None:
    spec = install(tmp_path, "small", network(shape=("n", 1, 64, "x")))
    fits = install(tmp_path, "other", network(shape=("n", 1, "y", "x")), spec=_fixed())

    with pytest.raises(BadSpec, match=r"the graph has float32 \['free', 1, 64, 'free'\]"):
        read_weights(spec)
    assert read_weights(fits)


def _fixed() -> str:
    text = SPEC.replace('["n", 1, "y", "x"]', '["n", 1, 64, "x"]').replace("{{ y = 8, x = 8 }}", "{{ x = 8 }}")
    return text.replace("y = [16, 64, 128]\n", "")


def test_an_integer_network_needs_an_acceptance_in_integers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["hu", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["made"]),
    ]
    model = network(nodes)
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [8.0]))
    spec = install(tmp_path, "small", model)
    with pytest.raises(BadSpec, match=r"computes in int8, but its specification accepts \['fp32'\]"):
        read_weights(spec)

    accepted = SPEC.replace("z_support = 0", 'z_support = 0\naccepted = ["int8"]')
    assert read_weights(install(tmp_path, "small", model, spec=accepted))
