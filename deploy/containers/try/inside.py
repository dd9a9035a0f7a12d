"""Run inside of the node's container by ../try-build.sh.

inside.py send [FOLDER]    the files of a folder, or a phantom series, to the node by C-STORE
inside.py kill             its worker, by SIGKILL; ends when there is another
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from node.demo.phantom import make_series
from node.demo.scanner import address, send


def send_series(given: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(given.iterdir()) if given else make_series(Path(folder), slices=20)
        send(address("127.0.0.1", 11112, called="IMAGING-NODE"), files)
        sys.stdout.write(f"sent {len(files)} images\n")


def worker() -> int | None:
    """Its process, if there is one."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that has just ended
            if b"\0run\0worker\0" in entry.read_bytes():
                return int(entry.parent.name)
    return None


def kill_worker() -> None:
    killed = worker()
    if killed is None:
        sys.exit("there is no worker")
    os.kill(killed, signal.SIGKILL)
    until = time.monotonic() + 30
    while worker() in (None, killed):
        if time.monotonic() > until:
            sys.exit("no other worker after 30 s")
        time.sleep(0.1)


if sys.argv[1] == "kill":
    kill_worker()
else:
    send_series(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
