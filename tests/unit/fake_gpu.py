"""A GPU made of this machine's memory, and a TensorRT that computes with ONNX Runtime. Only the GPU is faked.

A plan is the ONNX file itself. Copies, addresses, shapes, streams and graphs are kept as strictly as the real ones do:
a kernel reads and writes the addresses that were set, and only when the stream is waited for.
"""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.trt_library import Library


class FakeGpu:
    """The methods of `engines.cuda.Gpu`. `log` holds what was asked of it."""

    name, compute_capability, driver = "Fake GPU", "8.9", "1.0, CUDA 13.0"

    def __init__(self) -> None:
        self.log: list[str] = []
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._queued: list[Callable[[], None]] = []
        self._graphs: dict[int, list[Callable[[], None]]] = {}

    def use(self) -> None:
        pass

    def free_bytes(self) -> int:
        return 1 << 30

    def stream(self) -> int:
        return 7

    def memory(self, size: int) -> int:
        block = np.full(size, 0xAB, np.uint8)
        self._memory[block.ctypes.data] = block
        return int(block.ctypes.data)

    def pinned(self, size: int) -> NDArray[np.uint8]:
        return np.full(size, 0xCD, np.uint8)

    def upload(self, to: int, source: NDArray[np.uint8], size: int, stream: int) -> None:
        self.queue(lambda: ctypes.memmove(to, source.ctypes.data, size), stream)

    def download(self, to: NDArray[np.uint8], source: int, size: int, stream: int) -> None:
        self.queue(lambda: ctypes.memmove(to.ctypes.data, source, size), stream)

    def queue(self, work: Callable[[], Any], stream: int) -> None:
        assert stream == 7
        self._queued.append(work)

    def wait(self, stream: int) -> None:
        work, self._queued = self._queued, []
        for one in work:
            one()

    def capture(self, stream: int, queue: Callable[[], None]) -> int:
        assert not self._queued
        queue()
        handle = len(self._graphs) + 1
        self._graphs[handle], self._queued = self._queued, []
        self.log.append("capture")
        return handle

    def launch(self, graph: int, stream: int) -> None:
        self.log.append("launch")
        self._queued.extend(self._graphs[graph])

    def forget(self, graph: int) -> None:
        self.log.append("forget")
        self._graphs[graph] = []


class FakeTrt:
    """The part of the `tensorrt` module that running needs.

    refuses: deserialize answers None, as the real one does
    """

    def __init__(self, gpu: FakeGpu, *, refuses: bool = False, short_of_memory: bool = False) -> None:
        fake = self
        self.gpu, self.refuses, self.short_of_memory = gpu, refuses, short_of_memory

        class ILogger:
            ERROR, INTERNAL_ERROR, WARNING, INFO = "ERROR", "INTERNAL_ERROR", "WARNING", "INFO"

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                if fake.refuses:
                    self.logger.log("ERROR", "The engine plan file is not compatible. In check at /_src/runtime.cpp:48")
                    return None
                return FakePlan(fake, plan)

        self.ILogger, self.Runtime = ILogger, Runtime
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    def nptype(self, dtype: str) -> Any:
        return np.dtype(dtype).type

    def library(self) -> Library:
        return Library(name="tensorrt", version="11.4.0", module=self)


class FakePlan:
    device_memory_size_v2 = 64 << 20

    def __init__(self, trt: FakeTrt, plan: bytes) -> None:
        self.trt = trt
        self.network = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
        self.inputs = [tensor.name for tensor in self.network.get_inputs()]
        self.outputs = [tensor.name for tensor in self.network.get_outputs()]
        self.num_io_tensors = len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def create_execution_context(self) -> Any:
        return None if self.trt.short_of_memory else FakeContext(self)


class FakeContext:
    def __init__(self, plan: FakePlan) -> None:
        self.plan = plan
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.ran_since_reshape = False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in (*self.plan.inputs, *self.plan.outputs)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        self.ran_since_reshape = False
        return max(shape) <= 512  # a plan can be narrower than the specification it claims

    def infer_shapes(self) -> list[str]:
        return [name for name in self.plan.inputs if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[self.plan.inputs[0]]

    def execute_async_v3(self, stream: int) -> bool:
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def kernel() -> None:
            feeds = {name: _at(addresses[name], shapes[name]).copy() for name in self.plan.inputs}
            for name, made in zip(self.plan.outputs, self.plan.network.run(self.plan.outputs, feeds), strict=True):
                _at(addresses[name], made.shape)[...] = made

        self.plan.trt.gpu.log.append("execute")
        self.plan.trt.gpu.queue(kernel, stream)
        return True


def _at(address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)
