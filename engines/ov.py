"""OpenVINO on the CPU: an optional engine (extra `openvino`), in float32 and with static shapes.

A graph whose lengths are free runs at two thirds of the speed of one that is compiled for its shape, so each shape that
comes is compiled once and kept; the newest few.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from engines.engine import BackendMissing, EngineFailed, EngineSpec, check_feeds
from engines.store import read_weights

_SHAPES: Final = 4  # compiled at the same time; a series has one, and a check of a cut-out may have another
DEVICE: Final = "CPU"


class OvEngine:
    """One network, compiled for each shape that is asked for.

    spec:    what to load; its digests are checked on entering
    threads: of the CPU, for one batch
    """

    def __init__(self, spec: EngineSpec, *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.spec = spec
        self.threads = threads
        self._core: Any = None
        self._weights = b""
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()
        self._turn = threading.Lock()  # one request each: two batches would share the same cores

    def __enter__(self) -> Self:
        data = read_weights(self.spec)
        # Importing openvino reports to Google if it can import this; None keeps it from that, and it goes on without.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as the import system has it
        try:
            import openvino
        except ImportError as error:
            raise BackendMissing(
                "OpenVINO is not installed.",
                fix='Install the extra `openvino`, or set engines.backend = "ort".',
            ) from error
        core = openvino.Core()
        if DEVICE not in core.available_devices:
            raise BackendMissing(
                f"OpenVINO {openvino.__version__} finds {core.available_devices}, no {DEVICE}.",
                fix='Install OpenVINO again, or set engines.backend = "ort".',
            )
        try:
            core.read_model(data)
        except RuntimeError as error:
            raise EngineFailed(
                f"OpenVINO {openvino.__version__} cannot load engine {self.spec.name} {self.spec.version}.",
                fix='It may use an operator that OpenVINO lacks: set engines.backend = "ort".',
            ) from error
        self._core, self._weights = core, data
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._requests.clear()
            self._core, self._weights = None, b""

    @property
    def compiled(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The shapes that are compiled now, oldest use first: one tuple for each, a shape for each input."""
        return tuple(self._requests)

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`. The first batch of a shape takes a second longer."""
        if self._core is None:
            raise EngineFailed(f"Engine {self.spec.name} is not loaded.", fix="Use it inside its `with` block.")
        check_feeds(self.spec, feeds)
        ready = {name: np.ascontiguousarray(feed) for name, feed in feeds.items()}
        with self._turn:
            try:
                request = self._request({tensor.name: ready[tensor.name].shape for tensor in self.spec.inputs})
                request.infer(ready)
                # The request keeps its output buffers for the next batch: the caller gets copies.
                return {tensor.name: np.array(request.get_tensor(tensor.name).data) for tensor in self.spec.outputs}
            except RuntimeError as error:
                shapes = {name: list(feed.shape) for name, feed in ready.items()}
                raise EngineFailed(
                    f"Engine {self.spec.name} failed in OpenVINO on {shapes}.",
                    fix="Repeat the job; if it fails again, check the free memory.",
                ) from error

    def _request(self, shapes: dict[str, tuple[int, ...]]) -> Any:
        key = tuple(shapes.values())
        if key in self._requests:
            self._requests.move_to_end(key)
            return self._requests[key]
        model = self._core.read_model(self._weights)
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        compiled = self._core.compile_model(
            model,
            DEVICE,
            {
                "INFERENCE_PRECISION_HINT": "f32",  # newer CPUs would take bfloat16: 8 bits of mantissa, 4 HU in 1000
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        used = list(compiled.get_property("EXECUTION_DEVICES"))
        if used != [DEVICE]:
            raise EngineFailed(f"OpenVINO runs engine {self.spec.name} on {used}, not on the {DEVICE}.")
        while len(self._requests) >= _SHAPES:
            self._requests.popitem(last=False)
        self._requests[key] = compiled.create_infer_request()
        return self._requests[key]
