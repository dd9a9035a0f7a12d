"""What the node must know of its own key and certificate before it uses them."""

import calendar
import ssl
import stat
import time
from pathlib import Path
from typing import Final

from node.errors import BadSetting

_SEQUENCE, _EXPLICIT_0, _UTC_TIME = 0x30, 0xA0, 0x17
_END: Final = "-----END CERTIFICATE-----"


def require_private(key: Path) -> None:
    """A key that others of this machine may read, or change, is no secret. Raises BadSetting."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise BadSetting(
            f"The key {key} cannot be read: {error.strerror}.", fix="Name a file that is there."
        ) from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise BadSetting(
            f"The key {key} has mode {mode:04o}: others than the node may read or change it.",
            fix=f"chmod 600 {key}; if others did read it, get a new one.",
        )


def expires_at(certificate: Path) -> float:
    """End of validity of the first certificate in a PEM file (RFC 5280 4.1.2.5), seconds since the epoch.

    raises: BadSetting
    """
    try:
        text = certificate.read_text(encoding="ascii", errors="replace")
        first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index(_END) + len(_END)]
        return _not_after(ssl.PEM_cert_to_DER_cert(first))
    except (OSError, ValueError, IndexError) as error:
        raise BadSetting(f"{certificate} holds no certificate that can be read.", fix="Name a PEM file.") from error


def _not_after(der: bytes) -> float:
    inside, _ = _value(der, 0, _SEQUENCE)  # Certificate
    body, _ = _value(inside, 0, _SEQUENCE)  # TBSCertificate
    at = 0
    if body[0] == _EXPLICIT_0:  # version
        _, at = _value(body, at)
    for _ in ("serial number", "signature", "issuer"):
        _, at = _value(body, at)
    validity, _ = _value(body, at, _SEQUENCE)
    _, at = _value(validity, 0)  # not before
    kind = validity[at]
    text = _value(validity, at)[0].decode("ascii")
    if kind == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text >= "50" else "20") + text
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))


def _value(data: bytes, at: int, kind: int | None = None) -> tuple[bytes, int]:
    """Content of the DER element at `at`, and where the next one begins. Raises ValueError, IndexError."""
    if kind is not None and data[at] != kind:
        raise ValueError("not the element of a certificate")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("an element ends behind its certificate")
    return data[start : start + length], start + length
