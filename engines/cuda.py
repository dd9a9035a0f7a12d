"""The few calls of the CUDA driver that an engine needs, through libcuda.so.1, which every NVIDIA driver brings.

No CUDA toolkit and no Python package is needed for it. Prototypes and constants: cuda.h of CUDA 13; every name here is
also in CUDA 12.
"""

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_ulonglong, c_void_p
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from engines.engine import BackendMissing, EngineFailed

_NON_BLOCKING: Final = 1  # CU_STREAM_NON_BLOCKING: TensorRT synchronises on the default stream
_THREAD_LOCAL: Final = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile
_CAPABILITY: Final = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_OUT_OF_MEMORY: Final = 2  # CUDA_ERROR_OUT_OF_MEMORY

_PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}


class Gpu:
    """One GPU. Entering it takes the device's primary context, which TensorRT uses too; leaving gives all back.

    device: index, as CUDA counts
    raises: BackendMissing, when there is no driver or no such device
    """

    def __init__(self, device: int = 0) -> None:
        self._cuda = _driver()
        self._check("cuInit", 0)
        count = c_int()
        self._check("cuDeviceGetCount", byref(count))
        if not 0 <= device < count.value:
            raise BackendMissing(
                f"There is no GPU {device}: the driver shows {count.value}.",
                fix="Correct engines.device, or give the node a GPU.",
            )
        handle, name = c_int(), ctypes.create_string_buffer(256)
        self._check("cuDeviceGet", byref(handle), device)
        self._check("cuDeviceGetName", name, len(name), handle)
        self._device = handle.value
        self.name = name.value.decode()
        self.compute_capability = ".".join(str(self._attribute(which)) for which in _CAPABILITY)
        version = c_int()
        self._check("cuDriverGetVersion", byref(version))
        self.driver = f"{_driver_name()}, CUDA {version.value // 1000}.{version.value % 1000 // 10}"
        self._context = c_void_p()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        self._check("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self._held.callback(self._check, "cuDevicePrimaryCtxRelease_v2", self._device)
        self.use()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def use(self) -> None:
        """Make this GPU the calling thread's; needed once in each thread."""
        self._check("cuCtxSetCurrent", self._context)

    def free_bytes(self) -> int:
        """Memory of the device that nobody holds."""
        free, total = c_size_t(), c_size_t()
        self._check("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def stream(self) -> int:
        """A stream that does not wait for the default one; given back on leaving."""
        stream = c_void_p()
        self._check("cuStreamCreate", byref(stream), _NON_BLOCKING)
        return self._keep(stream.value, "cuStreamDestroy_v2")

    def memory(self, size: int) -> int:
        """Address of `size` bytes on the device; given back on leaving."""
        address = c_uint64()
        self._check("cuMemAlloc_v2", byref(address), size)
        return self._keep(address.value, "cuMemFree_v2")

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """`size` bytes on the host that the device copies without a detour; gone on leaving, so never hand them out."""
        address = c_void_p()
        self._check("cuMemHostAlloc", byref(address), size, 0)
        kept = self._keep(address.value, "cuMemFreeHost")
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(kept))

    def upload(self, to: int, source: NDArray[np.uint8], size: int, stream: int) -> None:
        """Queue a copy of the first `size` bytes to the device."""
        self._check("cuMemcpyHtoDAsync_v2", to, source.ctypes.data, size, stream)

    def download(self, to: NDArray[np.uint8], source: int, size: int, stream: int) -> None:
        """Queue a copy of `size` bytes from the device."""
        self._check("cuMemcpyDtoHAsync_v2", to.ctypes.data, source, size, stream)

    def wait(self, stream: int) -> None:
        """Until everything queued is done."""
        self._check("cuStreamSynchronize", stream)

    def capture(self, stream: int, queue: Callable[[], None]) -> int:
        """What `queue` puts on the stream, as a graph that `launch` repeats; nothing is run. `forget` it when done."""
        graph, ready = c_void_p(), c_void_p()
        self._check("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
        try:
            queue()
        finally:  # a stream left in capture would refuse all further work
            ended = self._cuda.cuStreamEndCapture(stream, byref(graph))
        self._result("cuStreamEndCapture", ended)
        try:
            self._check("cuGraphInstantiateWithFlags", byref(ready), graph, 0)
        finally:
            self._check("cuGraphDestroy", graph)
        return int(ready.value or 0)

    def launch(self, graph: int, stream: int) -> None:
        """Queue a captured graph."""
        self._check("cuGraphLaunch", graph, stream)

    def forget(self, graph: int) -> None:
        """Give a captured graph back."""
        self._check("cuGraphExecDestroy", graph)

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._check("cuDeviceGetAttribute", byref(value), which, self._device)
        return value.value

    def _keep(self, handle: int | None, free: str) -> int:
        kept = int(handle or 0)
        self._held.callback(self._check, free, kept)
        return kept

    def _check(self, name: str, *arguments: Any) -> None:
        self._result(name, getattr(self._cuda, name)(*arguments))

    def _result(self, name: str, code: int) -> None:
        if code == 0:
            return
        text = c_char_p()
        self._cuda.cuGetErrorString(code, byref(text))
        told = f"{name} failed: {(text.value or b'unknown error').decode()} ({code})."
        if name in ("cuInit", "cuDeviceGetCount"):
            raise BackendMissing(f"The NVIDIA driver shows no GPU: {told}", fix="Check it with `nvidia-smi`.")
        fix = "Free memory on the GPU." if code == _OUT_OF_MEMORY else "Check the GPU with `nvidia-smi`, then restart."
        raise EngineFailed(told, fix=fix)


def _driver() -> ctypes.CDLL:
    """libcuda with its prototypes. Raises BackendMissing; without this check TensorRT would end the process."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise BackendMissing(
            "There is no NVIDIA driver here: libcuda.so.1 cannot be loaded.",
            fix="Install the driver, give the container the GPU (driver capabilities compute,utility), "
            "or set engines.backend to a backend of the CPU.",
        ) from error
    for name, arguments in _PROTOTYPES.items():
        function = getattr(cuda, name)
        function.argtypes, function.restype = arguments, c_int
    return cuda


def _driver_name() -> str:
    """The driver's own version, such as 580.159.03: a plan is bound to it. Raises BackendMissing."""
    text = ctypes.create_string_buffer(96)
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        code = nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, c_uint(len(text)))
        nvml.nvmlShutdown()
    except OSError as error:
        raise BackendMissing(
            "The version of the NVIDIA driver cannot be asked for: libnvidia-ml.so.1 cannot be loaded.",
            fix="Give the container the driver capability `utility` as well.",
        ) from error
    if code != 0:
        raise BackendMissing(
            f"The NVIDIA driver does not tell its version: error {code}.", fix="Check it with `nvidia-smi`."
        )
    return text.value.decode()
