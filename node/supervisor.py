"""`imaging-node run`: starts the node's processes, and again what ends. Any may be killed at any moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from node import notify
from node.log import log

EXIT_BAD_SETTING: Final = 2  # a part that ends with this will not do better next time
STOPPING_S: Final = 10.0  # that parts have to end by themselves
_STEADY_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 5.0


class Supervisor:
    """The parts of one node as child processes.

    settings:    the file that every part reads
    environment: of every part
    parts:       by name, what follows `imaging-node run` on the command line of each
    serves:      whether every part does; asked until it is so, and then systemd is told
    """

    def __init__(
        self,
        settings: Path,
        environment: Mapping[str, str],
        parts: Mapping[str, Sequence[str]],
        *,
        serves: Callable[[], bool],
    ) -> None:
        self._settings, self._environment, self._parts = settings, dict(environment), dict(parts)
        self._serves, self._told = serves, False
        self._of_parts = {name: value for name, value in environment.items() if name != notify.SOCKET}
        self._stopping = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._pause_s: dict[str, float] = dict.fromkeys(parts, 0.0)
        self._served: dict[str, bool] = dict.fromkeys(parts, False)  # a setting that served once is not the fault
        self._due: dict[str, float] = dict.fromkeys(parts, 0.0)

    def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        status = 0
        while not self._stopping.is_set():
            for part in self._parts:
                status = self._look_after(part)
                if status:
                    self._stopping.set()
                    break
            if not self._told and self._serves():
                self._told = True
                notify.tell(self._environment, "READY=1")
            self._stopping.wait(0.05)
        notify.tell(self._environment, "STOPPING=1")
        self._end_all()
        return status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()

    def _look_after(self, part: str) -> int:
        process = self._processes.get(part)
        now = time.monotonic()
        if process is not None:
            code = process.poll()
            if code is None:
                return 0
            del self._processes[part]
            steady = now - self._started[part] > _STEADY_S
            if code == EXIT_BAD_SETTING and not self._served[part]:
                return code
            self._served[part] |= steady
            self._pause_s[part] = 0.0 if steady else min(_LONGEST_PAUSE_S, self._pause_s[part] * 2 or 0.1)
            self._due[part] = now + self._pause_s[part]
            log.warning("a part ended and is started again", ended=part, code=code, pause_s=self._pause_s[part])
        if now >= self._due[part]:
            command = [
                sys.executable,
                "-m",
                "node",
                "run",
                *self._parts[part],
                "-c",
                str(self._settings),
                "--parent",
                str(os.getpid()),
            ]
            self._processes[part] = subprocess.Popen(command, env=self._of_parts)  # noqa: S603  our own interpreter
            self._started[part] = now
        return 0

    def _end_all(self) -> None:
        for process in self._processes.values():
            process.terminate()
        until = time.monotonic() + STOPPING_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
