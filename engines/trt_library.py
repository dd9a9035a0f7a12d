"""TensorRT or TensorRT-RTX as the operator installed it: imported late, driven within what their versions share.

The interface is what TensorRT 10.13 to 11.x and TensorRT-RTX 1.4 and newer have in common.
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any, Final

from engines.cuda import Gpu
from engines.engine import BackendMissing, EngineSpec, PlanRefused
from engines.plan import Machine, rebuild

RTX: Final = "tensorrt_rtx"

# Names under which the libraries are imported, with the versions that share the interface used here.
_MODULES: Final = (
    ("tensorrt", "tensorrt", (10, 13), (12,)),
    ("tensorrt_rtx", RTX, (1, 4), (2,)),
    ("tensorrt_rtx_bindings", RTX, (1, 4), (2,)),  # the wheels without the package that joins them
)


@dataclass(frozen=True, kw_only=True)
class Library:
    """TensorRT as it is installed. name: "tensorrt" or "tensorrt_rtx"."""

    name: str
    version: str
    module: Any


class Messages:
    """What TensorRT said while it built or loaded something: warnings and errors, without its source positions."""

    def __init__(self, trt: Any) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        kept = self

        class Logger(trt.ILogger):  # type: ignore[misc]  # the class comes from the library, at run time
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    kept.errors.append(_plain(text))
                elif severity == trt.ILogger.WARNING:
                    kept.warnings.append(_plain(text))

        self.logger = Logger()

    def told(self) -> str:
        """The errors in one line; what the builder says last is often only that it failed."""
        return " | ".join(dict.fromkeys(self.errors)) or "TensorRT gave no reason"


def load_library() -> Library:
    """The installed TensorRT, or else TensorRT-RTX. Raises BackendMissing."""
    for module, name, oldest, next_major in _MODULES:
        try:
            trt = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise BackendMissing(
                f"{name} is installed, but cannot be loaded: {error}.",
                fix="Install the package with its libraries again; they have to be of one version.",
            ) from error
        version = tuple(int(part) for part in trt.__version__.split(".")[:2])
        if not oldest <= version < next_major:
            raise BackendMissing(
                f"{name} {trt.__version__} is installed; {'.'.join(map(str, oldest))} "
                f"up to below {next_major[0]} is what the node can drive.",
                fix="Install a version between them.",
            )
        return Library(name=name, version=str(trt.__version__), module=trt)
    raise BackendMissing(
        "TensorRT is not installed.",
        fix="Read its licence, which excludes medical use without a separate agreement with NVIDIA; then install "
        "`tensorrt` (or `tensorrt-rtx-cu13-libs` and `tensorrt-rtx-cu13-bindings`), or choose another engines.backend.",
    )


def machine(library: Library, gpu: Gpu) -> Machine:
    """What a plan that is made or run here is bound to."""
    return Machine(
        library=library.name,
        library_version=library.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
    )


def deserialize(runtime: Any, plan: bytes, spec: EngineSpec, messages: Messages) -> Any:
    """The library's engine. Raises PlanRefused: None is all that TensorRT answers to a plan that it does not take."""
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise PlanRefused(
            f"TensorRT does not load the plan of engine {spec.name}: {messages.told()}.", fix=rebuild(spec.name)
        )
    return engine


def _plain(text: str) -> str:
    """One line, without the positions in NVIDIA's sources that change with every version."""
    return re.sub(r"\.?\s*In \w+ at /_src/[\w/.-]+:\d+\s*", "", " ".join(text.split())).strip().rstrip(".")
