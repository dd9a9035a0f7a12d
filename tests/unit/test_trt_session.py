"""The TensorRT engine without a GPU: the real code over a fake device whose kernels are ONNX Runtime's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from engines import trt, trt_library
from engines.build import BuildFailed, prove
from engines.engine import BackendMissing, EngineFailed, ParityFailed, PlanRefused, ShapeOutsideProfile
from engines.ort import OrtEngine
from engines.parity import recorded_cases, require
from engines.store import load_spec, read_weights
from engines.trt import Session, TrtEngine
from tests.unit.fake_gpu import FakeGpu, FakeTrt

SPEC = load_spec("ct_denoise")


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(40.0, 25.0, shape).astype(np.float32)


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def session(gpu: FakeGpu) -> Iterator[Session]:
    with Session(SPEC, FakeTrt(gpu).library(), read_weights(SPEC), gpu) as loaded:
        yield loaded


def test_what_goes_through_the_buffers_is_what_onnx_runtime_gives(session: Session) -> None:
    for figure in require(session):
        assert figure.worst < 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (2, 1, 72, 80), (1, 1, 512, 64)])
def test_every_size_inside_the_profile_comes_back_in_the_same_size(session: Session, shape: tuple[int, ...]) -> None:
    with OrtEngine(SPEC, threads=1) as reference:
        for seed in range(3):  # plain, captured, replayed
            image = noise(*shape, seed=seed)
            made = session.infer({"hu": image})["denoised"]
            assert made.shape == shape
            np.testing.assert_allclose(made, reference.infer({"hu": image})["denoised"], atol=1e-3)


def test_the_first_call_of_a_shape_runs_the_second_captures_later_ones_replay(session: Session, gpu: FakeGpu) -> None:
    for _ in range(4):
        session.infer({"hu": noise(1, 1, 64, 64)})
    assert gpu.log == ["execute", "execute", "capture", "launch", "launch", "launch"]
    assert session.captured

    gpu.log.clear()
    session.infer({"hu": noise(1, 1, 64, 72)})
    session.infer({"hu": noise(1, 1, 64, 72)})
    assert gpu.log == ["forget", "execute", "execute", "capture", "launch"]


def test_without_graphs_every_call_runs(gpu: FakeGpu) -> None:
    with Session(SPEC, FakeTrt(gpu).library(), read_weights(SPEC), gpu, graphs=False) as session:
        for _ in range(3):
            session.infer({"hu": noise(1, 1, 64, 64)})

    assert gpu.log == ["execute"] * 3


def test_leaving_gives_the_graph_back(gpu: FakeGpu) -> None:
    with Session(SPEC, FakeTrt(gpu).library(), read_weights(SPEC), gpu) as session:
        session.infer({"hu": noise(1, 1, 64, 64)})
        session.infer({"hu": noise(1, 1, 64, 64)})

    assert gpu.log[-1] == "forget"
    assert not session.captured


def test_what_it_holds_on_the_gpu_is_told(session: Session) -> None:
    largest = 4 * 1024 * 1024 * 4  # bytes of a feed, and of a result
    assert session.memory_bytes == (64 << 20) + len(read_weights(SPEC)) + 2 * largest


def test_a_later_call_never_overwrites_an_earlier_result(session: Session) -> None:
    first = session.infer({"hu": noise(1, 1, 64, 64)})["denoised"]
    kept = first.copy()
    session.infer({"hu": noise(1, 1, 64, 64) + 500.0})

    assert np.array_equal(first, kept)


def test_a_feed_outside_the_specification_never_reaches_the_device(session: Session, gpu: FakeGpu) -> None:
    with pytest.raises(ShapeOutsideProfile, match="was given"):
        session.infer({"hu": noise(1, 1, 63, 64)})

    assert gpu.log == []


def test_a_shape_that_the_plan_does_not_take_is_said_and_forgotten(session: Session) -> None:
    with pytest.raises(ShapeOutsideProfile, match=r"does not take hu \[1, 1, 1024, 64\].*engines build ct_denoise"):
        session.infer({"hu": noise(1, 1, 1024, 64)})

    assert session.infer({"hu": noise(1, 1, 64, 64)})["denoised"].shape == (1, 1, 64, 64)


def test_a_plan_that_the_library_does_not_load_says_why_and_what_to_run(gpu: FakeGpu) -> None:
    with (
        pytest.raises(PlanRefused, match=r"plan file is not compatible\. Run `imaging-node engines build ct_denoise`"),
        Session(SPEC, FakeTrt(gpu, refuses=True).library(), b"", gpu),
    ):
        pass


def test_a_plan_with_other_tensors_than_the_specification_is_refused(gpu: FakeGpu) -> None:
    other = read_weights(load_spec("ct_kernel"))
    with (
        pytest.raises(PlanRefused, match=r"has tensors .*'kernels'.*, not "),
        Session(SPEC, FakeTrt(gpu).library(), other, gpu),
    ):
        pass


def test_a_gpu_without_memory_says_how_much_is_needed(gpu: FakeGpu) -> None:
    with (
        pytest.raises(EngineFailed, match=r"needs 64 MB of 1024 MB free on the GPU.*Free memory on the GPU"),
        Session(SPEC, FakeTrt(gpu, short_of_memory=True).library(), read_weights(SPEC), gpu),
    ):
        pass


def test_what_the_library_made_and_does_not_load_names_the_gpu(gpu: FakeGpu) -> None:
    """TensorRT-RTX compiles for every GPU and loads on some: a refusal that no second build would mend."""
    with pytest.raises(
        BuildFailed, match=r"tensorrt 11\.4\.0 makes a plan .* not load it on Fake GPU .*8\.9\).*backend"
    ):
        prove(SPEC, FakeTrt(gpu, refuses=True).library(), b"", gpu)


def test_a_plan_is_proven_on_every_recorded_case(gpu: FakeGpu) -> None:
    figures = prove(SPEC, FakeTrt(gpu).library(), read_weights(SPEC), gpu)

    assert {figure.case for figure in figures} == {case.name for case in recorded_cases(SPEC)}


def test_a_plan_of_other_weights_does_not_pass(gpu: FakeGpu) -> None:
    """One learned layer changed: the plan loads and runs, and its answers are off."""
    weights = bytearray(read_weights(SPEC))
    (tail,) = (one for one in onnx.load_from_string(bytes(weights)).graph.initializer if one.name == "tail.weight")
    start = weights.index(tail.raw_data)
    for place in range(start, start + len(tail.raw_data), 4):
        weights[place + 3] ^= 0x80  # the sign of a float32

    with pytest.raises(ParityFailed, match=r"does not give what was recorded: phantom-0, denoised: "):
        prove(SPEC, FakeTrt(gpu).library(), bytes(weights), gpu)


def test_an_engine_without_a_plan_says_what_to_run(tmp_path: Path) -> None:
    with (
        pytest.raises(PlanRefused, match=r"no plan of engine ct_denoise .*Run `imaging-node engines build ct_denoise`"),
        TrtEngine(SPEC, tmp_path),
    ):
        pass


def test_an_engine_outside_its_block_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="is not loaded"):
        TrtEngine(SPEC, tmp_path).infer({"hu": noise(1, 1, 64, 64)})


def test_without_tensorrt_the_message_names_the_licence_and_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_library, "_MODULES", (("no_such_module", "tensorrt", (10, 13), (12,)),))

    with pytest.raises(BackendMissing, match=r"TensorRT is not installed\. Read its licence.*tensorrt-rtx-cu13-libs"):
        trt.load_library()


def test_a_library_that_is_there_and_broken_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pretended_broken.py").write_text("raise ImportError('libnvinfer.so.11: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trt_library, "_MODULES", (("pretended_broken", "tensorrt", (10, 13), (12,)),))

    with pytest.raises(BackendMissing, match=r"tensorrt is installed, but cannot be loaded: libnvinfer"):
        trt.load_library()


@pytest.mark.parametrize("version", ["10.12.0", "12.0.0"])
def test_a_version_that_the_node_cannot_drive_is_refused(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pretended_{version.replace('.', '_')}"
    (tmp_path / f"{name}.py").write_text(f"__version__ = {version!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trt_library, "_MODULES", ((name, "tensorrt", (10, 13), (12,)),))

    with pytest.raises(BackendMissing, match=rf"tensorrt {version} is installed; 10\.13 up to below 12"):
        trt.load_library()
