"""Backends: the one that was chosen runs, or it says what is missing; none stands in for another."""

from pathlib import Path

import onnxruntime
import pytest

from engines.backends import Backend, BackendSettings, describe, open_engine
from engines.engine import BackendMissing, BadSpec, EngineError, PlanRefused
from engines.ort import CPU, CUDA, OrtCudaEngine, OrtEngine
from engines.parity import require
from engines.store import load_spec

has_cuda = CUDA in onnxruntime.get_available_providers()


@pytest.mark.parametrize("backend", list(Backend))
def test_every_backend_has_words(backend: Backend) -> None:
    assert describe(BackendSettings(backend=backend))


def test_the_default_is_the_cpu_and_says_so() -> None:
    with open_engine(load_spec("ct_denoise"), BackendSettings()) as engine:
        assert isinstance(engine, OrtEngine)
        assert engine._session is not None
        assert engine._session.get_providers() == [CPU]


@pytest.mark.skipif(has_cuda, reason="this ONNX Runtime knows CUDA")
def test_without_cuda_the_message_says_what_there_is_and_what_to_install() -> None:
    with pytest.raises(BackendMissing, match=r"runs on \[.*CPU.*\], not with CUDA.*install the extra `gpu`.*cuDNN"):
        open_engine(load_spec("ct_denoise"), BackendSettings(backend=Backend.ORT_CUDA)).__enter__()


def test_a_session_that_went_to_the_cpu_instead_is_refused() -> None:
    """ONNX Runtime only logs a warning when CUDA cannot be loaded; this is its answer on a machine without a driver."""
    engine = OrtCudaEngine(load_spec("ct_denoise"))

    with pytest.raises(BackendMissing, match=r"told to use CUDA.* on GPU 0, but uses \['CPUExec.*nvidia-smi"):
        engine._after([CPU])


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda, reason="onnxruntime-gpu is not installed")
def test_cuda_gives_what_was_recorded() -> None:
    with open_engine(load_spec("ct_denoise"), BackendSettings(backend=Backend.ORT_CUDA)) as engine:
        require(engine)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="there is a GPU")
def test_trt_without_gpu_library_or_plan_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises((BackendMissing, PlanRefused)):
        open_engine(load_spec("ct_denoise"), BackendSettings(backend=Backend.TRT, plans=tmp_path)).__enter__()


@pytest.mark.parametrize("backend", [Backend.TRT, Backend.TRITON])
def test_a_backend_without_its_setting_names_it(backend: Backend) -> None:
    with pytest.raises(BadSpec, match=r"Set engines\.(plans|triton_url)"):
        open_engine(load_spec("ct_denoise"), BackendSettings(backend=backend))


def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    choice = BackendSettings(backend=Backend.TRITON, triton_url="127.0.0.1:1", triton_timeout_s=2.0, triton_retries=0)
    with pytest.raises(EngineError):
        open_engine(load_spec("ct_denoise"), choice).__enter__()
