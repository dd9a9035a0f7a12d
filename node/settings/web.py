"""DICOMweb and Orthanc: where results go and series come from by HTTP, and who may store here by STOW-RS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from node.settings.common import AETitle, Name, Part, Port, Seconds, Text, is_loopback, together
from node.settings.delivery import Delivery


def _valid_url(text: str) -> str:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("the port of a URL is a number from 1 to 65535") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("a URL begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password in a URL: name a file with password_file")
    if parts.query or parts.fragment or text != text.strip():
        raise ValueError("a URL here ends with its path: no '?', '#' or blank")
    return text.rstrip("/")


Url = Annotated[
    str,
    AfterValidator(_valid_url),
    Field(json_schema_extra={"pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+(/[^?#]*)?$"}),
]
MetadataName = Annotated[str, Field(pattern=r"^([1-9]\d{3,4}|[A-Za-z][A-Za-z0-9-]{0,63})$")]
Label = Annotated[
    str,
    Text(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        words="a label has 1 to 64 letters, digits, '-' or '_' (Orthanc takes no others)",
    ),
]


class WebTls(Part):
    """Certificates for calls over https. Whatever is not set is not asked for; the server's is always checked."""

    model_config = ConfigDict(json_schema_extra=together("certificate", "key"))

    # Inline in the example, so that the words are here.
    ca: Annotated[
        Path | None,
        Field(description="Who signed the server's certificate, PEM; not set: the authorities that the system trusts"),
    ] = None
    certificate: Annotated[
        Path | None, Field(description="Of this node, PEM, with the chain; for servers that ask for one")
    ] = None
    key: Annotated[Path | None, Field(description="Of that certificate, PEM")] = None
    minimum: Annotated[Literal["1.2", "1.3"], Field(description="The oldest version of TLS that is spoken")] = "1.2"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class WebSite(Part):
    """Somebody who is called by HTTP."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["token_file", "password_file"]}})

    name: Name
    url: Url
    token_file: Path | None = None  # one line, sent as a bearer token (RFC 6750)
    password_file: Path | None = None  # one line, user:password (RFC 7617)
    tls: WebTls | None = None  # not set: the system's authorities, TLS 1.2
    connect_timeout_s: Seconds = 10.0
    response_timeout_s: Seconds = 60.0  # for each sign of life, and for a whole answer that is no image

    @model_validator(mode="after")
    def _no_secret_in_the_clear(self) -> Self:
        if self.token_file is not None and self.password_file is not None:
            raise ValueError("token_file and password_file exclude each other")
        parts = urlsplit(self.url)
        secret = self.token_file is not None or self.password_file is not None
        if secret and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("a token or password needs an https URL")
        return self


class DicomwebDestination(WebSite, Delivery):
    """An archive that takes results by STOW-RS (PS3.18 10.5) and answers questions by QIDO-RS (10.6)."""

    kind: Literal["dicomweb"]
    request_instances: Annotated[int, Field(ge=1, le=1000)] = 16  # in one request
    request_mb: Annotated[int, Field(ge=1, le=4096)] = 64  # in one request, unless a single instance is larger


class OrthancDestination(WebSite, Delivery):
    """An Orthanc that takes results by its REST interface."""

    kind: Literal["orthanc"]
    labels: tuple[Label, ...] = ()  # on derived series; Orthanc 1.12.0 or newer, else they go into metadata
    label_metadata: MetadataName = "4096"  # where labels go in an Orthanc that is older than them
    metadata: dict[MetadataName, str] = Field(
        default={}
    )  # on derived series: a number from 1024 on, or a name it knows


class OrthancSource(WebSite):
    """An Orthanc whose stable series the node fetches."""

    kind: Literal["orthanc"]
    history: bool = False  # at the very first start: also what it has already, not only what comes
    modalities: Annotated[tuple[str, ...], Field(min_length=1)] = ("CT", "MR")
    offered: MetadataName | None = None  # only series with this metadata, which a script there sets; not set: all
    poll_s: Seconds = 2.0  # between questions for changes
    retry_longest_s: Seconds = 60.0  # while it is away: 1 s doubling to this, ±20 %
    calling_ae_title: AETitle | None = None  # what rules see as CallingAETitle; default: the name, in capitals

    @property
    def title(self) -> str:
        """What stands in the records as sender."""
        return self.calling_ae_title or self.name.upper()[:16]


class StowSender(Part):
    """Somebody who may store here by STOW-RS: whatever is set must fit."""

    ae_title: Annotated[
        AETitle, Field(description="Plays the part of a calling AE title: in rules, records and evidence")
    ]
    token_file: Annotated[
        Path | None,
        Field(description="File with one line of at least 32 characters; the sender shows it as a bearer token"),
    ] = None
    subject: Annotated[
        Annotated[str, Field(min_length=1, max_length=255)] | None,
        Field(description="Name (CN or SAN) in the sender's certificate"),
    ] = None


class StowTls(Part):
    """The listener's certificate, and whether clients must show one."""

    certificate: Annotated[Path, Field(description="Of this node, PEM, with its chain")]
    key: Annotated[Path, Field(description="Of that certificate, PEM, not encrypted; chmod 600")]
    ca: Annotated[
        Path | None,
        Field(description="Who signs clients' certificates; set: a client without one is turned away"),
    ] = None
    minimum: Annotated[Literal["1.2", "1.3"], Field(description="The oldest version of TLS that is spoken")] = "1.2"


class Stow(Part):
    """STOW-RS listener. It is off unless the settings have this table."""

    host: str = "127.0.0.1"
    port: Port = 8081
    senders: Annotated[tuple[StowSender, ...], Field(min_length=1)]
    tls: StowTls | None = None
    maximum_connections: Annotated[int, Field(ge=1, le=10_000)] = 200  # more are answered 503
    maximum_requests: Annotated[int, Field(ge=1, le=100)] = 8  # that store at the same time; more are answered 503
    maximum_request_mb: Annotated[int, Field(ge=1)] = 8192  # a larger body is answered 413
    maximum_parts: Annotated[int, Field(ge=1, le=100_000)] = 10_000  # instances in one request
    silence_s: Seconds = 30.0  # a client that says nothing for so long in the middle of a request is cut off

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        titles = [sender.ae_title for sender in self.senders]
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise ValueError(f"stow.senders: {min(twice)} is there twice")
        nameless = [sender for sender in self.senders if sender.token_file is None and sender.subject is None]
        if len(self.senders) > 1 and nameless:
            raise ValueError("stow.senders: with more than one, each needs a token_file or a subject")
        if any(sender.subject for sender in self.senders) and (self.tls is None or self.tls.ca is None):
            raise ValueError("stow.senders: a subject needs stow.tls.ca")
        return self

    def unsafe(self) -> Iterator[str]:
        """What must not be opened, and what to do."""
        if not is_loopback(self.host) and (self.tls is None or any(s.token_file is None for s in self.senders)):
            yield (
                f"stow.host is {self.host}, so that other machines can store here; set stow.tls, and a token_file for "
                "every sender"
            )
