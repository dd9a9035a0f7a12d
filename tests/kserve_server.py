"""A server of the KServe v2 gRPC protocol that serves a Triton model repository with ONNX Runtime.

The protocol is the published one, as tritonclient carries it; the repository is read as Triton reads it: config.pbtxt
in the text format of `inference.ModelConfig`, the versions that its policy names, model.onnx in each. It stands in for
a real Triton where none can be had, and can misbehave on command.

    python -m tests.kserve_server REPOSITORY [--port N] [--dies-at N]     prints the port, serves until it is killed
"""

import argparse
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from engines.export_triton import DATATYPES

_NUMPY = {wire: np.dtype(name) for name, wire in DATATYPES.items()}


_OPTIONS = [
    ("grpc.so_reuseport", 0),  # two servers on one port would answer in turns
    ("grpc.max_receive_message_length", -1),  # as Triton sets it
    ("grpc.max_send_message_length", -1),
]


class Unfit(Exception):
    """The repository cannot be served."""


@dataclass(kw_only=True)
class Mischief:
    """What the server does wrong from now on.

    slow_s:  pause before each answer of a network, seconds
    short:   so many bytes are missing from each output; a real Triton gave none at all for an array it did not know
    answers_as: model version that answers carry
    fails:   gRPC status of each inference
    dies_at: SIGKILL to itself in the middle of this inference, counted from 1; 0: never
    """

    slow_s: float = 0.0
    short: int = 0
    answers_as: str = ""
    fails: grpc.StatusCode | None = None
    dies_at: int = 0


@dataclass(kw_only=True)
class Model:
    """One model of the repository: its configuration and a session for each version that is served."""

    config: Any
    sessions: dict[str, onnxruntime.InferenceSession] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "Model":
        config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        if config.name != folder.name or config.platform != "onnxruntime_onnx":
            raise Unfit(f"{folder.name}: the configuration names {config.name} on {config.platform}")
        model = cls(config=config)
        for version in config.version_policy.specific.versions:
            path = folder / str(version) / "model.onnx"
            if not path.is_file():
                raise Unfit(f"{folder.name}: there is no version {version}")
            session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
            _fits(config.input, session.get_inputs())
            _fits(config.output, session.get_outputs())
            model.sessions[str(version)] = session
        return model


def _fits(said: Any, there: Any) -> None:
    """Triton's own rule: names, and lengths unless one side leaves them free."""
    if sorted(tensor.name for tensor in said) != sorted(tensor.name for tensor in there):
        raise Unfit(f"the configuration has {[t.name for t in said]}, the network {[t.name for t in there]}")
    shapes = {tensor.name: tensor.shape for tensor in there}
    for tensor in said:
        for one, other in zip(tensor.dims, shapes[tensor.name], strict=True):
            if isinstance(other, int) and one != other:
                raise Unfit(f"{tensor.name}: {list(tensor.dims)} is not {shapes[tensor.name]}")


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated, without types
    def __init__(self, repository: Path, mischief: Mischief) -> None:
        self.mischief = mischief
        self.calls: list[str] = []
        folders = sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
        self.models = {folder.name: Model.load(folder) for folder in folders}

    def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: Any) -> Any:
        model = self.models.get(request.name)
        return service_pb2.ModelReadyResponse(ready=model is not None and request.version in model.sessions)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        self.calls.append("ModelMetadata")
        model = self._model(request.name, request.version, context)
        kinds = dict(model_config_pb2.DataType.items())
        wire = {number: kind.removeprefix("TYPE_") for kind, number in kinds.items()}
        tensor = service_pb2.ModelMetadataResponse.TensorMetadata
        return service_pb2.ModelMetadataResponse(
            name=request.name,
            versions=sorted(model.sessions, key=int),
            platform=model.config.platform,
            inputs=[tensor(name=t.name, datatype=wire[t.data_type], shape=t.dims) for t in model.config.input],
            outputs=[tensor(name=t.name, datatype=wire[t.data_type], shape=t.dims) for t in model.config.output],
        )

    def ModelConfig(self, request: Any, context: Any) -> Any:
        self.calls.append("ModelConfig")
        return service_pb2.ModelConfigResponse(config=self._model(request.name, request.version, context).config)

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.calls.append("ModelInfer")
        session = self._model(request.model_name, request.model_version, context).sessions[request.model_version]
        if self.mischief.fails is not None:
            context.abort(self.mischief.fails, "as it was told")
        known = {tensor.name for tensor in session.get_inputs()}
        feeds = {}
        for tensor, data in zip(request.inputs, request.raw_input_contents, strict=True):
            if tensor.name not in known:
                text = f"unexpected inference input '{tensor.name}' for model '{request.model_name}'"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            feeds[tensor.name] = np.frombuffer(data, _NUMPY[tensor.datatype]).reshape(tuple(tensor.shape))
        names = [output.name for output in request.outputs] or [tensor.name for tensor in session.get_outputs()]
        made = session.run(names, feeds)
        if self.calls.count("ModelInfer") == self.mischief.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.mischief.slow_s)
        response = service_pb2.ModelInferResponse(
            model_name=request.model_name, model_version=self.mischief.answers_as or request.model_version
        )
        for name, array in zip(names, made, strict=True):
            wire = DATATYPES[array.dtype.name]
            response.outputs.add(name=name, datatype=wire, shape=array.shape)
            data = np.ascontiguousarray(array).tobytes()
            response.raw_output_contents.append(data[: len(data) - self.mischief.short])
        return response

    def _model(self, name: str, version: str, context: Any) -> Model:
        model = self.models.get(name)
        if model is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        elif version not in model.sessions:
            text = f"Request for unknown model: '{name}' version {version} is not found"
            context.abort(grpc.StatusCode.NOT_FOUND, text)
        assert model is not None
        return model


class KserveServer:
    """The server inside its `with` block, on a real socket.

    port: 0 takes a free one; another is for a server that comes back where it was
    tls:  (key, certificate), PEM
    """

    def __init__(
        self,
        repository: Path,
        *,
        port: int = 0,
        mischief: Mischief | None = None,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.mischief = mischief or Mischief()
        self._service = _Service(repository, self.mischief)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), options=_OPTIONS)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self._service, self._server)
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([tls]))

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[str]:
        """The methods that were called, in their order."""
        return self._service.calls

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Break every connection now, as a server does that is killed."""
        self._server.stop(None).wait(10.0)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dies-at", type=int, default=0)
    asked = parser.parse_args()
    with KserveServer(asked.repository, port=asked.port, mischief=Mischief(dies_at=asked.dies_at)) as server:
        print(server.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
