"""PORTS.md: what is opened, who connects, who is called, and a firewall for it."""

from collections.abc import Iterator
from typing import Final

from node.conformance.document import Section, table
from node.papers import firewall
from node.papers.facts import Caller, Connections
from node.peers.tls import SUITES
from node.settings import Settings

USER: Final = "imaging-node"
"""Whom `deploy/install.sh` makes for the node's processes."""

_NEVER: Final = (
    "No connection that is not in the tables: no update, licence or telemetry server, no cloud service, no remote "
    "support.",
    "No UDP port, no SSH, no remote desktop, no database port: the records are SQLite files of the node.",
    "No port mapping (UPnP), no multicast, no discovery of other systems.",
    "No proxy for HTTP: proxy settings of the environment are ignored, and a redirect is not followed. The library of "
    "the gRPC service (Triton) does read them: set none for the node's user.",
    "Nothing that a peer sends makes the node call an address: no URL, host or path in an object is followed. "
    "Who subscribes to the worklist names an AE title; its address stands in the settings, or it is not called.",
)

_PORTS: Final = ("Port", "Address", "Reached from", "Protocol", "Encryption", "The caller proves", "Process", "Setting")
_FROM: Final = (
    "Opened",
    "From",
    "Addresses",
    "To port",
    "Protocol",
    "Encryption",
    "Proof of the caller",
    "What flows",
    "Data go",
    "Patient data",
    "Setting",
)
_TO: Final = (
    "Opened",
    "From process",
    "To",
    "Host",
    "Port",
    "Protocol",
    "Encryption",
    "The node proves",
    "The other side proves",
    "What flows",
    "Data go",
    "Patient data",
    "Setting",
)


def sheet(settings: Settings, found: Connections, *, version: str) -> str:
    """The whole sheet as Markdown."""
    sections = (
        Section(title="In one minute", text=("\n".join(f"* {line}" for line in _summary(found)),)),
        Section(
            title="Ports that the node opens",
            text=(table(_PORTS, _listeners(found)),),
        ),
        Section(
            title="Who connects to the node",
            text=(
                table(_FROM, _callers(found)),
                *_shut_out(settings, found),
            ),
        ),
        Section(
            title="Whom the node calls",
            text=(
                table(_TO, _called(found)),
                "Commands that somebody runs on the machine (`imaging-node check`, `fetch`) call the same addresses "
                "and the node's own page, and no others. `imaging-node demo` talks to itself, on free ports of this "
                "machine. " + _names(found),
            ),
        ),
        Section(
            title="Folders that results go to",
            text=(
                table(
                    ("Name", "Folder", "Setting"),
                    ((one.name, f"`{one.path}`", _key(one.setting)) for one in found.folders),
                ),
            ),
        ),
        Section(title="Encryption", text=_encryption(found)),
        Section(
            title="Firewall of the node's machine",
            text=(
                "For nftables: save it as a file and load it with `nft -f FILE`. It lets in who stands above, and lets "
                f"the user `{USER}` (who must exist) call who stands above. Set the same on the firewalls between.",
                f"```\n{firewall.rules(found, user=USER)}```",
            ),
        ),
        Section(title="What the node never opens", text=("\n".join(f"* {line}" for line in _NEVER),)),
    )
    lines = [
        f"# Network and port sheet: imaging-node {version}",
        "",
        f"Of the configuration of `{settings.receiver.ae_title}` (station name `{settings.node.station_name}`), "
        "written by `imaging-node papers`; it changes with the settings. The picture `data-flow.svg` shows the same.",
        "",
    ]
    for section in sections:
        lines.extend(section.lines())
    return "\n".join(lines).rstrip() + "\n"


def _summary(found: Connections) -> Iterator[str]:
    far = [one for one in found.listeners if not one.local]
    shown = ", ".join(f"{one.port}/tcp ({one.protocol})" for one in far) or "none"
    yield f"Ports that other machines reach: {shown}. On this machine only: {_local(found)}."
    hosts = sorted({f"{one.host}:{one.port}/tcp" for one in found.called})
    yield f"The node calls {len(hosts)} address{'' if len(hosts) == 1 else 'es'}: {', '.join(hosts) or 'none'}."
    bare = plainly(found)
    yield (
        f"**Without encryption on the network, with data of patients: {', '.join(bare)}.**"
        if bare
        else "Nothing with data of patients leaves this machine, or comes in, without encryption."
    )
    yield "Nothing else is opened or called; a test compares this sheet with the sockets of a running node."


def _local(found: Connections) -> str:
    return ", ".join(f"{one.port}/tcp ({one.protocol})" for one in found.listeners if one.local) or "none"


def plainly(found: Connections) -> list[str]:
    """Tables of the settings by which data of patients travel between machines without encryption."""
    callers = [
        one.setting
        for one in found.callers
        if one.listener.security.tls is None and not one.listener.local and one.data.personal
    ]
    called = [one.setting for one in found.called if one.security.tls is None and not one.local and one.data.personal]
    return [*callers, *called]


def _listeners(found: Connections) -> Iterator[tuple[str, ...]]:
    for one in found.listeners:
        reached = "this machine" if one.local else "the network"
        yield (
            f"{_port(one.port)}/tcp",
            f"{one.host} (every interface)" if one.host in ("0.0.0.0", "::") else one.host,  # noqa: S104  said only
            reached,
            one.protocol,
            one.security.text,
            one.security.caller,
            one.process,
            _key(one.setting),
        )


def _callers(found: Connections) -> Iterator[tuple[str, ...]]:
    for one in found.callers:
        yield (
            "in",
            one.name,
            ", ".join(one.addresses) or _anybody(one),
            _port(one.listener.port),
            one.listener.protocol,
            one.listener.security.text,
            one.proof,
            one.carries,
            one.flow.value,
            one.data.value,
            _key(one.setting),
        )


def _anybody(one: Caller) -> str:
    return "this machine" if one.listener.local else "any: the node does not look at it"


def _called(found: Connections) -> Iterator[tuple[str, ...]]:
    for one in found.called:
        yield (
            "out",
            one.process,
            one.name,
            one.host,
            str(one.port),
            one.protocol,
            one.security.text,
            one.security.caller,
            one.security.called,
            one.carries,
            one.flow.value,
            one.data.value,
            _key(one.setting),
        )


def _shut_out(settings: Settings, found: Connections) -> Iterator[str]:
    """Peers that no open port lets in: a subject needs the port with TLS, none needs the one without."""
    let_in = {one.setting for one in found.callers}
    names = [peer.name for peer in settings.peers if f"peers.{peer.name}" not in let_in]
    if names:
        yield (
            f"**In the settings, and no open port lets them in: {', '.join(names)}.** A peer with `subject` comes by "
            "`receiver.tls` only, one without it by `receiver.port` only."
        )


def _names(found: Connections) -> str:
    names = sorted({one.host for one in found.called if one.is_name})
    if not names:
        return "All hosts are addresses, so that no name server (DNS) is asked."
    return f"The system's resolver (DNS) is asked for {', '.join(f'`{name}`' for name in names)}."


def _encryption(found: Connections) -> tuple[str, ...]:
    bare = plainly(found)
    return (
        "TLS 1.2 suites: " + ", ".join(f"`{name}`" for name in SUITES.split(":")) + "; of TLS 1.3 all. No compression, "
        "no renegotiation, no older version. A certificate of the other side that is not signed by the authority of "
        "the settings, or does not name the host that was called, ends the connection. gRPC (Triton) uses the suites "
        "of its own library.",
        "Data of patients travel without encryption between machines by: "
        + ", ".join(f"`{one}`" for one in bare)
        + ". "
        "Let it be only within a closed network, or set TLS there."
        if bare
        else "Between machines no data of patients travel without encryption.",
    )


def _port(port: int) -> str:
    return str(port) if port else "any free one"


def _key(setting: str) -> str:
    return f"`{setting}`"
