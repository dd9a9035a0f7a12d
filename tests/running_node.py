"""A real node for tests: its processes, its settings file, its records."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.app import spool_of
from node.commands import look
from node.commands.run import alive
from node.records import instances, jobs, sets
from node.records.database import Records
from node.settings import Settings, parse
from tests.peers import HOST, Orthanc, StoreScp, free_port, wait_until

AE_TITLE = "IMAGING-NODE"
RULE = {"name": "ct", "pipeline": "ct-denoise", "where": {"Modality": "CT"}}
ENDED = {"delivered", "held", "refused", "failed", "dead"}


def settings_for(
    state: Path,
    *,
    destinations: Sequence[Orthanc | StoreScp] = (),
    rules: Sequence[Mapping[str, Any]] = (RULE,),
    port: int | None = None,
    **parts: Mapping[str, Any],
) -> dict[str, Any]:
    """Settings of a node that delivers to these peers; `parts` overrides tables."""
    targets: list[dict[str, Any]] = [
        {"kind": "dicom", "name": peer.aet.lower(), "ae_title": peer.aet, "host": HOST, "port": peer.port,
         "connect_timeout_s": 5.0, "response_timeout_s": 20.0, "probe_s": 3.0, "retry_longest_s": 5.0}
        for peer in destinations
    ]  # fmt: skip
    targets = targets or [{"kind": "folder", "name": "folder", "path": str(state / "delivered")}]
    names = [target["name"] for target in targets]
    raw: dict[str, Any] = {
        "node": {"state": str(state / "state"), "disk_reserve_mb": 50},
        "receiver": {"ae_title": AE_TITLE, "host": HOST, "port": port or free_port(), "processes": 1},
        "peers": [
            {"name": title.lower(), "ae_title": title, "addresses": ["127.0.0.0/8"]}
            for title in ("DCMSEND", "STORESCU", "OTHER")
        ],
        "destinations": targets,
        "rules": [{"destinations": names, **rule} for rule in rules],
        "page": {"host": HOST, "port": free_port()},
    }
    for part, values in parts.items():
        raw[part] = {**raw.get(part, {}), **values}
    return raw


def write_toml(path: Path, raw: Mapping[str, Any]) -> Path:
    """Write settings; JSON values are TOML values but for the tables."""
    lines = []
    for part, value in raw.items():
        for table in value if isinstance(value, list) else [value]:
            lines.append(f"[[{part}]]" if isinstance(value, list) else f"[{part}]")
            lines += [f"{json.dumps(key)} = {_inline(item)}" for key, item in table.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8"))
    return path


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


class RunningNode:
    """`imaging-node run` as a service manager would run it: `watch` starts it again when it was killed."""

    def __init__(self, folder: Path, raw: Mapping[str, Any]) -> None:
        self.folder = folder
        self.file = write_toml(folder / "node.toml", raw)
        self.settings: Settings = parse(dict(raw), source="the test")
        self.port: int = self.settings.receiver.port
        self.log = folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # else it would go on beside all tests that follow
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "node", "run", "-c", str(self.file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        wait_until(f"the node serves; {self.tail()}", self._serves, timeout_s=timeout_s)

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.tail()
        mine = set(self.pids().values())
        receivers = [f"receiver-{slot}" for slot in range(1, self.settings.receiver.processes + 1)]
        return all(alive(self.settings, part).get("pid") in mine for part in (*receivers, "worker", "page"))

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def pids(self) -> dict[str, int]:
        """The processes of the node by part; `child` is a decoder. `receiver` is the first, `receiver-2` the next."""
        assert self._process is not None
        found = {"supervisor": self._process.pid}
        for pid in _children(self._process.pid):
            words = _command(pid)
            if "run" in words:
                part = words[words.index("run") + 1]
                if "--slot" in words and (slot := words[words.index("--slot") + 1]) != "1":
                    part += f"-{slot}"
                found[part] = pid
                found |= {f"child of {part}": child for child in _children(pid)}
        return found

    def kill(self, part: str) -> None:
        """SIGKILL one process, and start the node again if it was the supervisor."""
        pid = self.pids().get(part)
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        if part == "supervisor":
            assert self._process is not None
            self._process.wait()
            self.start(wait=False)

    def revive(self) -> None:
        """Start the node again if it is not running, as a service manager does."""
        if self._process is None or self._process.poll() is not None:
            self.start(wait=False)

    def records(self) -> Records:
        return Records(self.settings.node.state.absolute())

    def received(self, sop_instance_uid: str) -> Path:
        """The spooled file of an instance."""
        with closing(self.records()) as records, records.read() as connection:
            found = instances.by_uid(connection, sop_instance_uid)
        assert found is not None, "the node never received it"
        return spool_of(self.settings).path(found.file)

    def jobs(self) -> list[dict[str, Any]]:
        with closing(self.records()) as records:
            return look.listing(records, limit=1000)

    def show(self, series_uid: str) -> dict[str, Any]:
        with closing(self.records()) as records:
            return look.show(records, series_uid)

    def sets(self) -> list[dict[str, Any]]:
        with closing(self.records()) as records, records.read() as connection:
            return [one for uid in sets.series_uids(connection) for one in sets.of_series(connection, uid)]

    def jobs_of(self, set_id: str) -> list[dict[str, Any]]:
        with closing(self.records()) as records, records.read() as connection:
            return jobs.of_set(connection, set_id)

    def wait_settled(self, series: int, *, timeout_s: float = 120.0) -> None:
        """Until that many sets are complete and every job of them has ended."""

        def settled() -> bool:
            found = self.sets()
            states = [job["state"] for one in found for job in self.jobs_of(one["id"])]
            routed = all(one["state"] != "frozen" for one in found)
            return len(found) >= series and routed and all(state in ENDED for state in states)

        wait_until(f"{series} set(s) settled; {self.tail()}", settled, timeout_s=timeout_s, every_s=0.2)

    def metrics(self) -> str:
        return self.get("/metrics").decode()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self.settings.page.port}{path}", timeout=10) as page:
            body: bytes = page.read()
        return body


def _children(parent: int) -> list[int]:
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    others = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            others += [int(pid) for pid in task.read_text(encoding="ascii").split()]
        except OSError:
            continue
    return sorted({*map(int, text.split()), *others})


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def cli(*arguments: str | Path, timeout_s: float = 120.0) -> tuple[int, str, str]:
    """Run `imaging-node` as a person would: exit status, standard output, standard error."""
    command = [sys.executable, "-m", "node", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stdout, done.stderr
