"""The web part of a node as a process of its own, and raw HTTP to it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.commands.run import alive
from node.records import instances
from node.records.database import Records
from node.settings import parse
from tests.peers import HOST, free_port, wait_until
from tests.running_node import settings_for, write_toml

MULTIPART = 'multipart/related; type="application/dicom"; boundary=B'


class WebPart(AbstractContextManager["WebPart"]):
    """`imaging-node run web` with a STOW-RS listener. `stow` adds to its table."""

    def __init__(self, folder: Path, *, stow: Mapping[str, Any] | None = None, **parts: Mapping[str, Any]) -> None:
        raw = settings_for(folder, **parts)
        raw["stow"] = {"host": HOST, "port": free_port(), "senders": [{"ae_title": "WEBCT"}], **(stow or {})}
        self.settings = parse(raw, source="the test")
        self.state = self.settings.node.state.absolute()
        self.port = int(raw["stow"]["port"])
        self.url = f"http{'s' if raw['stow'].get('tls') else ''}://{HOST}:{self.port}"
        self._file, self._log = write_toml(folder / "node.toml", raw), folder / "web.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "node", "run", "web", "-c", str(self._file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(f"the web part serves; {self.log()}", self._serves, timeout_s=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return alive(self.settings, "web").get("pid") == self._process.pid

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def peak_mb(self) -> int:
        """The most memory that the process ever had resident."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="ascii"))
        assert found is not None
        return int(found[1]) >> 10

    def holds(self, sop_instance_uid: str) -> bool:
        with closing(Records(self.state)) as records, records.read() as connection:
            return instances.by_uid(connection, sop_instance_uid) is not None

    def endings(self) -> list[str | None]:
        """How the requests ended, oldest first; None for one that is open."""
        from sqlalchemy import select

        from node.records.tables import ASSOCIATIONS

        with closing(Records(self.state)) as records, records.read() as connection:
            return list(
                connection.execute(select(ASSOCIATIONS.c.ending).order_by(ASSOCIATIONS.c.opened_at)).scalars().all()
            )

    def leftovers(self) -> list[Path]:
        """Files aside: of objects that did not come whole."""
        return [path for path in (self.state / "spool" / "aside").rglob("*") if path.is_file() and path.stat().st_size]


def multipart(files: Sequence[bytes], *, closing_boundary: bool = True) -> bytes:
    """A body with boundary `B`."""
    body = b"".join(b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n" + file for file in files)
    return body + (b"\r\n--B--\r\n" if closing_boundary else b"")


def raw_http(port: int, pieces: Iterable[bytes], *, timeout_s: float = 20.0, source: str = HOST) -> bytes:
    """Send bytes as they are; what came back until the other end closed, or all of one answer with its length."""
    with socket.create_connection((HOST, port), timeout=timeout_s, source_address=(source, 0)) as connection:
        said = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it closed already; what it said may still be read
        try:
            while block := connection.recv(65536):
                said += block
                head, found, body = said.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                if found and length is not None and len(body) >= int(length[1]):
                    break
        except ConnectionResetError:
            pass
        return said


def status_of(answer: bytes) -> int:
    """The status of an HTTP answer; 0 if there was none."""
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0
