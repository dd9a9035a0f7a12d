"""A triage with a small network for tests, a routine pipeline whose network takes its time, and a worker with both.

    python -m tests.urgent_case SETTINGS.toml        the worker of such a node, until SIGTERM

They exist in tests only.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.engine import Engine
from engines.parity import record
from node.demo.ct_series import Scan, write_ct_series
from pipelines.pipeline import Images, Pipeline, Requires, Tiles
from pipelines.steps.checks import finite, geometry_equal
from pipelines.triage import Assessment, Flag, Headers, Maps, Triage
from pipelines.volume import Volume
from tests import small_engines
from tests.two_series import work

THRESHOLD = 0.5
TRIAGE, ROUTINE = "test-triage", "test-slow"
SIDE = 128
_SPEC = small_engines.SPEC.replace("y = [16, 64, 128]", "y = [16, 128, 128]").replace(
    "x = [16, 64, 256]", "x = [16, 128, 128]"
)


def _candidate(headers: Headers) -> list[str]:
    heads = [header for header in headers if "HEAD" in "".join(header.get("BodyPartExamined", ())).upper()]
    return [] if heads else ["this is no head"]


def _assess(
    engine: Engine,
    volume: Volume,
    headers: Headers,
    values: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> tuple[Assessment, Maps | None]:
    """The mean of what the network makes of each slice: above 1000 the flag is raised."""
    made = []
    for index, voxels in enumerate(volume.voxels):
        made.append(float(engine.infer({"hu": np.ascontiguousarray(voxels[None, None])})["made"].mean()))
        progress(index + 1, len(volume.voxels))
    peak = (int(np.argmax(made)), SIDE // 2, SIDE // 2)
    z = np.zeros(volume.voxels.shape, np.float32)
    healthy = np.zeros_like(z)
    if max(made) <= 1000.0:
        calm = Assessment(flag=Flag.NOT_RAISED, threshold=THRESHOLD, score=0.1, percentile=0.1)
        return calm, Maps(z=z, region=z > 0, healthy=healthy)
    z[peak[0], 40:80, 40:80] = 9.0
    raised = Assessment(flag=Flag.RAISED, threshold=THRESHOLD, score=0.9, percentile=0.9, slices=peak[:1], peak=peak)
    return raised, Maps(z=z, region=z > 0, healthy=healthy)


def _pipeline(name: str, *, triage: Triage | None) -> Pipeline:
    return Pipeline(
        name=name,
        version="1.0.0",
        takes=Requires(
            modality="CT",
            minimum_slices=3,
            pixel_spacing_mm=(0.3, 3.0),
            slice_thickness_mm=(0.4, 6.0),
            kvp=(70.0, 150.0),
            tilt_deg_max=0.5,
            rows=(16, SIDE),
            columns=(16, SIDE),
        ),
        triage=triage,
        engine="slow",
        feed="hu",
        output="made",
        keep_outside=(-1024.0, 3071.0),
        tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
        checks=(finite(), geometry_equal()),
        gives=Images(
            kind="DN" if triage is None else "PH",
            marker="AI SLOW" if triage is None else "AI PSEUDO-HEALTHY",
            operation="Test of the lines",
        ),
    )


PIPELINES = (
    _pipeline(ROUTINE, triage=None),
    _pipeline(TRIAGE, triage=Triage(threshold=THRESHOLD, candidate=_candidate, assess=_assess)),
)
RULES: tuple[dict[str, Any], ...] = (
    {"name": "triage", "pipeline": TRIAGE, "where": {"BodyPartExamined": "HEAD"}},
    {"name": "slow", "pipeline": ROUTINE, "where": {"BodyPartExamined": "ABDOMEN"}},
)


def install_engine(folder: Path, *, layers: int = 10, channels: int = 32) -> Path:
    """A folder of engines with one in it that gives twice what it gets, after convolutions that come to nothing."""
    weights = np.random.default_rng(1).normal(0.0, 0.05, (channels, channels, 3, 3)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(np.full((channels, 1, 1, 1), 0.01, np.float32), "first"),
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(np.zeros((1, channels, 1, 1), np.float32), "last"),
        numpy_helper.from_array(np.full((1, 1, 1, 1), 2.0, np.float32), "two"),
    ]
    nodes = [helper.make_node("Conv", ["hu", "first"], ["x0"])]
    nodes += [helper.make_node("Conv", [f"x{at}", "w"], [f"x{at + 1}"], pads=[1, 1, 1, 1]) for at in range(layers)]
    nodes += [
        helper.make_node("Conv", [f"x{layers}", "last"], ["nothing"]),
        helper.make_node("Mul", ["hu", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "nothing"], ["made"]),
    ]
    shape = ("n", 1, "y", "x")
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("hu", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, shape)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    record(small_engines.install(folder, "slow", model, spec=_SPEC), threads=1)
    return folder


def write_series(folder: Path, key: str, *, part: str = "ABDOMEN", slices: int = 8, hu: float = 40.0) -> list[Path]:
    """A series of noise around one value."""
    rng = np.random.default_rng(sum(key.encode()))
    voxels: NDArray[np.float32] = rng.normal(hu, 10.0, (slices, SIDE, SIDE)).astype(np.float32)
    scan = Scan(key=key, patient_name="A^B", patient_id=key, body_part=part)
    return write_ct_series(folder, voxels, scan=scan, spacing_mm=(2.0, 1.0, 1.0), first_mm=(0.0, 0.0, 0.0))


if __name__ == "__main__":
    work(Path(sys.argv[1]), PIPELINES)
