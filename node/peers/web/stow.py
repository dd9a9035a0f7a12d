"""STOW-RS listener (PS3.18 10.5): instances come by HTTP and are kept as those of an association are.

A request is one association in the records: opened when its sender is known, released when its body was whole. Nothing
of a body stays in memory: blocks go through `parts` and `unwrap` to the spool as they come.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from node.dicom.uids import is_well_formed
from node.intake.incoming import Rejected, Status
from node.intake.unwrap import Unwrapper
from node.log import log
from node.peers.taking import Taking
from node.peers.web.parts import Malformed, Parts, TooMany, boundary_of, media_type
from node.peers.web.store_response import JSON_TYPE, XML_TYPE, Outcome, encoded, http_status
from node.peers.web.stow_senders import Senders, TurnedAway
from node.settings.web import Stow

SUBJECTS: Final = "imaging_node_subjects"  # in the ASGI scope: names in the client's certificate, in lower case
_BLOCK: Final = 256 << 10  # what a client has to send within stow.silence_s
_AT_ONCE: Final = 4  # instances of one request that are being synced while the next one comes
_DRAIN_BYTES, _DRAIN_S = 1 << 20, 2.0


@dataclass
class _Part:
    """One instance of a request: a sink for its bytes, and what became of it.

    later: does what takes a while beside the bytes that follow
    """

    file: Unwrapper
    answered: Callable[[int, int], None]
    later: Callable[[Callable[[], None]], None]
    outcome: Outcome | None = None

    def feed(self, block: memoryview) -> None:
        if self.outcome is None:
            self._do(lambda: self.file.feed(block))

    def end(self) -> None:
        if self.outcome is None:
            self.later(self._keep)

    def broken(self) -> None:
        self.refuse(Rejected(Status.UNREADABLE, "The request ended in the middle of the instance"))

    def refuse(self, error: Rejected) -> None:
        """Nothing of it stays; further bytes are dropped."""
        if self.outcome is None:
            self.file.abandon()
            log.warning("instance refused", status=f"{error.status:#06x}", why=error.comment)
            self._note(error.status)

    def _keep(self) -> None:
        if self._do(self.file.finish):
            self._note(Status.SUCCESS)

    def _do(self, step: Callable[[], Any]) -> bool:
        try:
            step()
        except Rejected as error:
            self.refuse(error)
        except Exception:  # noqa: BLE001  the sender gets an answer whatever broke here; the log has the trace
            log.exception("instance not stored")
            self.refuse(Rejected(Status.INTERNAL_FAILURE, "The node could not store it; see its log"))
        else:
            return True
        return False

    def _note(self, status: Status) -> None:
        named = self.file
        self.outcome = Outcome(
            sop_class_uid=named.sop_class_uid, sop_instance_uid=named.sop_instance_uid, status=int(status)
        )
        self.answered(int(status), named.size)


@dataclass
class _Store:
    """One request: its body on the way in. Its methods block; one thread at a time.

    keepers: threads that sync and record instances while the next ones come in; the records commit them together
    """

    taking: Taking
    title: str
    study_uid: str
    boundary: bytes
    most: int
    keepers: ThreadPoolExecutor
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def open(self) -> None:
        self.parts = Parts(self.boundary, self._part, most=self.most)
        self._all: list[_Part] = []
        self._kept: deque[Future[None]] = deque()
        self.taking.opened(self.key, self.title)

    @property
    def outcomes(self) -> list[Outcome]:
        """Of every part, in the order in which they came; after `close`."""
        return [part.outcome for part in self._all if part.outcome is not None]

    def close(self, *, whole: bool) -> None:
        """The body has ended. Nothing of a part that was not whole stays; all others are durable or refused."""
        try:
            self.parts.close()
            while self._kept:
                self._kept.popleft().result()
        finally:
            self.taking.closed(self.key, whole and self.parts.whole)

    def _later(self, work: Callable[[], None]) -> None:
        self._kept.append(self.keepers.submit(work))
        if len(self._kept) >= _AT_ONCE:  # no more of them in memory
            self._kept.popleft().result()

    def _part(self, headers: dict[str, str]) -> _Part:
        file = Unwrapper(self.taking.begin, association=self.key, calling_ae=self.title, study_uid=self.study_uid)
        part = _Part(file=file, answered=self.taking.answered, later=self._later)
        self._all.append(part)
        if media_type(headers.get("content-type", "application/dicom"))[0] != "application/dicom":
            part.refuse(Rejected(Status.UNREADABLE, "The part is no application/dicom"))
        elif headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit"):
            part.refuse(Rejected(Status.UNREADABLE, "The part has a transfer encoding"))
        elif headers.get("content-encoding", "identity").lower() != "identity":
            part.refuse(Rejected(Status.UNREADABLE, "The part is compressed"))
        return part


def make(settings: Stow, taking: Taking) -> FastAPI:
    """The listener's application. Raises BadSetting."""
    app = FastAPI(title="STOW-RS", docs_url=None, redoc_url=None, openapi_url=None)
    door = _Door(settings, taking)

    @app.post("/studies")
    async def store(request: Request) -> Response:
        return await door.store(request, "")

    @app.post("/studies/{study_uid}")
    async def store_in_study(request: Request, study_uid: str) -> Response:
        return await door.store(request, study_uid)

    return app


