"""The receiver's ports: whether they may be opened, and how several processes share them."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from node.errors import BadSetting
from node.log import log
from node.metrics import METRICS
from node.peers import certificate, tls
from node.peers.dimse import ports
from node.settings import Settings
from node.settings.common import is_loopback

_EXPIRES_SOON_S: Final = 30 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The TCP ports of a node. `plain`, `tls`: 0 where there is none, or any free one is asked for.

    shared: other receiver processes listen on the same ones
    """

    plain: int
    tls: int
    shared: bool

    @property
    def numbers(self) -> tuple[int, int]:
        """For a command line."""
        return self.plain, self.tls


def part_name(slot: int) -> str:
    """What a receiver process is called among the parts of a node."""
    return f"receiver-{slot}"


def require_safe(settings: Settings) -> None:
    """Nothing may be opened to other machines unless the settings say so. Raises BadSetting."""
    if unsafe := settings.unsafe():
        raise BadSetting(f"The node does not start: {'; '.join(unsafe)}.", fix="Change the settings.")
    if settings.page.without_login and not is_loopback(settings.page.host):
        log.warning("page.without_login: whoever reaches the page may read it", host=settings.page.host)


def prepare_ports(settings: Settings) -> None:
    """Before any port opens: is it free, and can the certificate be used? Raises BadSetting."""
    receiver = settings.receiver
    if receiver.plain and not receiver.is_local:
        log.warning("receiver.plain: other machines reach the DICOM port without encryption", host=receiver.host)
    if receiver.opens_plain:
        ports.require_free(receiver.host, receiver.port, setting="receiver")
    else:
        log.info("the DICOM port without TLS stays closed", port=receiver.port)
    if receiver.tls is not None:
        ports.require_free(receiver.host, receiver.tls.port, setting="receiver.tls")
        tls.server_context(receiver.tls)
        left_s = certificate.expires_at(receiver.tls.certificate) - time.time()
        if left_s < _EXPIRES_SOON_S:
            log.warning("the certificate of receiver.tls ends soon or has ended", days=round(left_s / 86400, 1))


@contextmanager
def shared_ports(settings: Settings) -> Iterator[Ports]:
    """Keep the receiver's ports for its processes, so that all have the same one where the settings say 0."""
    receiver = settings.receiver
    with ExitStack() as stack:

        def kept(port: int, setting: str) -> int:
            held = stack.enter_context(ports.bind(receiver.host, port, setting=setting, shared=True))
            return int(held.getsockname()[1])

        yield Ports(
            plain=kept(receiver.port, "receiver") if receiver.opens_plain else 0,
            tls=kept(receiver.tls.port, "receiver.tls") if receiver.tls else 0,
            shared=True,
        )


def sockets(
    settings: Settings, found: Ports | None
) -> tuple[socket.socket | None, tuple[socket.socket, ssl.SSLContext] | None]:
    """The bound sockets: of the plain port, and of the one for TLS with its context.

    found:  the ports that processes share; None: those of the settings, for one process alone
    raises: BadSetting
    """
    receiver = settings.receiver
    if found is None:
        found = Ports(plain=receiver.port, tls=receiver.tls.port if receiver.tls else 0, shared=False)
    plain, secure = None, None
    if receiver.opens_plain:
        plain = ports.bind(receiver.host, found.plain, setting="receiver", shared=found.shared)
    if receiver.tls is not None:
        METRICS.certificate_expires.labels(use="receiver").set(certificate.expires_at(receiver.tls.certificate))
        context = tls.server_context(receiver.tls)
        secure = ports.bind(receiver.host, found.tls, setting="receiver.tls", shared=found.shared), context
    return plain, secure
