"""Which library runs a network: what the settings choose, and nothing else. No backend stands in for another."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engines.engine import BadSpec, Engine, EngineSpec


class Backend(StrEnum):
    """What can run an ONNX file."""

    ORT = "ort"
    ORT_CUDA = "ort-cuda"
    OPENVINO = "openvino"
    TRT = "trt"
    TRITON = "triton"


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """How networks run, as the settings say.

    threads:          of the CPU, for the backends that compute there
    device:           index of the GPU
    plans:            folder of compiled TensorRT plans, made on this machine
    triton_url:       host:port of a server's gRPC service
    triton_timeout_s: for each answer
    triton_retries:   repeats of a call that got no answer
    triton_wait_s:    how long a server that is away is waited for
    triton_ca, triton_certificate, triton_key: PEM files; without triton_ca the connection is not encrypted
    """

    backend: Backend = Backend.ORT
    threads: int = 2
    device: int = 0
    plans: Path | None = None
    triton_url: str | None = None
    triton_timeout_s: float = 30.0
    triton_retries: int = 2
    triton_wait_s: float = 0.0
    triton_ca: Path | None = None
    triton_certificate: Path | None = None
    triton_key: Path | None = None


def open_engine(spec: EngineSpec, choice: BackendSettings) -> Engine:
    """The engine that `choice` names, not entered yet. Libraries are imported only when they are chosen.

    raises: BackendMissing, now or on entering, when the library or device is not there; BadSpec for a missing setting
    """
    match choice.backend:
        case Backend.ORT:
            from engines.ort import OrtEngine

            return OrtEngine(spec, threads=choice.threads)
        case Backend.ORT_CUDA:
            from engines.ort import OrtCudaEngine

            return OrtCudaEngine(spec, device=choice.device)
        case Backend.OPENVINO:
            from engines.ov import OvEngine

            return OvEngine(spec, threads=choice.threads)
        case Backend.TRT:
            from engines.trt import TrtEngine

            if choice.plans is None:
                raise BadSpec("Backend trt has no folder for its plans.", fix="Set engines.plans to one.")
            return TrtEngine(spec, choice.plans, device=choice.device)
        case Backend.TRITON:
            from engines.triton import Tls, TritonEngine

            if choice.triton_url is None:
                raise BadSpec("Backend triton has no server.", fix="Set engines.triton_url to its host:port for gRPC.")
            tls = None
            if choice.triton_ca is not None:
                tls = Tls(ca=choice.triton_ca, certificate=choice.triton_certificate, key=choice.triton_key)
            return TritonEngine(
                spec,
                choice.triton_url,
                timeout_s=choice.triton_timeout_s,
                retries=choice.triton_retries,
                wait_s=choice.triton_wait_s,
                tls=tls,
            )


def describe(choice: BackendSettings) -> str:
    """The backend in words, for a person."""
    match choice.backend:
        case Backend.ORT:
            return f"ONNX Runtime on the CPU, {choice.threads} thread(s)"
        case Backend.ORT_CUDA:
            return f"ONNX Runtime with CUDA, GPU {choice.device}"
        case Backend.OPENVINO:
            return f"OpenVINO on the CPU, {choice.threads} thread(s)"
        case Backend.TRT:
            return f"TensorRT, GPU {choice.device}"
        case Backend.TRITON:
            return f"Triton at {choice.triton_url}"
