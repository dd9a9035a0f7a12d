"""The STOW-RS listener's socket, by uvicorn: silent clients are cut off, and one address cannot take all places."""

import asyncio
import collections
import socket
import ssl
import threading
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.errors import BadSetting
from node.peers.tls import subject_names, web_server_context
from node.peers.web.stow import SUBJECTS
from node.settings.web import Stow

_ONE_ADDRESS: Final = 4  # a single address gets this part of stow.maximum_connections
_HEADER_BYTES: Final = 16_384
_START_S: Final = 10.0


class StowServer:
    """Listens from its making until `close`. `port`: the one it listens on, also when the settings said 0."""

    def __init__(self, settings: Stow, application: FastAPI) -> None:
        context = None if settings.tls is None else web_server_context(settings.tls)
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((settings.host, settings.port))
            self._socket.listen()  # at once: whoever hears that this part is alive may connect before uvicorn is ready
        except OSError as error:
            self._socket.close()
            raise BadSetting(
                f"Port {settings.port} on {settings.host} cannot be opened: {error.strerror}.",
                fix="Set stow.host and stow.port to a free one, or stop what holds it.",
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=_protocol(settings),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # whoever connects is the client, whatever a header says
                server_header=False,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                timeout_graceful_shutdown=5,
                ssl_context_factory=None if context is None else lambda *_: context,
            )
        )
        self._thread = threading.Thread(target=self._run, name="stow", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no more requests; those that run get a few seconds."""
        self._server.should_exit = True
        self._thread.join(_START_S)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _protocol(settings: Stow) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with the limits that it lacks; counted before anything of a request is read."""
    open_from: collections.Counter[str] = collections.Counter()
    most = settings.maximum_connections

    class Patient(H11Protocol):
        """One connection."""

        _address = ""
        _counted = False
        _watch: asyncio.TimerHandle | None = None
        _waiting_since: object = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            open_from[self._address] += 1
            self._counted = True
            if open_from[self._address] > max(1, most // _ONE_ADDRESS) or open_from.total() > most:
                self._no_longer_counts()  # it is lost only later; who comes meanwhile must not find its place taken
                transport.abort()
                return
            secured = transport.get_extra_info("ssl_object")
            names = subject_names(secured.getpeercert() if isinstance(secured, ssl.SSLObject) else None)
            application: Any = self.app

            async def named(scope: Any, receive: Any, send: Any) -> None:
                await application({**scope, SUBJECTS: names}, receive, send)

            self.app = named
            self._watch = self.loop.call_later(settings.silence_s, self._look)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._watch is not None:
                self._watch.cancel()
            self._no_longer_counts()

        def _no_longer_counts(self) -> None:
            if not self._counted:
                return
            self._counted = False
            open_from[self._address] -= 1
            if open_from[self._address] <= 0:
                del open_from[self._address]

        def _look(self) -> None:
            """Cut off a client that sent no request, or took no answer, since the last look."""
            cycle = self.cycle
            reading = cycle is not None and not cycle.response_started  # the application watches its body
            now: object = None if reading else (id(cycle), cycle is not None and cycle.response_complete)
            if now is not None and now == self._waiting_since:
                self.transport.abort()
                return
            self._waiting_since = now
            self._watch = self.loop.call_later(settings.silence_s, self._look)

    return Patient
