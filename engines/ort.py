"""ONNX Runtime: on the CPU the embedded default, and on a GPU through its CUDA provider."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.engine import BackendMissing, EngineFailed, EngineSpec, check_feeds
from engines.store import read_weights

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"


class OrtEngine:
    """One network in one ONNX Runtime session on the CPU.

    spec:    what to load; its digests are checked on entering
    threads: threads inside one operator; operators run one after the other, so that a repeat is equal to the bit
    """

    def __init__(self, spec: EngineSpec, *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.spec = spec
        self.threads = threads
        self._session: onnxruntime.InferenceSession | None = None

    def __enter__(self) -> Self:
        data = read_weights(self.spec)
        self._before(onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Idle workers of a spinning pool would take the cores from the receiver and the decoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = self._providers(options)
        try:
            session = onnxruntime.InferenceSession(data, sess_options=options, providers=providers)
        except Exception as error:
            raise EngineFailed(
                f"ONNX Runtime cannot load engine {self.spec.name} {self.spec.version}: {type(error).__name__}.",
                fix=self._cannot_load,
            ) from error
        self._after(session.get_providers())
        self._session = session
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`."""
        if self._session is None:
            raise EngineFailed(f"Engine {self.spec.name} is not loaded.", fix="Use it inside its `with` block.")
        check_feeds(self.spec, feeds)
        names = [tensor.name for tensor in self.spec.outputs]
        ready = {name: np.ascontiguousarray(feed) for name, feed in feeds.items()}
        try:
            results = self._session.run(names, ready)
        except Exception as error:
            shapes = {name: list(feed.shape) for name, feed in ready.items()}
            raise EngineFailed(
                f"Engine {self.spec.name} failed on {shapes}: {type(error).__name__}.",
                fix="Repeat the job; if it fails again, check the free memory.",
            ) from error
        return dict(zip(names, results, strict=True))

    _cannot_load = "The file is not a network this version of ONNX Runtime can read; install the engine again."

    def _before(self, available: Sequence[str]) -> None:
        """Nothing has to be there for the CPU."""

    def _providers(self, options: onnxruntime.SessionOptions) -> list[Any]:
        return [CPU]

    def _after(self, used: Sequence[str]) -> None:
        if list(used) != [CPU]:
            raise EngineFailed(f"ONNX Runtime chose {list(used)}, not {CPU}.", fix="Install plain `onnxruntime`.")


class OrtCudaEngine(OrtEngine):
    """One network in one ONNX Runtime session on one GPU, in true float32.

    ONNX Runtime goes on without the GPU when CUDA or cuDNN cannot be loaded, and says so only in a log line. Here that
    is an error.
    """

    def __init__(self, spec: EngineSpec, *, device: int = 0) -> None:
        super().__init__(spec, threads=1)
        self.device = device

    _cannot_load = "Look at the log of ONNX Runtime: the GPU, its driver, CUDA and cuDNN have to fit onnxruntime-gpu."

    def _before(self, available: Sequence[str]) -> None:
        if CUDA not in available:
            raise BackendMissing(
                f"This ONNX Runtime {onnxruntime.__version__} runs on {list(available)}, not with {CUDA}.",
                fix="On a machine with an NVIDIA GPU install the extra `gpu` (onnxruntime-gpu in place of onnxruntime) "
                'in an environment of its own, with CUDA and cuDNN; or set engines.backend = "ort".',
            )

    def _providers(self, options: onnxruntime.SessionOptions) -> list[Any]:
        # TF32 keeps 10 bits of the mantissa: 1 HU in 2000. Algorithms are chosen without timing, so repeats are equal.
        chosen = {"device_id": str(self.device), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        return [(CUDA, chosen)]

    def _after(self, used: Sequence[str]) -> None:
        if not used or used[0] != CUDA:
            raise BackendMissing(
                f"ONNX Runtime was told to use {CUDA} on GPU {self.device}, but uses {list(used)}.",
                fix="`nvidia-smi` must show the GPU, and CUDA and cuDNN must be those that onnxruntime-gpu names; "
                'or set engines.backend = "ort".',
            )
