"""How many associations there may be: exact over all receiver processes, and free again when one of them is killed.

A file with one record for each association. Who holds it has locked it (open file description locks, fcntl(2)), which
the kernel undoes when the process ends, however it ends.
"""

import fcntl
import ipaddress
import os
import struct
import threading
import time
from pathlib import Path
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_RECORD: Final = 16  # an address, IPv4 as IPv6-mapped; zeros: free
_GATE: Final = 1 << 32  # locked by the one that counts
_GATE_S: Final = 0.5


class Full(Exception):
    """No more associations now. `reason`: "limit" (of all) or "address_limit" (of this address)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Slot:
    """The right to one association, until `release`."""

    def __init__(self, slots: "Slots", number: int) -> None:
        self._slots, self._number = slots, number

    def release(self) -> None:
        """Give it back. May be called twice, from any thread."""
        number, self._number = self._number, -1
        if number >= 0:
            self._slots._give(number)


class Slots:
    """The slots of one node, as one of its processes sees them. Safe for threads.

    file:        shared by all receiver processes
    count:       associations of all
    per_address: of one address
    reserved:    of `count`, for urgent callers only: the last ones of the file
    """

    def __init__(self, file: Path, *, count: int, per_address: int, reserved: int = 0) -> None:
        self._count, self._per_address = count, per_address
        self._common, self._reserved = range(count - reserved), range(count - reserved, count)
        self._held: set[int] = set()
        self._turn = threading.Lock()
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, address: IPAddress, *, urgent: bool = False) -> Slot:
        """A slot for an association with that address. Raises Full.

        urgent: the caller may have a reserved one, also where its address has all that it may have
        """
        record = _packed(address)
        with self._turn:
            if not self._enter():
                raise Full("limit")  # a process was stopped while it counted; it cannot be told how many there are
            try:
                table = os.pread(self._descriptor, _RECORD * self._count, 0).ljust(_RECORD * self._count, b"\0")
                same = [n for n in range(self._count) if table[n * _RECORD : (n + 1) * _RECORD] == record]
                open_to = [*(self._reserved if urgent else ()), *self._common]
                if sum(self._is_held(number) for number in same) >= self._per_address:
                    if not urgent or not self._reserved:
                        raise Full("address_limit")
                    open_to = list(self._reserved)
                for number in open_to:
                    if number not in self._held and self._lock(number * _RECORD, fcntl.F_WRLCK):
                        os.pwrite(self._descriptor, record, number * _RECORD)
                        self._held.add(number)
                        return Slot(self, number)
                raise Full("limit")
            finally:
                self._lock(_GATE, fcntl.F_UNLCK)

    def held(self) -> int:
        """How many this process holds."""
        return len(self._held)

    def close(self) -> None:
        """Give all of this process back."""
        with self._turn:
            os.close(self._descriptor)
            self._descriptor = -1

    def _give(self, number: int) -> None:
        with self._turn:
            self._held.discard(number)
            if self._descriptor >= 0:
                os.pwrite(self._descriptor, bytes(_RECORD), number * _RECORD)
                self._lock(number * _RECORD, fcntl.F_UNLCK)

    def _enter(self) -> bool:
        until = time.monotonic() + _GATE_S
        while not self._lock(_GATE, fcntl.F_WRLCK):
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        return True

    def _is_held(self, number: int) -> bool:
        if number in self._held:
            return True
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _flock(number * _RECORD, fcntl.F_WRLCK))
        return bool(struct.unpack_from("h", found)[0] != fcntl.F_UNLCK)

    def _lock(self, start: int, kind: int) -> bool:
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _flock(start, kind))
        except BlockingIOError:
            return False
        return True


def _flock(start: int, kind: int) -> bytes:
    """struct flock of 64-bit Linux: type, whence, start, length, pid."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, _RECORD, 0)


def _packed(address: IPAddress) -> bytes:
    if isinstance(address, ipaddress.IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed
