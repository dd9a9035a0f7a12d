"""One TOML file, typed, checked whole before the port opens. Unknown keys are refused."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from engines.backends import Backend
from engines.kernel import Kernel
from node.errors import BadSetting
from node.settings.common import Name, Part, Port, Seconds, is_loopback, together
from node.settings.destinations import Destination as Destination
from node.settings.destinations import DicomDestination as DicomDestination
from node.settings.destinations import FolderDestination as FolderDestination
from node.settings.flags import Hl7Channel as Hl7Channel
from node.settings.flags import Label as Label
from node.settings.flags import Webhook as Webhook
from node.settings.flags import faults as flag_faults
from node.settings.receiver import Peer as Peer
from node.settings.receiver import Receiver as Receiver
from node.settings.rules import Rule as Rule
from node.settings.scanners import Scanner as Scanner
from node.settings.ups import Ups as Ups
from node.settings.web import DicomwebDestination as DicomwebDestination
from node.settings.web import OrthancDestination as OrthancDestination
from node.settings.web import OrthancSource as OrthancSource
from node.settings.web import Stow as Stow
from node.settings.web import WebSite
from node.settings.worklist import Worklist as Worklist
from pipelines.kernels import Measured, outside_training


class Node(Part):
    """The node itself."""

    state: Path  # spool, records, results: on a disk that survives a power cut
    station_name: Annotated[str, Field(max_length=16, pattern=r"^[A-Z0-9_-]+$")] = "IMAGING-NODE"
    device_serial: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] = "0"
    disk_reserve_mb: Annotated[int, Field(ge=0)] = 1024  # below this much free space C-STORE is answered A700
    keep_days: Annotated[float, Field(gt=0)] | Literal["forever"] = 30  # files of series that are done with
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Assemble(Part):
    """When a series counts as complete. Evidence first; the quiet timer is the last resort."""

    settle_s: Seconds = 1.0  # after the last association of the sender was released
    quiet_s: Seconds = 30.0  # without evidence: this much silence (DICOM_SPEC §6)
    named_wait_s: Seconds = 600.0  # instances that a believed peer named and that are not here: so long after the last
    ask: Name | None = None  # a destination that answers C-FIND with Number of Series Related Instances (0020,1209)


class KernelCurve(Part):
    """A reconstruction kernel that the site measured, for kernel conversion (`engines.kernel.Kernel`)."""

    manufacturer: Annotated[str, Field(min_length=1, max_length=64)]
    names: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=16)], ...], Field(min_length=1)]
    cutoff_per_mm: float
    boost: float = 0.0
    boost_at_per_mm: float = 0.6
    boost_width_per_mm: float = 0.25
    noise_kept: float = 1.0  # below 1 for iterative reconstruction
    window_center: float = 40.0
    window_width: Annotated[float, Field(ge=1.0)] = 400.0
    measured_on: Annotated[str, Field(min_length=20)]  # object, scanner, method, date: a curve without it is a guess

    @model_validator(mode="after")
    def _is_what_the_network_knows(self) -> Self:
        if lines := outside_training(self.measured().curve):
            raise ValueError("; ".join(lines))
        return self

    def measured(self) -> Measured:
        """As the pipeline has it."""
        curve = Kernel(
            cutoff=self.cutoff_per_mm,
            boost=self.boost,
            boost_at=self.boost_at_per_mm,
            boost_width=self.boost_width_per_mm,
            noise_kept=self.noise_kept,
        )
        return Measured(
            manufacturer=self.manufacturer,
            names=self.names,
            curve=curve,
            window=(self.window_center, self.window_width),
            measured_on=self.measured_on,
        )


class Engines(Part):
    """How networks run."""

    model_config = ConfigDict(
        json_schema_extra={
            **together("triton_certificate", "triton_key"),
            "if": {"properties": {"backend": {"const": Backend.TRITON}}, "required": ["backend"]},
            "then": {"required": ["triton_url"]},
        }
    )

    backend: Backend = Backend.ORT  # what runs them; it is the one that is used, or the node does not start
    folder: Path | None = None  # engines of the site, before those that ship with the node
    plans: Path | None = None  # compiled for this machine's GPU; default: plans/ in node.state
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    memory_mb: Annotated[int, Field(ge=64)] = 2048  # all loaded engines together; least recently used go first
    device: Annotated[int, Field(ge=0)] = 0  # index of the GPU
    eager: bool = True  # work on slices while their series is still coming in
    eager_mb: Annotated[int, Field(ge=64)] = 4096  # disk that such slices may take until their series is made
    triton_url: str | None = None
    triton_timeout_s: Seconds = 30.0
    triton_retries: Annotated[int, Field(ge=0, le=100)] = 2
    triton_wait_s: Annotated[float, Field(ge=0)] = 72 * 3600.0  # as long as a destination is waited for
    triton_ca: Path | None = None
    triton_certificate: Path | None = None
    triton_key: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend is Backend.TRITON and self.triton_url is None:
            raise ValueError("backend triton needs triton_url")
        if (self.triton_certificate is None) != (self.triton_key is None):
            raise ValueError("triton_certificate and triton_key go together")
        if self.triton_certificate is not None and self.triton_ca is None:
            raise ValueError("triton_certificate needs triton_ca")
        return self


class Decoder(Part):
    """Limits of the child process that parses and decodes received objects (RELIABILITY §0.4)."""

    memory_mb: Annotated[int, Field(ge=512)] = 4096
    seconds: Seconds = 600.0


class Page(Part):
    """Metrics and health over HTTP."""

    host: str = "127.0.0.1"
    port: Port = 8080
    without_login: bool = False  # open it to other machines although whoever reaches it may read it


class Settings(Part):
    """The whole file."""

    node: Node
    receiver: Receiver
    peers: tuple[Peer, ...] = ()
    assemble: Assemble = Assemble()
    destinations: Annotated[tuple[Destination, ...], Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    kernels: tuple[KernelCurve, ...] = ()
    engines: Engines = Engines()
    decoder: Decoder = Decoder()
    page: Page = Page()
    stow: Stow | None = None
    sources: tuple[OrthancSource, ...] = ()
    worklist: Worklist = Worklist()

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        if faults := list(self._misfits()):
            raise ValueError("; ".join(faults))
        return self

    def _misfits(self) -> Iterator[str]:
        for what, names in (
            ("peers", [p.name for p in self.peers]),
            ("destinations", [d.name for d in self.destinations]),
            ("sources", [s.name for s in self.sources]),
            ("rules", [r.name for r in self.rules]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                yield f"{what}: the name {twice[0]!r} is used twice; give each its own"
        receiver, urgent = self.receiver, [p.name for p in self.peers if p.urgent]
        if urgent and receiver.reserved_associations >= receiver.maximum_associations:
            yield (
                f"receiver.reserved_associations ({receiver.reserved_associations}) leaves no association of "
                f"{receiver.maximum_associations} for peers other than {_list(urgent)}; lower it, or raise "
                "receiver.maximum_associations"
            )
        known = {d.name for d in self.destinations}
        for rule in self.rules:
            for name in rule.destinations:
                if name not in known:
                    yield f"rule {rule.name!r} names destination {name!r}; known are {_list(known)}"
            yield from rule.faults()
        yield from self.worklist.faults()
        yield from flag_faults(self.worklist.channels, {d.name for d in self.destinations if d.kind == "orthanc"})
        known, called = {p.ae_title for p in self.peers}, {p.ae_title for p in self.peers if p.host is not None}
        yield from self.worklist.ups.faults(known, called)
        asked = self.assemble.ask
        if asked is not None and asked not in {d.name for d in self.destinations if d.kind != "folder"}:
            yield f"assemble.ask names {asked!r}, which is no destination that can be asked"

    def unsafe(self) -> list[str]:
        """What the node must not open, and what to do; empty if there is nothing."""
        found = [*self.receiver.unsafe(), *(self.stow.unsafe() if self.stow is not None else ())]
        if not is_loopback(self.page.host) and not self.page.without_login:
            found.append(
                f"page.host is {self.page.host}, so that other machines reach a page without a login; put a proxy with "
                "a login before 127.0.0.1, or in a closed network set page.without_login = true"
            )
        return found

    @property
    def sites(self) -> list[WebSite]:
        """Everybody who is called by HTTP."""
        return [*(d for d in self.destinations if isinstance(d, WebSite)), *self.sources, *self.worklist.webhooks]

    @property
    def takes_by_http(self) -> bool:
        """Whether the web part has anything to do."""
        return self.stow is not None or bool(self.sources)

    def destination(self, name: str) -> Destination:
        """The destination of that name. Raises KeyError if the settings have none."""
        return {d.name: d for d in self.destinations}[name]


def load(path: Path) -> Settings:
    """Read and check the whole file; raises BadSetting with every fault in one message."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(
            f"Settings file {path} cannot be read: {error.strerror}.", fix="Name one with -c FILE."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"Settings file {path} is not TOML: {error}.", fix="Mend that line.") from error
    return parse(raw, source=str(path))


def parse(raw: dict[str, object], *, source: str) -> Settings:
    """As `load`, from parsed TOML. Strict, as JSON is read: the text "104" is no port, and 1 is not true."""
    try:
        return TypeAdapter(Settings).validate_json(json.dumps(raw, default=_plain), strict=True)
    except ValidationError as error:
        raise BadSetting(f"Settings in {source}: {_faults(error)}.", fix="Mend the file and start again.") from error


def _plain(value: object) -> object:
    """For what JSON has not."""
    if isinstance(value, PurePath):  # from Python, as by `imaging-node process`
        return str(value)
    raise BadSetting(f"Settings: {value} is a date or a time; no setting takes one.", fix="Write a text in quotes.")


def _faults(error: ValidationError) -> str:
    lines = []
    faults = error.errors(include_url=False, include_input=False)
    for fault in faults:
        here = fault["loc"]
        if fault["type"] == "too_short" and any(o["loc"][: len(here)] == here != o["loc"] for o in faults):
            continue  # its only item is faulty, and that is said already
        where = ".".join(map(str, here)) or "file"
        text = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {text}")
    return "; ".join(lines)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
