"""The demo's archive: a storage SCP in this process that keeps what it is sent."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE, STORAGE_CLASSES, VERIFICATION


class Archive:
    """Listens on a free port of this machine. `arrived`: SOP Instance UID -> when, seconds since the epoch."""

    AE_TITLE: ClassVar[str] = "DEMO-ARCHIVE"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.arrived: dict[str, float] = {}
        self.port = 0
        self._server: ThreadedAssociationServer | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.dcm"):
            old.unlink()
        ae = AE(ae_title=self.AE_TITLE)
        for sop_class in (VERIFICATION, *STORAGE_CLASSES):
            ae.add_supported_context(sop_class, [EXPLICIT_LE, IMPLICIT_LE])
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._on_store)])
        if self._server is not None and self._server.socket is not None:
            self.port = self._server.socket.getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()

    def files(self) -> list[Path]:
        return sorted(self._folder.glob("*.dcm"))

    def _on_store(self, event: Any) -> int:
        # The node's UIDs are digits and dots; they may name a file here.
        uid = str(event.request.AffectedSOPInstanceUID)
        (self._folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        self.arrived.setdefault(uid, time.time())
        return 0x0000
