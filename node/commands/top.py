"""`imaging-node top`: the picture once, or again and again until somebody ends it. It reads and never writes."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from node import app
from node.settings import load
from node.top.facts import Facts, Watch
from node.top.picture import Paper, picture

_LOOK_S: Final = 0.1  # at keys and the size of the terminal
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ended(Exception):
    """Somebody wants the picture to end."""


def once(settings_file: Path, *, window: int) -> dict[str, Any]:
    """The facts of one moment, for JSON."""
    facts = _watch(settings_file).look(window=window)
    return {**asdict(facts), "runs": facts.runs}


def top(settings_file: Path, *, every_s: float, window: int, single: bool) -> None:
    """Draw on standard output. Ends with q, a signal, or when nobody reads any more.

    every_s: between looks
    single:  one picture; also where standard output is no terminal
    """
    watch = _watch(settings_file)
    console = Console(highlight=False)
    try:
        with _ending_on_signals():
            if single or not console.is_terminal:
                _print(console, watch.look(window=window))
            elif console.is_dumb_terminal:
                _follow(console, watch, every_s, window)
            else:
                _live(console, watch, every_s, window)
    except _Ended:
        pass
    except BrokenPipeError:  # whoever read has enough; nothing more is to be written, at the end of the process either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _watch(settings_file: Path) -> Watch:
    settings = load(settings_file)
    return Watch(settings, app.pipelines_of(settings))


def _live(console: Console, watch: Watch, every_s: float, window: int) -> None:
    """The whole screen, drawn again after every look and when its size changes."""
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        while True:
            facts = watch.look(window=window)
            drawn, due = None, time.monotonic() + _pause_s(facts, every_s)
            while time.monotonic() < due:
                if drawn != console.size:
                    drawn = console.size
                    live.update(picture(facts, _paper(console, height=drawn.height)), refresh=True)
                if _pressed(keys, min(_LOOK_S, max(0.0, due - time.monotonic()))):
                    return


def _follow(console: Console, watch: Watch, every_s: float, window: int) -> None:
    """One picture below the other, on a terminal that cannot move its cursor."""
    with _keys() as keys:
        while True:
            facts = watch.look(window=window)
            _print(console, facts)
            due = time.monotonic() + _pause_s(facts, every_s)
            while (left := due - time.monotonic()) > 0:
                if _pressed(keys, min(_LOOK_S, left)):
                    return


def _pause_s(facts: Facts, every_s: float) -> float:
    """A long look back over many jobs takes its time: nine tenths of it belong to the node."""
    return max(every_s, 9.0 * facts.read_s)


def _print(console: Console, facts: Facts) -> None:
    console.print(picture(facts, _paper(console, height=None)))
    console.file.flush()


def _paper(console: Console, *, height: int | None) -> Paper:
    plain = (console.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf16", "utf32")
    return Paper(width=console.width, height=height, plain=plain)


@contextmanager
def _keys() -> Iterator[int | None]:
    """The terminal's keys one by one, without showing them; None where there is no keyboard."""
    if not sys.stdin.isatty():
        yield None
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _pressed(keys: int | None, wait_s: float) -> bool:
    """Whether q was pressed, or the terminal is gone, within so many seconds."""
    if keys is None:
        time.sleep(wait_s)
        return False
    if not select.select([keys], [], [], wait_s)[0]:
        return False
    typed = os.read(keys, 64)
    return not typed or b"q" in typed.lower()


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Signals end the picture as q does, so that the terminal is left as it was."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Ended

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
