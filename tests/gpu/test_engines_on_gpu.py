"""What only a GPU can show. `pytest -m gpu`; without one, or without the library a test needs, it skips, saying so."""

import dataclasses
import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.build import BuildFailed, build, compile_graph, graph_in
from engines.cuda import Gpu
from engines.engine import BackendMissing, EngineSpec, ParityFailed, PlanRefused, Precision, ShapeOutsideProfile
from engines.ort import OrtCudaEngine
from engines.parity import recorded_cases, require
from engines.plan import dump, read_sheet, wanted_profile
from engines.store import load_spec, read_weights
from engines.trt import Session, TrtEngine
from engines.trt_library import Library, load_library

pytestmark = pytest.mark.gpu

ENGINES = ("ct_denoise", "ct_kernel")


@pytest.fixture(scope="module")
def gpu() -> Iterator[Gpu]:
    try:
        found = Gpu()
    except BackendMissing as error:
        pytest.skip(str(error))
    with found:
        yield found


@pytest.fixture(scope="module")
def library(gpu: Gpu) -> Library:
    try:
        return load_library()
    except BackendMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def spec() -> EngineSpec:
    return load_spec("ct_denoise")


@pytest.fixture(scope="module")
def plans(library: Library, spec: EngineSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a proven plan; skips where the library does not take this GPU, with its words."""
    folder = tmp_path_factory.mktemp("plans")
    try:
        build(spec, folder)
    except BuildFailed as error:  # TensorRT-RTX compiles for every GPU and loads on some
        pytest.skip(str(error))
    return folder


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(40.0, 25.0, shape).astype(np.float32)


def test_the_gpu_says_what_a_plan_is_bound_to(gpu: Gpu) -> None:
    assert gpu.name
    assert [part.isdigit() for part in gpu.compute_capability.split(".")] == [True, True]
    assert ", CUDA " in gpu.driver
    assert gpu.free_bytes() > 0


def test_bytes_go_up_and_come_back(gpu: Gpu) -> None:
    stream, address, host = gpu.stream(), gpu.memory(1024), gpu.pinned(1024)
    host[:] = np.arange(1024) % 251
    gpu.upload(address, host, 1024, stream)
    back = gpu.pinned(1024)
    gpu.download(back, address, 1024, stream)
    gpu.wait(stream)

    assert np.array_equal(host, back)


def test_a_captured_copy_is_repeated_with_new_content(gpu: Gpu) -> None:
    stream, address = gpu.stream(), gpu.memory(64)
    host, back = gpu.pinned(64), gpu.pinned(64)

    def there_and_back() -> None:
        gpu.upload(address, host, 64, stream)
        gpu.download(back, address, 64, stream)

    graph = gpu.capture(stream, there_and_back)
    for value in (1, 2):
        host[:] = value
        gpu.launch(graph, stream)
        gpu.wait(stream)
        assert (back == value).all()
    gpu.forget(graph)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_every_shipped_network_passes_parity_in_both_precisions(
    gpu: Gpu, library: Library, plans: Path, name: str, precision: Precision
) -> None:
    spec = load_spec(name)
    compiled = compile_graph(library, graph_in(read_weights(spec), precision), wanted_profile(spec))
    with Session(spec, library, compiled.plan, gpu) as session:
        assert all(figure.passed for figure in require(session))


def test_a_plan_keeps_the_figures_of_its_parity(plans: Path, spec: EngineSpec) -> None:
    sheet = read_sheet(plans, spec.name)

    assert {figure.case for figure in sheet.parity} == {case.name for case in recorded_cases(spec)}
    assert all(figure.passed for figure in sheet.parity)


def test_a_proven_plan_serves_every_size_of_the_profile(plans: Path, spec: EngineSpec) -> None:
    with TrtEngine(spec, plans) as engine:
        for shape in [(1, 1, 64, 64), (1, 1, 104, 512), (2, 1, 72, 80), (4, 1, 1024, 1024)]:
            assert engine.infer({"hu": noise(*shape)})["denoised"].shape == shape
        with pytest.raises(ShapeOutsideProfile):
            engine.infer({"hu": noise(5, 1, 64, 64)})


def test_a_replayed_graph_gives_what_a_plain_call_gives(
    gpu: Gpu, library: Library, plans: Path, spec: EngineSpec
) -> None:
    plan = (plans / f"{spec.name}.plan").read_bytes()
    with Session(spec, library, plan, gpu) as replaying, Session(spec, library, plan, gpu, graphs=False) as plain:
        for shape in [(1, 1, 128, 128), (1, 1, 256, 192), (1, 1, 128, 128)]:
            for seed in range(4):
                feeds = {"hu": noise(*shape, seed=seed)}
                assert np.array_equal(replaying.infer(feeds)["denoised"], plain.infer(feeds)["denoised"])
        assert not plain.captured
        if library.name == "tensorrt":
            assert replaying.captured


def test_leaving_gives_the_memory_back(gpu: Gpu, plans: Path, spec: EngineSpec) -> None:
    def use() -> None:
        with TrtEngine(spec, plans) as engine:
            engine.infer({"hu": noise(1, 1, 512, 512)})
        gc.collect()
        gpu.use()

    use()  # what the library itself keeps stays
    before = gpu.free_bytes()
    for _ in range(3):
        use()

    assert before - gpu.free_bytes() < 64 << 20


@pytest.mark.parametrize("change", [{"gpu": "NVIDIA Another"}, {"driver": "1.0"}, {"library_version": "11.0.0"}])
def test_a_plan_of_another_machine_is_refused(
    plans: Path, spec: EngineSpec, tmp_path: Path, change: dict[str, str]
) -> None:
    sheet = read_sheet(plans, spec.name)
    other = dataclasses.replace(sheet, machine=dataclasses.replace(sheet.machine, **change))
    (tmp_path / "ct_denoise.json").write_bytes(dump(other))
    (tmp_path / "ct_denoise.plan").write_bytes((plans / "ct_denoise.plan").read_bytes())

    with pytest.raises(PlanRefused, match=r"made for .*engines build ct_denoise"), TrtEngine(spec, tmp_path):
        pass


def test_a_plan_that_misses_its_parity_is_never_written(plans: Path, spec: EngineSpec, tmp_path: Path) -> None:
    impossible = dataclasses.replace(spec, tolerances=dict.fromkeys(spec.tolerances, -1.0))

    with pytest.raises(ParityFailed, match="does not give what was recorded"):
        build(impossible, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ENGINES)
def test_onnx_runtime_with_cuda_passes_parity(gpu: Gpu, name: str) -> None:
    with ExitStack() as held:
        try:
            engine = held.enter_context(OrtCudaEngine(load_spec(name), device=0))
        except BackendMissing as error:
            pytest.skip(str(error))
        assert all(figure.passed for figure in require(engine))
