"""`imaging-node top` in a real terminal, beside a real node with a series that went through it."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from typer.testing import CliRunner

from node.__main__ import app
from node.demo.phantom import make_series
from tests.peers import wait_until
from tests.running_node import RunningNode, cli, settings_for
from tests.senders import send_as_they_are


class Terminal:
    """A pseudo-terminal with `imaging-node top` in it."""

    def __init__(self, file: Path, *words: str, columns: int = 80, lines: int = 24, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.text = ""
        command = [sys.executable, "-m", "node", "top", "-c", str(file), *words]
        clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm", **environment}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        os.close(self._ours)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, pattern: str) -> str:
        """Wait for words on the screen; what came since the last wait, without control sequences."""

        def seen() -> bool:
            while select.select([self._ours], [], [], 0.0)[0]:
                with suppress(OSError):
                    self.text += os.read(self._ours, 65536).decode(errors="replace")
            return re.search(pattern, _words(self.text)) is not None

        wait_until(f"{pattern!r} on the screen: {_words(self.text)[-2000:]}", seen)
        found, self.text = self.text, ""
        return found

    def ends(self) -> int:
        """The exit status; the terminal is as it was before."""
        wait_until("top has ended", lambda: self.process.poll() is not None)
        assert termios.tcgetattr(self._theirs) == self.before
        return self.process.wait()


def _words(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07", "", text)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("top")
    with RunningNode(folder, settings_for(folder, assemble={"quiet_s": 1.0, "settle_s": 0.1})) as running:
        send_as_they_are(running.port, make_series(folder / "scan", slices=4), called="IMAGING-NODE")
        running.wait_settled(1)
        yield running


def test_it_is_live_follows_the_size_and_ends_with_q(node: RunningNode) -> None:
    with Terminal(node.file, "--every", "0.5") as terminal:
        first = terminal.until(r"running(.|\n)*CT ct-denoise +1 +1(.|\n)*STOPPED +nothing")
        assert "\x1b[?1049h" in first, "it has a screen of its own"
        assert "\x1b[?25l" in first
        assert max(map(len, _words(first).splitlines())) <= 80
        terminal.until(r"running")  # again, without anybody's doing
        terminal.resize(150, 40)
        wide = terminal.until(r"SERIES +1 h.*PARTS")
        assert "CT ct-denoise" in wide
        terminal.press("x")
        terminal.press("q")
        assert terminal.ends() == 0


def test_a_signal_leaves_the_terminal_as_it_was(node: RunningNode) -> None:
    with Terminal(node.file) as terminal:
        terminal.until("running")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ends() == 0
        assert "\x1b[?1049l" in terminal.until("")


def test_a_dumb_terminal_without_colour_gets_plain_lines_until_it_is_gone(node: RunningNode) -> None:
    with Terminal(node.file, "--every", "0.3", TERM="dumb", NO_COLOR="1") as terminal:
        text = terminal.until(r"running(.|\n)*running")
        assert "\x1b" not in text
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.ends() == 0


def test_into_a_pipe_goes_one_picture_and_a_reader_that_leaves_is_no_fault(node: RunningNode) -> None:
    code, said, trouble = cli("top", "-c", node.file)
    assert (code, trouble) == (0, "")
    assert "\x1b" not in said
    assert "CT ct-denoise" in said

    command = f"{sys.executable} -m node top -c {node.file} --once | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_json_says_the_same_of_no_patient(node: RunningNode) -> None:
    said = CliRunner().invoke(app, ["top", "-c", str(node.file), "--json", "--hours", "2"]).stdout
    found = json.loads(said)

    assert found["runs"]
    assert [one["counts"] for one in found["work"]["received"]] == [[0, 1]]
    assert found["work"]["made"]["turnaround"]["ct-denoise"]["count"] == 1
    assert found["read_s"] < 5
    assert not [word for word in ("PHANTOM", "ABDOMEN", "1.2.826", "2.25.") if word in said]


def test_a_node_that_stops_is_told_and_the_picture_goes_on(node: RunningNode) -> None:
    """Last of this file: it stops the node."""
    with Terminal(node.file, "--every", "0.3") as terminal:
        terminal.until("running")
        node.stop()
        files = {path for path in node.settings.node.state.iterdir() if path.is_file()}
        terminal.until(r"NOT RUNNING(.|\n)*CT ct-denoise +1 +1")
        time.sleep(0.5)
        assert {path for path in node.settings.node.state.iterdir() if path.is_file()} == files
        terminal.press("q")
        assert terminal.ends() == 0
