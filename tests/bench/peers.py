"""The receivers that are measured. Each counts what it took since its start, and makes room while it does."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from node.commands.run import alive
from node.peers.dimse.ports import bind
from node.settings import parse
from tests.bench import scp
from tests.peers import HOST, Orthanc, Peer, StoreScp, wait_until
from tests.running_node import AE_TITLE, settings_for, write_toml

LARGEST_PDU = ("--max-pdu", "131072")  # DCMTK's own limit; with its default of 16 KB it is slower


class _Emptied:
    """Counts files below a folder and removes them, so that a long run does not fill the disk."""

    def __init__(self) -> None:
        self._counted = 0

    def take_away(self, files: Sequence[Path]) -> int:
        self._counted += len(files)
        for path in files:
            path.unlink()
        return self._counted


class NodeReceiver(Peer):
    """Receiver processes of a node on one port, every answer durable."""

    tool = "dcmsend"  # without a sender there is nothing to measure
    aet = AE_TITLE

    def __init__(self, folder: Path, *, processes: int = 1) -> None:
        super().__init__(folder)
        self._processes, self._others = processes, list[subprocess.Popen[bytes]]()
        self._taken = _Emptied()
        raw = settings_for(folder, port=self.port, receiver={"processes": processes})
        self._settings = parse(raw, source="the benchmark")
        self._file = write_toml(folder / "node.toml", raw)
        self._kept: socket.socket | None = None

    def command(self) -> list[str]:
        """As the supervisor would start the first one."""
        return self._of(1)

    def _of(self, slot: int) -> list[str]:
        ports = ["--slot", str(slot), "--ports", str(self.port), "0"]
        return [sys.executable, "-m", "node", "run", "receiver", "-c", str(self._file), *ports]

    def start(self) -> None:
        self._kept = bind(HOST, self.port, setting="receiver", shared=True)
        super().start()
        with self.log.open("ab") as log:
            for slot in range(2, self._processes + 1):
                self._others.append(subprocess.Popen(self._of(slot), stdout=log, stderr=log, cwd=self.folder))
        wait_until(f"all receivers serve; {self.tail()}", self._all_serve)

    def ready(self) -> bool:
        return bool(alive(self._settings, "receiver-1"))

    def _all_serve(self) -> bool:
        return all(alive(self._settings, f"receiver-{slot}") for slot in range(1, self._processes + 1))

    def stop(self, *, kill: bool = False) -> None:
        for other in self._others:
            other.terminate()
            other.wait(20)
        self._others.clear()
        super().stop(kill=kill)
        if self._kept is not None:
            self._kept.close()

    def count(self) -> int:
        """Instances taken since the start; their files go."""
        return self._taken.take_away(list((self.folder / "state" / "spool" / "in").rglob("*.dcm")))


class UnsyncedReceiver(NodeReceiver):
    """The same with all syncs taken out, for the comparison with those who never sync."""

    def command(self) -> list[str]:
        return [sys.executable, "-P", scp.__file__, "unsynced", str(self.port), str(self._file)]


class PynetdicomScp(Peer):
    """pynetdicom; the folder's name says in which form: documented or raw."""

    tool = "dcmsend"
    aet = scp.AE_TITLE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._taken = _Emptied()

    def command(self) -> list[str]:
        return [sys.executable, "-P", scp.__file__, self.folder.name, str(self.port), str(self.folder)]

    def count(self) -> int:
        """As NodeReceiver's."""
        return self._taken.take_away([path for path in self.folder.iterdir() if path.is_file()])


class Scp(StoreScp):
    """storescp that counts what it wrote since it was last asked, and makes room."""

    def __init__(self, folder: Path, *, aet: str = "STORESCP", options: Sequence[str] = ()) -> None:
        super().__init__(folder, aet=aet, options=(*LARGEST_PDU, *options))
        self._taken = _Emptied()

    def count(self) -> int:
        """As NodeReceiver's."""
        return self._taken.take_away(self.files())


class OrthancReceiver(Orthanc):
    """Orthanc that is emptied when it was counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._counted = 0

    def count(self) -> int:
        """As NodeReceiver's."""
        self._counted += super().count()
        for patient in self.get("patients"):
            self.api.delete(f"patients/{patient}", timeout=120)
        return self._counted
