"""Loaded engines within a budget of memory: the least recently used goes first, one in use never goes.

What an engine holds is measured: what the process grew by while it was loaded and ran one batch of its usual shape
(ONNX Runtime and OpenVINO keep the memory that a batch took), or what the engine itself says of its device
(`memory_bytes`). Before the first load nothing better is known than the size of the weights.
"""

import ctypes
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engines.engine import Engine, EngineSpec, NoRoom
from engines.store import weights_path

_Key = tuple[str, str]
_STATM: Final = Path("/proc/self/statm")
_LIBC: Final = ctypes.CDLL(None)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(kw_only=True)
class _Slot:
    engine: Engine
    size: int
    users: int


class EnginePool:
    """Engines by specification; safe to use from several threads.

    opening: an engine, not entered
    ready:   called with each engine after it was loaded, before anybody gets it; what it raises, `use` raises
    budget:  bytes that all loaded engines may hold together
    wait_s:  how long `use` waits for others to give an engine back when only that would make room
    keep:    names of engines that are never unloaded to make room: who needs them must not wait for a load
    """

    def __init__(
        self,
        opening: Callable[[EngineSpec], Engine],
        *,
        budget: int,
        ready: Callable[[Engine], object] = lambda engine: None,
        wait_s: float = 600.0,
        keep: Collection[str] = (),
    ) -> None:
        self._opening, self._ready, self._keep = opening, ready, frozenset(keep)
        self._budget, self._wait_s = budget, wait_s
        self._slots: OrderedDict[_Key, _Slot] = OrderedDict()  # least recently used first
        self._known: dict[_Key, int] = {}  # sizes that were measured, also of engines that are gone
        self._changed = threading.Condition()
        self._loading = False

    @property
    def loaded(self) -> dict[str, int]:
        """Name -> bytes of every loaded engine, least recently used first."""
        with self._changed:
            return {name: slot.size for (name, _), slot in self._slots.items()}

    @contextmanager
    def use(self, spec: EngineSpec) -> Iterator[Engine]:
        """The loaded engine; it stays loaded inside this block.

        raises: NoRoom when it does not fit into the budget, and what loading it raises
        """
        key = (spec.name, spec.sha256)
        slot = self._take(key, spec)
        try:
            yield slot.engine
        finally:
            with self._changed:
                slot.users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Unload everything. Call it when nobody uses an engine any more."""
        with self._changed:
            while self._slots:
                self._unload(next(iter(self._slots)))

    def _take(self, key: _Key, spec: EngineSpec) -> _Slot:
        until = time.monotonic() + self._wait_s
        with self._changed:
            while True:
                if (slot := self._slots.get(key)) is not None:
                    slot.users += 1
                    self._slots.move_to_end(key)
                    return slot
                if not self._loading and self._make_room(key, spec):
                    self._loading = True
                    break
                if not self._changed.wait(until - time.monotonic()):
                    raise NoRoom(
                        f"Engine {spec.name} found no room within {self._wait_s:g} s: {self._held()}.",
                        fix="Raise engines.memory_mb.",
                    )
        try:
            slot = self._load(key, spec)
        except NoRoom:  # now its size is known: others have to go first, or to be waited for
            with self._changed:
                self._loading = False
                self._changed.notify_all()
            return self._take(key, spec)
        except BaseException:
            with self._changed:
                self._loading = False
                self._changed.notify_all()
            raise
        return slot

    def _load(self, key: _Key, spec: EngineSpec) -> _Slot:
        """Outside the lock: others go on with what is loaded. One load at a time, or growth could not be told apart."""
        _give_free_memory_back()
        before = resident_bytes()
        engine = self._opening(spec)
        engine.__enter__()
        try:
            self._ready(engine)
            engine.infer({t.name: np.zeros(spec.shape_at(t), t.dtype) for t in spec.inputs})
            said = getattr(engine, "memory_bytes", None)
            size = max(resident_bytes() - before if said is None else int(said), _least(spec))
            with self._changed:
                self._known[key] = size
                if not self._make_room(key, spec):
                    raise NoRoom(f"Engine {spec.name} takes {size >> 20} MB.")
                slot = self._slots[key] = _Slot(engine=engine, size=size, users=1)
                self._loading = False
                self._changed.notify_all()
        except BaseException:
            engine.__exit__(None, None, None)
            raise
        return slot

    def _make_room(self, key: _Key, spec: EngineSpec) -> bool:
        """Unload idle engines, least recently used first, until this one fits; False: only engines in use are left."""
        needed = self._known.get(key) or _least(spec)
        kept = {name: slot.size for (name, _), slot in self._slots.items() if name in self._keep}
        if needed + sum(kept.values()) > self._budget:
            beside = f", beside {_mb(sum(kept.values()))} MB of {', '.join(sorted(kept))}" if kept else ""
            raise TooLarge(
                f"Engine {spec.name} takes {_mb(needed)} MB{beside}; engines.memory_mb gives all engines together "
                f"{self._budget >> 20} MB.",
                fix="Raise engines.memory_mb.",
            )
        while sum(slot.size for slot in self._slots.values()) + needed > self._budget:
            free = (other for other, slot in self._slots.items() if not slot.users and other[0] not in self._keep)
            idle = next(free, None)
            if idle is None:
                return False
            self._unload(idle)
        return True

    def _unload(self, key: _Key) -> None:
        self._slots.pop(key).engine.__exit__(None, None, None)

    def _held(self) -> str:
        held = ", ".join(f"{name} {_mb(slot.size)} MB in use" for (name, _), slot in self._slots.items() if slot.users)
        return f"{held or 'another engine is being loaded'} of {self._budget >> 20} MB"


class TooLarge(NoRoom):
    """Not even alone does the engine fit."""


def resident_bytes() -> int:
    """Memory of this process that is really there."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE


def _give_free_memory_back() -> None:
    """What was freed and is still resident would be taken by the engine, and its growth would not show."""
    trim = getattr(_LIBC, "malloc_trim", None)  # glibc only; elsewhere the figure is a lower bound
    if trim is not None:
        trim(0)


def _least(spec: EngineSpec) -> int:
    return weights_path(spec).stat().st_size


def _mb(size: int) -> int:
    return -(-size >> 20)
