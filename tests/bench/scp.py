"""Receivers to compare with, each as a process: pynetdicom in two forms, and the node's receiver without a single sync.

python tests/bench/scp.py documented PORT FOLDER      pynetdicom as its documentation shows it
python tests/bench/scp.py raw PORT FOLDER             pynetdicom, bytes as they came
python tests/bench/scp.py unsynced PORT SETTINGS      the network path without the disk's pauses; never a setting
"""

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

from node.commands import run
from node.records import database

AE_TITLE = "PYNETDICOM"


def pynetdicom_scp(store: Callable[[Any, Path], None], port: int, folder: Path) -> None:
    """Until SIGTERM. `store`: keeps one event's object in a folder, not synced."""
    ae = AE(ae_title=AE_TITLE)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.maximum_pdu_size = 131_072

    def handle(event: Any) -> int:
        store(event, folder)
        return 0x0000

    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.shutdown()


def documented(event: Any, folder: Path) -> None:
    """The storage SCP of pynetdicom's documentation."""
    ds = event.dataset
    ds.file_meta = event.file_meta
    ds.save_as(folder / ds.SOPInstanceUID, write_like_original=False)


def raw(event: Any, folder: Path) -> None:
    """The faster one: the bytes as they came."""
    (folder / event.request.AffectedSOPInstanceUID).write_bytes(event.encoded_dataset())


def unsynced(port: int, settings: Path) -> None:
    """The node's receiver with all syncs taken out, and with ordinary writes: as those who never sync do it."""
    os.fsync = os.fdatasync = lambda _: None  # type: ignore[assignment]
    os.O_DIRECT = 0
    prepare = database._prepare_connection

    def prepare_unsynced(connection: Any, record: Any) -> None:
        prepare(connection, record)
        assert isinstance(connection, sqlite3.Connection)
        connection.execute("PRAGMA synchronous=OFF")

    database._prepare_connection = prepare_unsynced
    run.part("receiver", settings, parent=None, slot=1, ports=(port, 0))


if __name__ == "__main__":
    kind, number, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "unsynced":
        unsynced(number, place)
    else:
        pynetdicom_scp({"documented": documented, "raw": raw}[kind], number, place)
