"""Certificates for the tests, by openssl: one authority, and whoever it signs for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers import HOST, which_or_skip

_NEW = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, kw_only=True)
class Signed:
    """PEM files: who signed, the certificate, its key."""

    ca: Path
    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._run(*_NEW, "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", *usage)

    def sign(self, name: str, *, days: int = 2) -> Signed:
        """A certificate of the Common Name `name`, for this machine. `days` below 0: it ended so long ago."""
        (self._folder / "names").write_text(f"subjectAltName=IP:{HOST},DNS:{name}\n")
        self._run(*_NEW, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", str(days),
                  "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
        return Signed(
            ca=self._folder / "ca.pem",
            certificate=self._folder / f"{name}.pem",
            key=self._folder / f"{name}.key",
        )

    def sign_oneself(self, name: str) -> Signed:
        """A certificate that nobody vouches for; `ca` is this authority's all the same."""
        self._run(*_NEW, "-x509", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
        return Signed(
            ca=self._folder / "ca.pem",
            certificate=self._folder / f"{name}.pem",
            key=self._folder / f"{name}.key",
        )

    def _run(self, *arguments: str) -> None:
        subprocess.run([which_or_skip("openssl"), *arguments], check=True, capture_output=True, cwd=self._folder)
