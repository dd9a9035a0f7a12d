"""A connection to a DICOM peer, plain or by TLS, that says in words why it could not be made."""

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final

from node.peers.carrier import Unreachable
from node.peers.tls import client_context
from node.settings.tls import Tls

_FIX: Final = "Check host and port of the destination, and that it runs."


@dataclass(frozen=True, kw_only=True)
class Address:
    """Whom to call, as whom, and how long to wait.

    connect_s:  for the connection, the TLS handshake and the negotiation, each
    response_s: for each answer
    """

    host: str
    port: int
    called_ae: str
    calling_ae: str
    connect_s: float
    response_s: float
    implementation_uid: str
    tls: Tls | None = None


def connect(address: Address, *, purpose: str) -> socket.socket:
    """An open connection without Nagle's algorithm, and with the handshake done. Raises Unreachable, BadSetting."""
    where = f"{address.host}:{address.port}"
    context = client_context(address.tls) if address.tls is not None else None
    until = time.monotonic() + address.connect_s
    try:
        plain = socket.create_connection((address.host, address.port), timeout=address.connect_s)
    except TimeoutError as error:
        raise Unreachable(f"{purpose}: no connection to {where} within {address.connect_s:g} s.", fix=_FIX) from error
    except (OSError, UnicodeError) as error:  # a host name that no resolver can encode is a UnicodeError
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Unreachable(f"{purpose}: no connection to {where} ({why}).", fix=_FIX) from error
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # 40 ms an instance otherwise (THROUGHPUT)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is None:
            return plain
        plain.settimeout(max(0.1, until - time.monotonic()))
        return context.wrap_socket(plain, server_hostname=address.host)
    except OSError as error:  # ssl.SSLError is one
        plain.close()
        why, fix = _why_no_tls(error, address)
        raise Unreachable(f"{purpose}: no TLS with {where}: {why}.", fix=fix) from error
    except BaseException:
        plain.close()
        raise


def _why_no_tls(error: OSError, address: Address) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        # OpenSSL's own words: expired, self-signed, unknown issuer, name mismatch. They quote no data.
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}", (
            "Check the CA of the destination's tls table, the peer's certificate, and that it names the host."
        )
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        if "alert" in reason:
            return f"it refused the handshake ({reason})", "Check that the peer trusts the node's certificate."
        if isinstance(error, ssl.SSLEOFError) or "wrong version" in reason or "eof" in reason:
            return "it does not speak TLS on this port", "Use its TLS port, or take the tls table away."
        return reason or "the handshake failed", "Check protocol versions and certificates on both sides."
    if isinstance(error, TimeoutError):
        return f"no handshake within {address.connect_s:g} s", "Use its TLS port, or take the tls table away."
    return "it closed the connection", "Use its TLS port, and check that it accepts the node's certificate."
