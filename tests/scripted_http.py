"""HTTP servers that misbehave on script: a reply for each request, in order; the last one for all that follow."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.peers import HOST

DICOM_JSON = "application/dicom+json"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer. `cut`: bytes of the body that are sent before the connection breaks; `wait_s`: before it all."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait_s: float = 0.0
    hang_up: bool = False  # without any answer


Script = Sequence["Reply | Callable[[Asked], Reply]"]


class ScriptedServer(AbstractContextManager["ScriptedServer"]):
    """Listens while it is entered. `asked`: every request, whole."""

    def __init__(self, *script: "Reply | Callable[[Asked], Reply]", context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._script, self._lock = list(script), threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    method=self.command,
                    path=self.path,
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(length),
                )
                reply = owner._next(asked)
                time.sleep(reply.wait_s)
                self.close_connection = reply.hang_up or reply.cut is not None
                if reply.hang_up:
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])

            do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer

            def log_message(self, *arguments: Any) -> None:
                """Nothing: the tests look at `asked`."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"{'http' if context is None else 'https'}://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _next(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return step(asked) if callable(step) else step

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def store_response(
    *, taken: Sequence[str] = (), failed: Mapping[str, int] | None = None, status: int = 200, **more: Any
) -> Reply:
    """A Store Instances Response that names these SOP Instance UIDs (PS3.18 10.5.3)."""

    def item(uid: str, reason: int | None = None) -> dict[str, Any]:
        named: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return named if reason is None else named | {"00081197": {"vr": "US", "Value": [reason]}}

    said = {
        "00081198": {"vr": "SQ", "Value": [item(uid, reason) for uid, reason in (failed or {}).items()]},
        "00081199": {"vr": "SQ", "Value": [item(uid) for uid in taken]},
    }
    headers = {"Content-Type": f"{DICOM_JSON}; charset=utf-8"}
    return Reply(status=status, body=json.dumps(said).encode(), headers=headers, **more)


def listed(*uids: str) -> Reply:
    """A QIDO-RS answer that lists these instances (PS3.18 10.6.3); 204 if there is none."""
    body = json.dumps([{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]).encode()
    return Reply(body=body, headers={"Content-Type": DICOM_JSON}) if uids else Reply(status=204)
