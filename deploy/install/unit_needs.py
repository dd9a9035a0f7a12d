"""Prints a drop-in for the unit with what the settings need beyond it, or nothing. Run by ../install.sh."""

import sys
from collections.abc import Iterator
from pathlib import Path

from node.settings import Settings, load

STATE = Path("/var/lib/imaging-node")  # StateDirectory= of the unit
RESULTS = Path("/var/lib/imaging-node-out")  # ReadWritePaths= of the unit
PRIVILEGED = 1024  # ports below it need a capability


def folders(settings: Settings) -> Iterator[Path]:
    """Where the node writes, outside of what the unit opens."""
    wanted = [settings.node.state, *(d.path for d in settings.destinations if d.kind == "folder")]
    if settings.engines.plans is not None:
        wanted.append(settings.engines.plans)
    for folder in wanted:
        if not any(folder.is_relative_to(open_already) for open_already in (STATE, RESULTS)):
            yield folder


def needs_low_port(settings: Settings) -> bool:
    """Whether it listens below port 1024."""
    receiver = settings.receiver
    ports = [receiver.port if receiver.opens_plain else 0, settings.page.port]
    ports += [part.port for part in (receiver.tls, settings.stow) if part is not None]
    return any(0 < port < PRIVILEGED for port in ports)


def drop_in(settings: Settings) -> str:
    lines = [f'ReadWritePaths=-"{folder}"' for folder in dict.fromkeys(folders(settings))]
    if any(folder.is_relative_to(home) for folder in folders(settings) for home in (Path("/home"), Path("/root"))):
        lines.append("ProtectHome=no")
    if needs_low_port(settings):
        lines += ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    if not lines:
        return ""
    head = (
        "# Made by deploy/install.sh from /etc/imaging-node/node.toml: run it again after a change of folders or ports."
    )
    return "\n".join([head, "[Service]", *lines])


if __name__ == "__main__":
    if text := drop_in(load(Path(sys.argv[1]))):
        sys.stdout.write(text + "\n")
