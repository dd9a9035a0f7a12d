"""A pipeline of T1, T2 and FLAIR with a tiny network, and a node that runs it: half of T1 and a quarter of each other.

    python -m tests.three_series SETTINGS.toml        the worker of such a node, until SIGTERM

Roles, judgement of sequences and registration are those of `mr-postcontrast`; only the network is none.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.parity import record
from pipelines import mr_roles
from pipelines.pipeline import Images, Parameters, Pipeline, Tiles
from pipelines.steps.checks import finite, geometry_equal
from pipelines.steps.registered import registered
from tests import small_engines
from tests.two_series import StudyNode, work

_INPUT = """[[inputs]]
name = "{name}"
shape = ["n", 1, "y", "x"]
dtype = "float32"
unit = "MR"
multiple_of = {{{{ y = 8, x = 8 }}}}
"""
_HEAD, _REST = small_engines.SPEC.split("[[inputs]]")[0], small_engines.SPEC.split("[[outputs]]")[1]
SPEC = _HEAD + "\n".join(_INPUT.format(name=role) for role in mr_roles.ROLES) + "\n[[outputs]]" + _REST
SPEC = (
    SPEC.replace("HU", "MR").replace("z_support = 0", "z_support = 1").replace("256]", "512]").replace("128]", "512]")
)


def _feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
    others = {role: parameters.others.get(role) for role in ("t2", "flair")}
    seen = {role: np.zeros_like(image) if near is None else near[len(near) // 2] for role, near in others.items()}
    return {"t1": image[None, None]} | {role: one[None, None] for role, one in seen.items()}


MIXED = Pipeline(
    name="mixed-mr",
    version="1.0.0",
    takes=mr_roles.T1.takes,
    roles=mr_roles.ROLES,
    grid="t1",
    least=1,
    together=mr_roles.contrast_refused,
    engine="mixed",
    feed="t1",
    output="made",
    feeds=_feeds,
    keep_outside=(0.0, 1e6),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=(finite(), geometry_equal(), registered(caution=0.4, moved_mm=20.0)),
    gives=Images(kind="SCE", marker="SYNTHETIC CE T1 (AI) NOT ACQUIRED", operation="Mean of three series"),
)


def install_engine(folder: Path) -> Path:
    """A folder of engines with the network in it."""
    shape = ("n", 1, "y", "x")
    weights = {"t1": 0.5, "t2": 0.25, "flair": 0.25}
    tensors = [numpy_helper.from_array(np.full((1, 1, 1, 1), w, np.float32), f"w_{n}") for n, w in weights.items()]
    nodes = [helper.make_node("Mul", [name, f"w_{name}"], [f"part_{name}"]) for name in weights]
    nodes.append(helper.make_node("Sum", [f"part_{name}" for name in weights], ["made"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in weights]
    outputs = [helper.make_tensor_value_info("made", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "mixed", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    record(small_engines.install(folder, "mixed", model, spec=SPEC), threads=1)
    return folder


class HeadNode(StudyNode):
    """A node with that pipeline; its destination takes synthetic images."""

    worker = "tests.three_series"
    install = staticmethod(install_engine)

    def settle(self, folder: Path, raw: Mapping[str, Any]) -> None:
        destinations = [{**one, "synthetic": True} for one in raw["destinations"]]
        super().settle(folder, {**raw, "destinations": destinations})


if __name__ == "__main__":
    work(Path(sys.argv[1]), (MIXED,))
