"""Certificates of the node, for listeners and for calls to others."""

from pathlib import Path
from typing import Literal

from node.settings.common import Part


class Tls(Part):
    """Mutual TLS by the BCP 195 RFC 8996, 9325 profile (PS3.15 B.12): both sides show a certificate of a site's CA."""

    certificate: Path  # of this node, PEM, with the chain
    key: Path  # of that certificate, PEM, not encrypted, readable by the node's user only
    ca: Path  # who signs the peers' certificates, PEM
    minimum: Literal["1.2", "1.3"] = "1.2"
