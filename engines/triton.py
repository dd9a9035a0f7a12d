"""A network that runs in a Triton Inference Server, over gRPC (KServe v2 protocol).

The server is not believed: name, version, tensors and the digest of the network are compared on entering, and the
digest again before every call, because a server may be restarted or exchanged between two calls without an error on
any connection. Whatever does not fit is refused; nothing is ever run here in its place.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.engine import (
    BackendMissing,
    BadSpec,
    DigestMismatch,
    EngineError,
    EngineFailed,
    EngineMissing,
    EngineSpec,
    EngineUnavailable,
    TensorSpec,
    check_feeds,
)
from engines.export_triton import DATATYPES, label, served_sha256, version_number, wire_shape

_ASK_S: Final = 10.0  # for the small questions; a server that does not answer them is away
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 2.0  # a server that is back is in use again this soon
_FRAME_BYTES: Final = 1 << 20  # of a message, beside the tensors
_AGAIN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})

_Answer = TypeVar("_Answer")


class _TooSlow(EngineUnavailable):
    """The server is there, but the answer did not come in time."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM files. ca: who signed the server's certificate; certificate and key: of this node, where the server asks."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None


class TritonEngine:
    """One network on one server. `infer` may be called from several threads at once; each has its own connection.

    spec:      its version is the only one that is asked for; its profile bounds the size of every message
    url:       host:port of the gRPC service
    timeout_s: for each answer of the network
    retries:   repeats of a call that came too late; a network gives the same answer however often it is asked
    wait_s:    how long `infer` waits for a server that is away, with pauses that double to 2 s; entering asks
               `retries` times more and gives up, so that a start never hangs
    tls:       None: not encrypted, for a server on this machine or on a network of its own
    """

    def __init__(
        self,
        spec: EngineSpec,
        url: str,
        *,
        timeout_s: float = 30.0,
        retries: int = 2,
        wait_s: float = 0.0,
        tls: Tls | None = None,
    ) -> None:
        if timeout_s <= 0 or retries < 0 or wait_s < 0:
            raise ValueError(f"timeout_s {timeout_s}, retries {retries} or wait_s {wait_s} is out of range")
        self.spec, self.url = spec, url
        self.timeout_s, self.retries, self.wait_s, self.tls = timeout_s, retries, wait_s, tls
        self.version = version_number(spec)
        self._sha256 = ""
        self._library: Any = None
        self._credentials: Any = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._idle: list[Any] = []

    def __enter__(self) -> Self:
        """Raises BackendMissing, EngineUnavailable, EngineMissing, BadSpec, DigestMismatch; nothing stays open then."""
        try:
            import grpc
            import tritonclient.grpc
        except ImportError as error:
            raise BackendMissing(
                f"Backend triton needs tritonclient: {error}.", fix="pip install 'imaging-node[triton]'"
            ) from error
        self._sha256 = served_sha256(self.spec)
        if self.tls is not None:
            self._credentials = grpc.ssl_channel_credentials(
                *map(_pem, (self.tls.ca, self.tls.key, self.tls.certificate))
            )
        self._library = tritonclient.grpc
        self._closed.clear()
        try:
            self._repeat(self._compare, wait_s=0.0)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._library = None
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    @property
    def memory_bytes(self) -> int:
        """What it takes of this machine's memory for networks: nothing, the server has it."""
        return 0

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Engine.infer`.

        raises: also EngineUnavailable when no answer came within `retries` and `wait_s`; DigestMismatch, EngineMissing
                or BadSpec when the server has another network than it had on entering
        """
        library = self._library
        if library is None:
            raise EngineFailed(f"Engine {self.spec.name} is not loaded.", fix="Use it inside its `with` block.")
        check_feeds(self.spec, feeds)
        inputs = []
        for tensor in self.spec.inputs:
            feed = np.ascontiguousarray(feeds[tensor.name])
            one = library.InferInput(tensor.name, list(feed.shape), DATATYPES[tensor.dtype])
            inputs.append(one.set_data_from_numpy(feed))
        outputs = [library.InferRequestedOutput(tensor.name) for tensor in self.spec.outputs]

        def ask(client: Any) -> Any:
            self._compare_digest(client)
            try:
                return client.infer(
                    self.spec.name, inputs, self.version, outputs=outputs, client_timeout=self.timeout_s
                )
            except _exception() as error:
                if _status(error) == "DEADLINE_EXCEEDED":
                    raise _TooSlow(
                        f"{self._told} did not answer within {self.timeout_s:g} s.",
                        fix="Look at its load, or allow more time.",
                    ) from error
                raise

        return self._taken(self._repeat(ask, wait_s=self.wait_s).get_response(), feeds)

    def _repeat(self, ask: Callable[[Any], _Answer], *, wait_s: float) -> _Answer:
        """Call `ask` with a connection until there is an answer, or a fault that waiting does not mend."""
        began, pause_s, late, tries = time.monotonic(), _FIRST_PAUSE_S, 0, 0
        while True:
            try:
                return self._once(ask)
            except EngineUnavailable as error:
                tries += 1
                late += isinstance(error, _TooSlow)
                away_s = time.monotonic() - began
                if late > self.retries or (tries > self.retries and away_s >= wait_s):
                    raise EngineUnavailable(
                        f"{error.message} Asked {tries} times in {away_s:.0f} s.", fix=error.fix
                    ) from error
            if self._closed.wait(pause_s * random.uniform(0.8, 1.2)):  # noqa: S311  keeps several nodes apart
                raise EngineUnavailable(f"{self._told} was away when the engine was closed.")
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def _once(self, ask: Callable[[Any], _Answer]) -> _Answer:
        """One try. After any fault the connection is given up: what is left of it may never answer again."""
        with self._lock:
            client = self._idle.pop() if self._idle else None
        client = client or self._connect()
        try:
            answer = ask(client)
        except _exception() as error:
            client.close()
            raise self._ours(error) from error
        except BaseException:
            client.close()
            raise
        with self._lock:
            if not self._closed.is_set():
                self._idle.append(client)
                return answer
        client.close()
        return answer

    def _connect(self) -> Any:
        library = self._library
        if library is None:
            raise EngineUnavailable(f"{self._told} was away when the engine was closed.")
        options = [
            ("grpc.max_send_message_length", self._largest(self.spec.inputs)),
            ("grpc.max_receive_message_length", self._largest(self.spec.outputs)),
            ("grpc.enable_http_proxy", 0),  # images go to the server of the settings, past what the environment names
            ("grpc.use_local_subchannel_pool", 1),  # a new connection is a new one
        ]
        return library.InferenceServerClient(self.url, creds=self._credentials, channel_args=options)

    def _largest(self, tensors: tuple[TensorSpec, ...]) -> int:
        """No message of this engine is longer, in bytes."""
        shapes = [(prod(self.spec.shape_at(tensor, "maximum")), np.dtype(tensor.dtype).itemsize) for tensor in tensors]
        return _FRAME_BYTES + sum(items * size for items, size in shapes)

    def _compare(self, client: Any) -> None:
        """What the server has loaded under this name and version must be what the specification says."""
        found = client.get_model_metadata(self.spec.name, self.version, client_timeout=self._ask_s)
        if self.version not in found.versions:
            raise EngineMissing(
                f"{self._told} has versions {list(found.versions)} of {self.spec.name}, not {self.version}.",
                fix="Export this version: imaging-node engines export-triton.",
            )
        for kind, wanted, there in (
            ("inputs", self.spec.inputs, found.inputs),
            ("outputs", self.spec.outputs, found.outputs),
        ):
            ours = sorted((tensor.name, DATATYPES[tensor.dtype], wire_shape(tensor)) for tensor in wanted)
            theirs = sorted((tensor.name, tensor.datatype, list(tensor.shape)) for tensor in there)
            if ours != theirs:
                raise BadSpec(
                    f"Engine {self.spec.name}: the specification's {kind} are {ours}, those on {self.url} {theirs}.",
                    fix="Export the engine again: imaging-node engines export-triton.",
                )
        self._compare_digest(client)

    def _compare_digest(self, client: Any) -> None:
        reply = client.get_model_config(self.spec.name, self.version, client_timeout=self._ask_s)
        parameters = reply.config.parameters
        name = label(self.version)
        found = parameters[name].string_value if name in parameters else ""  # a protobuf map would make a missing key
        if found != self._sha256:
            said = f"sha256 {found[:16]!a}…" if found else "no digest"
            raise DigestMismatch(
                f"{self._told} names {said} for {self.spec.name} {self.version}, not {self._sha256[:16]}….",
                fix="It has another network under this name: export the engine again, and find out who put it there.",
            )

    def _taken(self, response: Any, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The arrays of an answer, once each is known to be what was asked for. Raises EngineFailed."""
        if (response.model_name, response.model_version) != (self.spec.name, self.version):
            raise EngineFailed(
                f"{self._told} answered as {ascii(response.model_name)[:80]} {ascii(response.model_version)[:20]}, "
                f"not as {self.spec.name} {self.version}.",
                fix="Look for what stands between the node and the server.",
            )
        lengths = {
            name: length
            for tensor in self.spec.inputs
            for name, length in zip(tensor.shape, feeds[tensor.name].shape, strict=True)
        }
        there = {output.name: (index, output) for index, output in enumerate(response.outputs)}
        made: dict[str, NDArray[Any]] = {}
        for tensor in self.spec.outputs:
            index, output = there.get(tensor.name, (-1, None))
            shape = [int(lengths.get(length, length)) for length in tensor.shape]
            data = response.raw_output_contents[index] if 0 <= index < len(response.raw_output_contents) else b""
            dtype = np.dtype(tensor.dtype)
            if (
                output is None
                or output.datatype != DATATYPES[tensor.dtype]
                or list(output.shape) != shape
                or len(data) != prod(shape) * dtype.itemsize
            ):
                came = "nothing" if output is None else f"{output.datatype} {list(output.shape)}, {len(data)} bytes"
                raise EngineFailed(
                    f"{self._told} gave {came} for {tensor.name}, not {DATATYPES[tensor.dtype]} {shape}.",
                    fix="Its backend does not work: look at its log.",
                )
            made[tensor.name] = np.frombuffer(data, dtype).reshape(shape).copy()
        return made

    def _ours(self, error: Exception) -> EngineError:
        status = _status(error)
        text = ascii(getattr(error, "message", lambda: "")())[1:201]
        told = f"{self._told}: {status}, {text}."
        if status in _AGAIN:
            return EngineUnavailable(told, fix="Start the server, or correct its address; jobs wait for it.")
        if status == "NOT_FOUND":
            return EngineMissing(told, fix="Export the engine (imaging-node engines export-triton) and load it there.")
        return EngineFailed(told, fix="Look at the server's log.")

    @property
    def _told(self) -> str:
        return f"Triton at {self.url}"

    @property
    def _ask_s(self) -> float:
        return min(_ASK_S, self.timeout_s)


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackendMissing(
            f"A certificate or key for Triton cannot be read from {path}: {error.strerror}.",
            fix="Correct engines.triton_ca, triton_certificate and triton_key.",
        ) from error


def _exception() -> type[Exception]:
    """What tritonclient raises for every fault of a call; imported only where the library is in use."""
    from tritonclient.utils import InferenceServerException

    return InferenceServerException  # type: ignore[no-any-return]  # the library has no types


def _status(error: Exception) -> str:
    """The gRPC status, as in UNAVAILABLE; UNKNOWN if there is none."""
    status = error.status() if hasattr(error, "status") else None
    return str(status).removeprefix("StatusCode.") if status else "UNKNOWN"
