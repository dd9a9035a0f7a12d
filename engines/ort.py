"""ONNX Runtime on the CPU: the embedded default."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.engine import BadSpec, EngineFailed, EngineSpec, check_feeds
from engines.store import read_weights

PROVIDER = "CPUExecutionProvider"


class OrtEngine:
    """One network in one ONNX Runtime session.

    spec:    what to load; the digest of the weights is checked on entering
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
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Idle workers of a spinning pool would take the cores from the receiver and the decoder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(data, sess_options=options, providers=[PROVIDER])
        except Exception as error:
            raise EngineFailed(
                f"ONNX Runtime cannot load engine {self.spec.name} {self.spec.version}: {type(error).__name__}.",
                fix="The file is not a network this version of ONNX Runtime can read; install the engine again.",
            ) from error
        used = session.get_providers()
        if used != [PROVIDER]:
            raise EngineFailed(f"ONNX Runtime chose {used}, not {PROVIDER}.", fix="Install plain `onnxruntime`.")
        _compare(self.spec, session)
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


def _compare(spec: EngineSpec, session: onnxruntime.InferenceSession) -> None:
    """The specification and the graph must name the same tensors."""
    for kind, wanted, found in (
        ("inputs", spec.inputs, session.get_inputs()),
        ("outputs", spec.outputs, session.get_outputs()),
    ):
        if [tensor.name for tensor in wanted] != [tensor.name for tensor in found]:
            raise BadSpec(
                f"Engine {spec.name}: the specification's {kind} are {[tensor.name for tensor in wanted]}, "
                f"the graph's {[tensor.name for tensor in found]}.",
                fix="Correct the specification.",
            )
