"""Fixtures that several kinds of tests share."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom.transport import AssociationSocket

from tests import peers

SHARED = Path(__file__).parents[2] / "shared"


def _shutdown_and_close(self: AssociationSocket) -> None:
    """As pynetdicom's, which does not come to `close` where `shutdown` says that the peer has gone.

    Its requestors are what these tests send with. The socket is then the garbage collector's, whose warning fails
    another test, minutes later.
    """
    if self.socket is not None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


AssociationSocket._shutdown_socket = _shutdown_and_close


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip("the real scans (../shared/data) are not here")
    return data


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody listens on."""
    return peers.free_port()


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[peers.StoreScp]:
    """A running DCMTK storescp, AE title STORESCP."""
    with peers.StoreScp(tmp_path / "storescp") as scp:
        yield scp


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[peers.Orthanc]:
    """A running, empty Orthanc, AE title ORTHANC."""
    with peers.Orthanc(tmp_path / "orthanc") as archive:
        yield archive
