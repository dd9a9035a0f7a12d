"""Backups in tests: a made job in a state folder, its settings, and a restore into another one."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.backup.restoring import Restored, restore
from node.backup.taking import Taken, take
from node.records.database import Records
from node.settings import Settings, parse
from tests.delivering import NAME, finish_job
from tests.running_node import settings_for, write_toml
from tests.verdicts import new_records


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A node's state folder and its settings; backups go beside it."""

    folder: Path
    settings: Settings
    file: Path

    @property
    def state(self) -> Path:
        return self.settings.node.state

    @property
    def place(self) -> Path:
        return self.folder / "backups"

    def take(self, **how: Any) -> Taken:
        return take(self.settings, self.file, self.place, **how)

    def restore(self, **how: Any) -> Restored:
        """Over what is there."""
        return restore(self.settings, self.place, aside=True, **how)

    def records(self) -> closing[Records]:
        return closing(Records(self.state))


def kept(folder: Path, **tables: Any) -> Kept:
    """Settings of a node whose state folder is `folder`/state."""
    raw = settings_for(folder, **tables)
    return Kept(folder=folder, settings=parse(raw, source="the test"), file=write_toml(folder / "node.toml", raw))


def with_a_job(folder: Path, made: Sequence[Path], *, destinations: Sequence[str] = (NAME,)) -> Kept:
    """A node that has made a series of one received object; delivering it is all that is left."""
    node = kept(folder)
    new_records(node.state).close()  # a copy, which is faster than making them
    finish_job(node.state, made, destinations=destinations)
    received = node.state / "spool" / "in" / "x" / "x"
    received.parent.mkdir(parents=True)
    received.write_bytes(b"received")
    return node
