"""Senders that DCMTK's programs cannot play: files whose data set lacks a UID, and associations that end as told.

python -m tests.senders PORT CALLED FILE ...    one association; a line for each answer: the file and its status
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pynetdicom import AE, _config
from pynetdicom.association import Association

from tests.peers import HOST


def associate(port: int, files: Sequence[Path], *, called: str, calling: str = "OTHER") -> Association:
    """An open association that offers what the files need, each in its own transfer syntax."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = ae.acse_timeout = 10
    ae.dimse_timeout = ae.network_timeout = 60
    metas = [pydicom.filereader.read_file_meta_info(path) for path in files]
    for sop_class, syntax in {(m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas}:
        ae.add_requested_context(sop_class, syntax)
    return ae.associate(HOST, port, ae_title=called)


def store(association: Association, path: Path) -> int | None:
    """Send a file as it is; its status, or None if there was no answer."""
    _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, UIDs from its meta information
    answer = association.send_c_store(path)
    return int(answer.Status) if "Status" in answer else None


def send_as_they_are(port: int, files: Sequence[Path], *, called: str, calling: str = "OTHER") -> list[int | None]:
    """Send files over one association, released at the end; the statuses."""
    association = associate(port, files, called=called, calling=calling)
    assert association.is_established
    try:
        return [store(association, path) for path in files]
    finally:
        association.release()


def acknowledged(port: int, files: Sequence[Path], *, called: str) -> Iterator[Path]:
    """The files that a process of its own got a Success for, until one is not answered with it."""
    command = [sys.executable, "-m", "tests.senders", str(port), called, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sender:
        assert sender.stdout is not None
        for line in sender.stdout:
            name, status = line.rsplit(" ", 1)
            if int(status, 16) == 0x0000:
                yield Path(name)


def _main(port: int, called: str, files: list[Path]) -> None:
    opened = associate(port, files, called=called)
    if not opened.is_established:
        return
    for path in files:
        status = store(opened, path) if opened.is_established else None
        if status is None:
            return
        sys.stdout.write(f"{path} {status:04x}\n")
        sys.stdout.flush()
    opened.release()


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]])
