"""Backend triton against a real Triton Inference Server, where its binaries were fetched.

`pip install --no-deps --target build/pytriton nvidia-pytriton==0.7.0` brings Triton 2.51 for the CPU with the python
backend only. So the exported repository is served with one change, `backend: "python"` and a model.py that runs the
exported model.onnx with ONNX Runtime; names, versions, parameters, the protocol and its errors are Triton's own. The
server needs the system's Python with its shared library (Debian: python3 and libpython3.11).
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from engines.engine import DigestMismatch, EngineMissing, EngineUnavailable
from engines.export_triton import export
from engines.ort import OrtEngine
from engines.parity import require
from engines.store import load_spec
from engines.triton import TritonEngine
from tests.other_engine import other_engine
from tests.peers import free_port, wait_until

PYTRITON = Path(__file__).parents[2] / "build" / "pytriton"
MODEL = """
import sys
sys.path.insert(0, {site!r})
import os
import numpy, onnxruntime
import triton_python_backend_utils as triton

class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        # DLPack both ways: this Triton reads the arrays of numpy 1 only, and gives no bytes for those of numpy 2.
        feeds = {{
            tensor.name: numpy.from_dlpack(triton.get_input_tensor_by_name(request, tensor.name)).copy()
            for tensor in self.session.get_inputs()
        }}
        names = [tensor.name for tensor in self.session.get_outputs()]
        made = zip(names, self.session.run(names, feeds))
        return triton.InferenceResponse([triton.Tensor.from_dlpack(name, array) for name, array in made])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bin/tritonserver and backends/python, or a skip that says what is missing."""
    source = PYTRITON / "pytriton" / "tritonserver"
    if not source.is_dir():
        pytest.skip("no real Triton: pip install --no-deps --target build/pytriton nvidia-pytriton==0.7.0")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not list(Path("/usr/lib").glob(f"*/libpython{version}.so*")):
        pytest.skip(f"Triton's python backend needs the system's libpython{version}")
    folder = tmp_path_factory.mktemp("triton")
    for part in ("bin", "backends", "caches"):
        shutil.copytree(source / part, folder / part)
    stub = folder / "backends" / "python" / "triton_python_backend_stub"
    shutil.copy(source / "python_backend_stubs" / version / stub.name, stub)
    for path in (stub, folder / "bin" / "tritonserver"):
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported repository, for the python backend."""
    repository = tmp_path_factory.mktemp("real") / "models"
    made = export(load_spec("ct_denoise"), repository)
    config = made.folder / "config.pbtxt"
    config.write_text(config.read_text().replace('platform: "onnxruntime_onnx"', 'backend: "python"'))
    site = str(Path(onnxruntime.__file__).parents[1])
    (made.folder / made.version / "model.py").write_text(MODEL.format(site=site))
    return repository


@pytest.fixture(scope="module")
def url(installed: Path, models: Path) -> Iterator[str]:
    """Where it listens."""
    port, log = free_port(), installed / "log"
    command = [
        installed / "bin" / "tritonserver", f"--model-repository={models}",
        f"--backend-directory={installed / 'backends'}", f"--cache-directory={installed / 'caches'}",
        "--allow-http=false", "--allow-metrics=false", "--grpc-address=127.0.0.1", f"--grpc-port={port}",
    ]  # fmt: skip
    libraries = str(PYTRITON / "nvidia_pytriton.libs")
    with log.open("wb") as file:
        environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libraries}
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            return "Started GRPCInferenceService" in log.read_text(errors="replace")

        wait_until("Triton serves", serves, timeout_s=90.0)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_real_triton_gives_the_recorded_answers(url: str) -> None:
    spec = load_spec("ct_denoise")
    with TritonEngine(spec, url) as engine, OrtEngine(spec, threads=2) as local:
        assert max(difference.worst for difference in require(engine)) < 0.01
        image = {"hu": np.random.default_rng(0).normal(40.0, 25.0, (1, 1, 256, 256)).astype(np.float32)}
        ours, theirs = local.infer(image)["denoised"], engine.infer(image)["denoised"]
        assert np.max(np.abs(ours - theirs)) <= spec.tolerances["denoised"]


def test_a_real_triton_is_not_believed_either(url: str, tmp_path: Path) -> None:
    with (
        pytest.raises(EngineMissing, match="NOT_FOUND"),
        TritonEngine(other_engine(tmp_path / "newer", version="1.0.1"), url),
    ):
        pass
    with (
        pytest.raises(DigestMismatch, match="another network under this name"),
        TritonEngine(other_engine(tmp_path / "other", trained_again=True), url),
    ):
        pass


def test_a_real_triton_that_is_too_slow_is_given_up(url: str) -> None:
    image = {"hu": np.zeros((1, 1, 1024, 1024), np.float32)}
    with (
        TritonEngine(load_spec("ct_denoise"), url, timeout_s=0.05, retries=0) as engine,
        pytest.raises(EngineUnavailable, match=r"did not answer within 0\.05 s"),
    ):
        engine.infer(image)
