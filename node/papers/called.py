"""Whom a configuration calls, and the folders that it writes results to."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from engines.backends import Backend
from node.papers.facts import Called, Data, Flow, Folder, Security, printable
from node.settings import (
    DicomDestination,
    DicomwebDestination,
    Engines,
    FolderDestination,
    Hl7Channel,
    OrthancDestination,
    OrthancSource,
    Peer,
    Settings,
    Webhook,
)
from node.settings.tls import Tls
from node.settings.web import WebSite, WebTls

_PORTS: Final = {"http": 80, "https": 443}
_TRITON_PORT: Final = 8001  # of its gRPC service


def archive(one: DicomDestination, key: str, settings: Settings) -> Iterator[Called]:
    """A destination that takes results by C-STORE."""
    carries = ["derived images and reports (C-STORE)", "what is there (C-FIND), C-ECHO"]
    if one.commitment == "ask":
        carries.append("storage commitment")
    if settings.assemble.ask == one.name:
        carries.append("how many instances a series has (C-FIND)")
    carries.append("C-MOVE, C-GET by `imaging-node fetch`")
    title = one.calling_ae_title or settings.receiver.ae_title
    yield Called(
        name=one.name,
        setting=key,
        process="worker",
        host=printable(one.host),
        port=one.port,
        protocol="DICOM over TLS" if one.tls else "DICOM",
        security=_dicom(one.tls, title, one.ae_title),
        carries="; ".join(carries),
        flow=Flow.OUT,
        data=Data.IMAGES,
    )


def subscriber(peer: Peer, key: str, settings: Settings) -> Iterator[Called]:
    """A peer that is told what happens in the worklist. Who only sends to the node is called by nobody."""
    if peer.host is None or peer.port is None:
        return
    yield Called(
        name=peer.name,
        setting=key,
        process="worker",
        host=printable(peer.host),
        port=peer.port,
        protocol="DICOM over TLS" if peer.tls else "DICOM",
        security=_dicom(peer.tls, settings.receiver.ae_title, peer.ae_title),
        carries="reports on workitems to subscribers (N-EVENT-REPORT)",
        flow=Flow.OUT,
        data=Data.UIDS,
    )


def dicomweb(one: DicomwebDestination, key: str, settings: Settings) -> Iterator[Called]:
    """A destination that takes results by STOW-RS."""
    carries = "derived images and reports (STOW-RS); what is there (QIDO-RS)"
    yield _web(one, key, process="worker", carries=carries + _asked(one.name, settings), data=Data.IMAGES)


def orthanc(one: OrthancDestination, key: str, settings: Settings) -> Iterator[Called]:
    """A destination that takes results by Orthanc's REST interface."""
    carries = "derived images and reports, labels and metadata (Orthanc REST)"
    labels = [label.name for label in settings.worklist.labels if label.destination == one.name]
    if labels:
        carries += f"; labels of verdicts ({', '.join(labels)})"
    yield _web(one, key, process="worker", carries=carries + _asked(one.name, settings), data=Data.IMAGES)


def source(one: OrthancSource, key: str, settings: Settings) -> Iterator[Called]:
    """An Orthanc whose stable series are fetched."""
    carries = "images of an Orthanc that is asked for news (REST)"
    yield _web(one, key, process="web", carries=carries, data=Data.IMAGES, flow=Flow.IN)


def hl7(one: Hl7Channel, key: str, settings: Settings) -> Iterator[Called]:
    """A receiver of HL7 messages."""
    yield Called(
        name=one.name,
        setting=key,
        process="worker",
        host=printable(one.host),
        port=one.port,
        protocol="HL7 v2 over MLLP and TLS" if one.tls else "HL7 v2 over MLLP",
        security=_web_security(one.tls, secured=one.tls is not None, shown=[]),
        carries="verdicts of triage and withdrawals (ORU^R01)",
        flow=Flow.OUT,
        data=Data.IDENTITY,
    )


def webhook(one: Webhook, key: str, settings: Settings) -> Iterator[Called]:
    """A receiver of verdicts as JSON."""
    signed = "; signed (HMAC-SHA256)" if one.secret_file else ""
    yield _web(
        one,
        key,
        process="worker",
        carries=f"verdicts of triage and withdrawals (JSON by POST{signed})",
        data=Data.IDENTITY if one.identity else Data.UIDS,
    )


def triton(engines: Engines, key: str, settings: Settings) -> Iterator[Called]:
    """The server that runs the networks, if one does."""
    if engines.backend is not Backend.TRITON or engines.triton_url is None:
        return
    host, port = _address(f"//{engines.triton_url}", _TRITON_PORT)
    caller = "certificate of the node" if engines.triton_certificate else "nothing"
    yield Called(
        name="triton",
        setting=f"{key}.triton_url",
        process="worker",
        host=host,
        port=port,
        protocol="gRPC over TLS" if engines.triton_ca else "gRPC",
        security=Security(
            tls="1.2" if engines.triton_ca else None,
            caller=caller,
            called="certificate of the CA in engines.triton_ca" if engines.triton_ca else "digest of its network only",
        ),
        carries="pixels without headers, and what the network makes of them",
        flow=Flow.BOTH,
        data=Data.PIXELS,
    )


def folder(one: FolderDestination, key: str, settings: Settings) -> Iterator[Folder]:
    """A destination that is a folder."""
    yield Folder(name=one.name, setting=key, path=printable(str(one.path)))


def _asked(name: str, settings: Settings) -> str:
    return "; how many instances a series has" if settings.assemble.ask == name else ""


def _dicom(tls: Tls | None, calling: str, called: str) -> Security:
    if tls is None:
        return Security(tls=None, caller=f"AE title {calling} only", called=f"AE title {called} only")
    return Security(
        tls=tls.minimum,
        caller=f"certificate of the node, AE title {calling}",
        called=f"certificate for the host, of the site's CA; AE title {called}",
    )


def _web(one: WebSite, key: str, *, process: str, carries: str, data: Data, flow: Flow = Flow.OUT) -> Called:
    host, port = _address(one.url, _PORTS[urlsplit(one.url).scheme])
    secured = one.url.startswith("https")
    shown = ["bearer token"] if one.token_file else ["password"] if one.password_file else []
    return Called(
        name=one.name,
        setting=key,
        process=process,
        host=host,
        port=port,
        protocol="HTTPS" if secured else "HTTP",
        security=_web_security(one.tls, secured=secured, shown=shown),
        carries=carries,
        flow=flow,
        data=data,
    )


def _web_security(tls: WebTls | None, *, secured: bool, shown: list[str]) -> Security:
    proof = [*(["certificate of the node"] if secured and tls is not None and tls.certificate else []), *shown]
    return Security(
        tls=(tls or WebTls()).minimum if secured else None,
        caller=" and ".join(proof) or "nothing",
        called=f"certificate for the host, of {_authority(tls)}" if secured else "nothing",
    )


def _authority(tls: WebTls | None) -> str:
    return "the site's CA" if tls is not None and tls.ca is not None else "an authority that the system trusts"


def _address(url: str, default: int) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or default
