"""The OpenVINO engine: as ONNX Runtime within the tolerance, in float32, compiled once for each shape."""

import importlib.util
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from engines.engine import BackendMissing, EngineFailed, ShapeOutsideProfile
from engines.ort import OrtEngine
from engines.ov import OvEngine
from engines.parity import require
from engines.store import load_spec, names
from tests.small_engines import install, network

installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed (extra `openvino`)"
)


def slices(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(40.0, 25.0, shape).astype(np.float32)


@pytest.fixture
def engine() -> Iterator[OvEngine]:
    with OvEngine(load_spec("ct_denoise"), threads=2) as loaded:
        yield loaded


@installed
@pytest.mark.parametrize("name", names())
def test_shipped_engines_give_what_was_recorded(name: str) -> None:
    """In bfloat16 they would be off by whole HU: that it computes in float32 shows here."""
    with OvEngine(load_spec(name), threads=2) as engine:
        found = require(engine)

    assert max(difference.worst for difference in found) <= 0.01


@installed
def test_a_slice_differs_from_onnx_runtime_by_less_than_a_hundredth_hu(engine: OvEngine) -> None:
    image = slices(1, 1, 256, 320)
    with OrtEngine(engine.spec, threads=2) as reference:
        expected = reference.infer({"hu": image})["denoised"]

    assert np.max(np.abs(engine.infer({"hu": image})["denoised"] - expected)) < 0.01


@installed
def test_each_shape_is_compiled_once_and_only_the_newest_few_are_kept(engine: OvEngine) -> None:
    for width in (64, 72, 64, 80, 88, 64, 96):
        assert engine.infer({"hu": slices(1, 1, 64, width)})["denoised"].shape == (1, 1, 64, width)

    assert [shapes[0][-1] for shapes in engine.compiled] == [80, 88, 64, 96]


@installed
def test_a_repeat_is_equal_to_the_bit_and_an_earlier_result_stays(engine: OvEngine) -> None:
    image = slices(1, 1, 64, 64)
    first = engine.infer({"hu": image})["denoised"]
    kept = first.copy()
    engine.infer({"hu": image + 500.0})

    assert np.array_equal(first, kept)
    assert np.array_equal(engine.infer({"hu": image})["denoised"], kept)


@installed
def test_threads_take_turns_and_get_their_own_answers(engine: OvEngine) -> None:
    images = [slices(1, 1, 64, 64) + 10.0 * i for i in range(4)]
    expected = [engine.infer({"hu": image})["denoised"] for image in images]
    gate = threading.Barrier(4)

    def work(index: int) -> bool:
        gate.wait(10.0)
        return all(np.array_equal(engine.infer({"hu": images[index]})["denoised"], expected[index]) for _ in range(5))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))


@installed
def test_a_feed_outside_the_profile_is_refused(engine: OvEngine) -> None:
    with pytest.raises(ShapeOutsideProfile):
        engine.infer({"hu": slices(1, 1, 63, 64)})


@installed
def test_a_network_that_openvino_cannot_read_is_our_error(tmp_path: Path) -> None:
    spec = install(tmp_path, "small", network([helper.make_node("NoSuchThing", ["hu"], ["made"])]))

    with pytest.raises(EngineFailed, match=r'cannot load engine small 1.0.0. .* set engines.backend = "ort"'):
        OvEngine(spec, threads=1).__enter__()


@installed
def test_leaving_unloads(engine: OvEngine) -> None:
    engine.__exit__(None, None, None)

    with pytest.raises(EngineFailed, match="is not loaded"):
        engine.infer({"hu": slices(1, 1, 64, 64)})


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="openvino is installed")
def test_without_openvino_the_message_says_what_to_install() -> None:
    with pytest.raises(BackendMissing, match=r"OpenVINO is not installed\. Install the extra `openvino`"):
        OvEngine(load_spec("ct_denoise"), threads=1).__enter__()


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        OvEngine(load_spec("ct_denoise"), threads=0)
