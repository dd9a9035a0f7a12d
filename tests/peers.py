"""The real peers of the tests: DCMTK, Orthanc, dicom3tools and promtool, each on free ports and in a folder of its own.

Every process here is ended by its own id. A missing program skips the test and says which package brings it.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from orthanc_api_client import OrthancApiClient

HOST = "127.0.0.1"
DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
PYTHON_PLUGIN = "/usr/share/orthanc/plugins/libOrthancPython.so"
PACKAGES = {
    "Orthanc": "orthanc",
    "dcentvfy": "dicom3tools",
    "dciodvfy": "dicom3tools",
    "dcmcjpeg": "dcmtk",
    "dcmcjpls": "dcmtk",
    "dcmconv": "dcmtk",
    "dcmcrle": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "dcmdjpls": "dcmtk",
    "dcmdrle": "dcmtk",
    "dcmqrscp": "dcmtk",
    "dcmsend": "dcmtk",
    "echoscu": "dcmtk",
    "gdcmconv": "libgdcm-tools",
    "ojph_compress": "openjph-tools",
    "opj_compress": "libopenjp2-tools",
    "opj_decompress": "libopenjp2-tools",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "storescp": "dcmtk",
    "storescu": "dcmtk",
    "strace": "strace",
    DICOMWEB_PLUGIN: "orthanc-dicomweb",
    PYTHON_PLUGIN: "orthanc-python",
}


def which_or_skip(tool: str) -> str:
    """The path of a program, or a skipped test that says what to install."""
    if tool.startswith("/") and Path(tool).is_file():
        return tool
    path = shutil.which(tool, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin")
    if path is None:
        pytest.skip(f"{tool} is not installed (Debian package {PACKAGES.get(tool, tool)})")
    return path


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, condition: Callable[[], object], *, timeout_s: float = 30.0, every_s: float = 0.05) -> None:
    """Return as soon as the condition holds; fail the test with `what` if it does not come to hold in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"Not within {timeout_s:.0f} s: {what}")
        time.sleep(every_s)


