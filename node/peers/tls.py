"""TLS contexts after PS3.15 B.12 (BCP 195, RFC 8996 and RFC 9325), and what a peer's certificate says of it."""

import ssl
from pathlib import Path
from typing import Any, Final

from node.errors import BadSetting
from node.peers.certificate import require_private
from node.settings.tls import Tls
from node.settings.web import StowTls, WebTls

# RFC 9325 4.2: forward secrecy and authenticated encryption. TLS 1.3 brings suites of its own, all of them fit.
SUITES: Final = ":".join(
    f"ECDHE-{key}-{suite}" for suite in ("AES256-GCM-SHA384", "AES128-GCM-SHA256") for key in ("ECDSA", "RSA")
)
_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(settings: Tls) -> ssl.SSLContext:
    """For a listener: every client must show a certificate of the site's CA. Raises BadSetting."""
    context = _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: Tls) -> ssl.SSLContext:
    """For a call: the server's certificate must be of the site's CA and name the host that was called.

    raises: BadSetting
    """
    context = _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings)
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    return context


def web_server_context(settings: StowTls) -> ssl.SSLContext:
    """For a listener of HTTP: clients show a certificate where the settings name who signs it. Raises BadSetting."""
    context = _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
    context.verify_mode = ssl.CERT_NONE if settings.ca is None else ssl.CERT_REQUIRED
    return context


def web_client_context(settings: WebTls) -> ssl.SSLContext:
    """For a call by HTTP: the server's certificate is always checked, also where this node has none to show.

    raises: BadSetting
    """
    context = _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings)
    if settings.ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    return context


def _loaded(context: ssl.SSLContext, settings: Tls | StowTls | WebTls) -> ssl.SSLContext:
    context.minimum_version = _MINIMUM[settings.minimum]
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if settings.key is not None:
        require_private(settings.key)
    if settings.certificate is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:  # SSLError's text names no secret
            raise _unusable("certificate or key", settings.certificate, error) from error
    if settings.ca is not None:
        try:
            context.load_verify_locations(settings.ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("CA", settings.ca, error) from error
    return context


def _unusable(what: str, path: Path, error: OSError) -> BadSetting:
    return BadSetting(
        f"TLS: the {what} {path} cannot be used: {error.strerror or error}.",
        fix="Name PEM files that belong together and that the node's user can read.",
    )


def subject_names(certificate: dict[str, Any] | None) -> frozenset[str]:
    """Common Name and subject alternative names (DNS, IP) of `SSLSocket.getpeercert()`, in lower case."""
    found = set()
    for relative in (certificate or {}).get("subject", ()):
        found |= {value for name, value in relative if name == "commonName"}
    found |= {value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind in ("DNS", "IP Address")}
    return frozenset(name.lower() for name in found)
