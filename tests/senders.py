"""Senders that DCMTK's programs cannot play: files whose data set lacks a UID, and associations that end as told."""

from collections.abc import Sequence
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