def listening(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def run_tool(tool: str, *arguments: str | Path, timeout_s: float = 120.0) -> str:
    """What a program says, standard output and error together, whatever its exit status."""
    command = [which_or_skip(tool), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    return done.stdout + done.stderr


class Peer(AbstractContextManager["Peer"]):
    """A program that listens on a port. It can be stopped and started again on the same port, to play an outage."""

    tool: str

    def __init__(self, folder: Path) -> None:
        self.path = which_or_skip(self.tool)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder.with_name(f"{folder.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The program with its arguments."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers."""
        return listening(self.port)

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        wait_until(f"{self.tool} answers on port {self.port}; {self.tail()}", self._up)

    def stop(self, *, kill: bool = False) -> None:
        """End it: politely, or with SIGKILL. Nothing happens if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-600:] if self.log.exists() else ""

    def _up(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            pytest.fail(f"{self.tool} ended with {self._process.returncode}: {self.tail()}")
        return self.ready()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class StoreScp(Peer):
    """DCMTK's storescp: writes what it receives into `folder`, as it came, one file per SOP Instance UID."""

    tool = "storescp"

    def __init__(self, folder: Path, *, aet: str = "STORESCP", options: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self.aet = aet
        self.options = tuple(options)

    def command(self) -> list[str]:
        """Accepts every transfer syntax that the sender proposes, keeps the bytes as received."""
        fixed = ["--aetitle", self.aet, "--output-directory", str(self.folder), "+xa", "+B", "-pm", "-dhl"]
        return [self.path, *fixed, *self.options, str(self.port)]

    def files(self) -> list[Path]:
        """What has arrived, by name; a file that is still being written may be among it."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


class DcmQrScp(Peer):
    """DCMTK's dcmqrscp: a small archive with C-STORE, C-FIND, C-MOVE and C-GET."""

    tool = "dcmqrscp"
    aet = "DCMQRSCP"

    def __init__(self, folder: Path, *, node: tuple[str, int]) -> None:
        """node: AE title and port of the imaging node, the only move destination."""
        super().__init__(folder)
        area = folder / "area"
        area.mkdir()
        self.settings = folder / "dcmqrscp.cfg"
        self.settings.write_text(
            f"""NetworkTCPPort = {self.port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
node = ({node[0]}, {HOST}, {node[1]})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{self.aet} {area} RW (200, 1024mb) ANY
AETable END
"""
        )

    def command(self) -> list[str]:
        """A process for each association."""
        return [self.path, "--fork", "--config", str(self.settings)]


class Orthanc(Peer):
    """Debian's Orthanc as the archive. Its storage outlives `stop`, as a real archive's does."""

    tool = "Orthanc"

    def __init__(
        self,
        folder: Path,
        *,
        aet: str = "ORTHANC",
        node: tuple[str, int] | None = None,
        overwrite: bool = False,
        dicomweb: bool = False,
    ) -> None:
        """node: AE title and port of the imaging node, to be known to Orthanc as the modality `node`."""
        super().__init__(folder)
        if dicomweb:
            which_or_skip(DICOMWEB_PLUGIN)
        self.aet = aet
        self.http_port = free_port()
        self.url = f"http://{HOST}:{self.http_port}/"
        self.dicomweb_url = f"{self.url}dicom-web"
        self.api = OrthancApiClient(self.url)
        settings: dict[str, Any] = {
            "Name": aet,
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [DICOMWEB_PLUGIN] if dicomweb else [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": aet,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "DicomModalities": {"node": [node[0], HOST, node[1]]} if node else {},
            "OverwriteInstances": overwrite,
            "StableAge": 1,
            "Locale": "C.UTF-8",
        }
        self.settings = folder / "orthanc.json"
        self.settings.write_text(json.dumps(settings, indent=1))

    def command(self) -> list[str]:
        """One process with one settings file."""
        return [self.path, str(self.settings)]

    def ready(self) -> bool:
        """Both doors are open: REST and DICOM."""
        return listening(self.http_port) and listening(self.port)

    def get(self, path: str) -> Any:
        """The JSON behind a path of the REST interface."""
        return self.api.get_json(path, timeout=20)

    def series(self) -> dict[str, list[str]]:
        """Series Instance UID to Orthanc's own ids of its instances."""
        found = self.get("series?expand")
        return {one["MainDicomTags"]["SeriesInstanceUID"]: sorted(one["Instances"]) for one in found}

    def instances(self, series_uid: str | None = None) -> list[str]:
        """SOP Instance UIDs held, sorted: of one series or of all."""
        found = self.get("instances?expand")
        if series_uid is not None:
            ids = set(self.series().get(series_uid, ()))
            found = [one for one in found if one["ID"] in ids]
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in found)

    def count(self) -> int:
        """How many instances it holds."""
        return int(self.get("statistics")["CountInstances"])

    def download(self, orthanc_id: str) -> bytes:
        """The file of an instance, by Orthanc's id, as stored."""
        return bytes(self.api.get_binary(f"instances/{orthanc_id}/file", timeout=20))


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a DCMTK sender said at its end."""

    returncode: int
    statuses: tuple[int, ...]  # C-STORE statuses in the order of the answers
    output: str

    @property
    def stored(self) -> int:
        """Instances that were answered with Success."""
        return self.statuses.count(0x0000)


def dcmsend(
    port: int,
    files: Path | Sequence[Path],
    *,
    called: str,
    calling: str = "DCMSEND",
    associations: int = 1,
    options: Sequence[str] = (),
    timeout_s: float = 300.0,
) -> list[Sent]:
    """Send a folder or files with DCMTK's dcmsend; several associations are as many processes at the same time.

    Each gets every n-th file, so the slices of one series arrive interleaved. Bytes are sent as they are.
    """
    tool = which_or_skip("dcmsend")
    options = ["-d", "-dn", "-nuc", "-nh", *options]
    return _send(tool, port, files, called, calling, associations, options, timeout_s)


def storescu(port: int, files: Path | Sequence[Path], *, called: str, options: Sequence[str] = ()) -> list[Sent]:
    """Send over one association with DCMTK's storescu, which halts at the first refusal unless told `-nh`."""
    tool = which_or_skip("storescu")
    return _send(tool, port, files, called, "STORESCU", 1, ["-d", "-R", *options], 300.0)


def _send(
    tool: str,
    port: int,
    files: Path | Sequence[Path],
    called: str,
    calling: str,
    associations: int,
    options: Sequence[str],
    timeout_s: float,
) -> list[Sent]:
    every = sorted(path for path in files.rglob("*") if path.is_file()) if isinstance(files, Path) else list(files)
    assert every, "nothing to send"
    fixed = [tool, *options, "-aet", calling, "-aec", called, HOST, str(port)]
    parts = [part for part in (every[n::associations] for n in range(associations)) if part]
    senders = [
        subprocess.Popen([*fixed, *map(str, part)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for part in parts
    ]
    try:
        said = [(sender.communicate(timeout=timeout_s)[0], sender.returncode) for sender in senders]
    finally:
        for sender in senders:
            if sender.poll() is None:
                sender.kill()
                sender.communicate()
    return [Sent(returncode=code, statuses=_statuses(output), output=output) for output, code in said]


def _statuses(output: str) -> tuple[int, ...]:
    """The statuses of the C-STORE answers; only in debug mode does DCMTK say them as numbers."""
    return tuple(
        int(number, 16) for number in re.findall(r"^D: DIMSE Status +: 0x([0-9a-fA-F]{4})", output, re.MULTILINE)
    )


def promtool_check_metrics(text: str) -> str:
    """What `promtool check metrics` objects to in a metrics page; empty if it is valid and in good style."""
    command = [which_or_skip("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    objections = (done.stdout + done.stderr).strip()
    return objections if objections or done.returncode == 0 else f"exit status {done.returncode}"
