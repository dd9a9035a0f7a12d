"""TensorRT and TensorRT-RTX: run a plan that `engines.build` made on this machine.

The operator installs the library (its licence excludes medical use without a separate agreement); without it, nothing
here is ever imported.
"""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engines.cuda import Gpu
from engines.engine import EngineFailed, EngineSpec, PlanRefused, ShapeOutsideProfile, TensorSpec, check_feeds
from engines.plan import accept, read_plan, read_sheet, rebuild
from engines.trt_library import RTX, Library, Messages, deserialize, load_library, machine


class TrtEngine:
    """One network as a plan on one GPU.

    spec:   what to load
    plans:  folder that `imaging-node engines build` filled on this machine
    device: index of the GPU
    raises: on entering: BackendMissing without driver, GPU or library; PlanRefused unless the plan is whole, was made
            for this network on this machine, and has passed parity
    """

    def __init__(self, spec: EngineSpec, plans: Path, *, device: int = 0) -> None:
        self.spec = spec
        self.plans = plans
        self.device = device
        self._held = ExitStack()
        self._session: Session | None = None

    def __enter__(self) -> Self:
        sheet = read_sheet(self.plans, self.spec.name)
        library = load_library()
        gpu = Gpu(self.device)  # before anything of TensorRT's runtime: without a driver that ends the process
        accept(sheet, self.spec, machine(library, gpu))
        with ExitStack() as held:
            held.enter_context(gpu)
            self._session = held.enter_context(Session(self.spec, library, read_plan(self.plans, sheet), gpu))
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        self._held.close()

    @property
    def memory_bytes(self) -> int:
        """What it holds on the GPU; 0 while it is not loaded."""
        return 0 if self._session is None else self._session.memory_bytes

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`."""
        if self._session is None:
            raise EngineFailed(f"Engine {self.spec.name} is not loaded.", fix="Use it inside its `with` block.")
        return self._session.infer(feeds)


class Session:
    """A plan that is loaded on an entered GPU. No check of where the plan comes from: `TrtEngine` and `build` do that.

    graphs: replay repeats of one shape as a CUDA graph. The first call of a shape runs without (TensorRT has to run
            once after a change of shape before it can be captured), the second captures, later ones replay.
    """

    def __init__(self, spec: EngineSpec, library: Library, plan: bytes, gpu: Gpu, *, graphs: bool = True) -> None:
        self.spec = spec
        self.graphs = graphs
        self._library = library
        self._plan = plan
        self._gpu = gpu
        self._lock = threading.Lock()  # one set of buffers, one stream
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._captured = 0
        self._runs = 0
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._stream = 0
        self._host: dict[str, NDArray[np.uint8]] = {}
        self._device: dict[str, int] = {}
        self._held = ExitStack()

    def __enter__(self) -> Self:
        trt = self._library.module
        self._gpu.use()
        self._messages = Messages(trt)
        with ExitStack() as held:
            held.callback(self._drop)
            self._runtime = trt.Runtime(self._messages.logger)
            self._engine = deserialize(self._runtime, self._plan, self.spec, self._messages)
            self._compare(trt)
            self._context = self._new_context(trt)
            self._stream = self._gpu.stream()
            self._make_buffers()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def memory_bytes(self) -> int:
        """What it holds on the GPU: scratch memory, weights (about the plan), buffers."""
        buffers = sum(buffer.size for buffer in self._host.values())
        return int(self._engine.device_memory_size_v2) + len(self._plan) + buffers

    @property
    def captured(self) -> bool:
        """Whether the last call was, or the next one of the same shape will be, a replay."""
        return bool(self._captured)

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`."""
        check_feeds(self.spec, feeds)
        with self._lock:
            self._gpu.use()
            shapes = {tensor.name: tuple(feeds[tensor.name].shape) for tensor in self.spec.inputs}
            if any(self._shapes.get(name) != shape for name, shape in shapes.items()):
                self._reshape(shapes)
            for tensor in self.spec.inputs:
                self._array(tensor)[...] = feeds[tensor.name]
            self._run()
            return {tensor.name: self._array(tensor).copy() for tensor in self.spec.outputs}

    def _run(self) -> None:
        if self.graphs and self._runs == 1 and self._capturable():
            self._captured = self._gpu.capture(self._stream, self._queue)
        if self._captured:
            self._gpu.launch(self._captured, self._stream)
        else:
            self._queue()
        self._gpu.wait(self._stream)
        self._runs += 1

    def _queue(self) -> None:
        """Feeds up, the network, results down; on the stream, in this order."""
        for tensor in self.spec.inputs:
            size = _bytes(tensor, self._shapes[tensor.name])
            self._gpu.upload(self._device[tensor.name], self._host[tensor.name], size, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise EngineFailed(
                f"TensorRT failed to run engine {self.spec.name}: {self._messages.told()}.",
                fix="Repeat the job; if it fails again, " + rebuild(self.spec.name),
            )
        for tensor in self.spec.outputs:
            size = _bytes(tensor, self._shapes[tensor.name])
            self._gpu.download(self._host[tensor.name], self._device[tensor.name], size, self._stream)

    def _reshape(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._forget_graph()
        self._shapes.clear()  # until everything below is done, no shape is set
        self._runs = 0
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise ShapeOutsideProfile(
                    f"The plan of engine {self.spec.name} does not take {name} {list(shape)}: {self._messages.told()}.",
                    fix=rebuild(self.spec.name),
                )
        if missing := self._context.infer_shapes():
            raise EngineFailed(f"TensorRT does not know the shapes of {list(missing)}.", fix=rebuild(self.spec.name))
        found = dict(shapes)
        for tensor in self.spec.outputs:
            shape = tuple(self._context.get_tensor_shape(tensor.name))
            if _bytes(tensor, shape) > self._host[tensor.name].size:
                raise EngineFailed(
                    f"Engine {self.spec.name}: {tensor.name} would be {list(shape)}, more than its specification says.",
                    fix="Correct the profile of the specification.",
                )
            found[tensor.name] = shape
        self._shapes.update(found)

    def _capturable(self) -> bool:
        """TensorRT-RTX says which networks cannot be captured; TensorRT fails, which is then an error."""
        return self._library.name != RTX or bool(self._context.is_stream_capturable(self._stream))

    def _forget_graph(self) -> None:
        if self._captured:
            self._gpu.forget(self._captured)
            self._captured = 0

    def _array(self, tensor: TensorSpec) -> NDArray[Any]:
        shape = self._shapes[tensor.name]
        return self._host[tensor.name][: _bytes(tensor, shape)].view(tensor.dtype).reshape(shape)

    def _new_context(self, trt: Any) -> Any:
        if self._library.name == RTX:
            # By default RTX compiles kernels for a new shape in the background: results would change within a series.
            settings = self._engine.create_runtime_config()
            settings.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            context = self._engine.create_execution_context(settings)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise EngineFailed(
                f"TensorRT cannot prepare engine {self.spec.name}, which needs "
                f"{self._engine.device_memory_size_v2 >> 20} MB of {self._gpu.free_bytes() >> 20} MB free on the GPU: "
                f"{self._messages.told()}.",
                fix="Free memory on the GPU.",
            )
        return context

    def _make_buffers(self) -> None:
        """Addresses are frozen into a captured graph, so every buffer is made once, for the largest shape."""
        for tensor in (*self.spec.inputs, *self.spec.outputs):
            size = _bytes(tensor, self.spec.shape_at(tensor, "maximum"))
            self._host[tensor.name] = self._gpu.pinned(size)
            self._device[tensor.name] = self._gpu.memory(size)
            if not self._context.set_tensor_address(tensor.name, self._device[tensor.name]):
                raise EngineFailed(
                    f"TensorRT does not take the address of {tensor.name}: {self._messages.told()}.",
                    fix=rebuild(self.spec.name),
                )

    def _drop(self) -> None:
        """Before the GPU's context goes; each object of TensorRT's holds on to the one before it."""
        self._gpu.use()
        self._forget_graph()
        self._host.clear()
        self._context = None
        self._engine = None
        self._runtime = None

    def _compare(self, trt: Any) -> None:
        """The plan must have the tensors of the specification."""
        engine = self._engine
        found = {
            (name, engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT, np.dtype(trt.nptype(dtype)).name)
            for name, dtype in (
                (name, engine.get_tensor_dtype(name))
                for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors))
            )
        }
        wanted = {(tensor.name, True, tensor.dtype) for tensor in self.spec.inputs}
        wanted |= {(tensor.name, False, tensor.dtype) for tensor in self.spec.outputs}
        if found != wanted:
            raise PlanRefused(
                f"The plan of engine {self.spec.name} has tensors {sorted(found)}, not {sorted(wanted)}.",
                fix=rebuild(self.spec.name),
            )


def _bytes(tensor: TensorSpec, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