class _Door:
    """Takes requests, a limited number at a time."""

    def __init__(self, settings: Stow, taking: Taking) -> None:
        self._settings, self._taking = settings, taking
        self._senders = Senders(settings.senders)
        self._inside = 0
        self._threads = ThreadPoolExecutor(settings.maximum_requests, thread_name_prefix="stow")
        self._keepers = ThreadPoolExecutor(settings.maximum_requests * _AT_ONCE, thread_name_prefix="keep")

    async def store(self, request: Request, study_uid: str) -> Response:
        try:
            store = self._admit(request, study_uid)
        except TurnedAway as error:
            if error.status in (401, 403):
                self._taking.refused("no_credentials")
            return await self._turn_away(request, error)
        if self._inside >= self._settings.maximum_requests:
            self._taking.refused("limit")
            busy = TurnedAway(503, "As many requests as may be are being stored.", {"Retry-After": "5"})
            return await self._turn_away(request, busy)
        self._inside += 1
        try:
            return await self._take(request, store)
        finally:
            self._inside -= 1

    def _admit(self, request: Request, study_uid: str) -> _Store:
        """What can be said of a request by its head alone. Raises TurnedAway."""
        title = self._senders.title(request.headers.get("authorization", ""), request.scope.get(SUBJECTS, frozenset()))
        if study_uid and not is_well_formed(study_uid):
            raise TurnedAway(400, "The study in the URL is no UID.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise TurnedAway(415, "No Content-Encoding is taken.", {"Accept-Encoding": "identity"})
        try:
            kind, parameters = media_type(request.headers.get("content-type", ""))
            if kind != "multipart/related" or parameters.get("type", "application/dicom") != "application/dicom":
                raise TurnedAway(
                    415, 'Only multipart/related; type="application/dicom" is taken.', {"Accept": "multipart/related"}
                )
            boundary = boundary_of(parameters)
        except Malformed as error:
            raise TurnedAway(400, f"{error}.") from error
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.maximum_request_mb << 20:
            raise TurnedAway(413, f"A request may have {self._settings.maximum_request_mb} MB.")
        return _Store(
            taking=self._taking,
            title=title,
            study_uid=study_uid,
            boundary=boundary,
            most=self._settings.maximum_parts,
            keepers=self._keepers,
        )

    async def _take(self, request: Request, store: _Store) -> Response:
        began = time.monotonic()
        await self._in_thread(store.open)
        refused: TurnedAway | None = None
        try:
            async for block in self._blocks(request):
                await self._in_thread(store.parts.feed, block)
        except ClientDisconnect:
            refused = TurnedAway(400, "The client went away.")
        except TimeoutError:
            refused = TurnedAway(408, f"Less than {_BLOCK >> 10} KiB came in {self._settings.silence_s:g} s.")
        except TooMany as error:
            refused = TurnedAway(413, f"{error}.")
        except Malformed as error:
            refused = TurnedAway(400, f"{error}.")
        except TurnedAway as error:
            refused = error
        finally:  # also when the part is told to end
            await asyncio.shield(self._in_thread(lambda: store.close(whole=refused is None)))
        if refused is None and not store.parts.whole:
            refused = TurnedAway(400, "The closing boundary is missing.")
        status = http_status(store.outcomes) if refused is None else refused.status
        stored = sum(outcome.status == Status.SUCCESS for outcome in store.outcomes)
        log.info(
            "stored by HTTP",
            sender=store.title,
            status=status,
            stored=stored,
            failed=len(store.outcomes) - stored,
            seconds=round(time.monotonic() - began, 3),
        )
        if refused is not None and not store.outcomes:
            return await self._turn_away(request, refused)
        accept = request.headers.get("accept", "")
        kind = XML_TYPE if XML_TYPE in accept and "json" not in accept else JSON_TYPE
        headers = {"Connection": "close"} if refused is not None else {}
        if status in (503, 507):
            headers["Retry-After"] = "60"
        return Response(encoded(store.outcomes, media_type=kind), status, headers, kind)

    async def _blocks(self, request: Request) -> AsyncIterator[bytes]:
        """The body in blocks of at least `_BLOCK` bytes. Raises TimeoutError, ClientDisconnect, TurnedAway."""
        stream, total, more = request.stream(), 0, True
        while more:
            gathered = bytearray()
            async with asyncio.timeout(self._settings.silence_s):
                while len(gathered) < _BLOCK:
                    try:
                        gathered += await anext(stream)
                    except StopAsyncIteration:
                        more = False
                        break
            total += len(gathered)
            if total > self._settings.maximum_request_mb << 20:
                raise TurnedAway(413, f"A request may have {self._settings.maximum_request_mb} MB.")
            if gathered:
                yield bytes(gathered)

    async def _turn_away(self, request: Request, error: TurnedAway) -> Response:
        # A client that is still sending would see its connection reset, not the answer: a little is read for it.
        if request.headers.get("expect", "").lower() != "100-continue":
            drained = 0
            try:
                async with asyncio.timeout(_DRAIN_S):
                    async for chunk in request.stream():
                        drained += len(chunk)
                        if drained > _DRAIN_BYTES:
                            break
            except (TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: it was read already
                pass
        log.warning("request turned away", status=error.status, why=error.text)
        headers = {**error.headers, "Connection": "close"}
        return Response(error.text.encode(), error.status, headers, "text/plain")

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
