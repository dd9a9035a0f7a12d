"""TCP ports: bound, shared between the node's processes, or found taken."""

import errno
import socket
import time
from typing import Final

from node.errors import BadSetting

_DYING_S: Final = 3.0


def bind(host: str, port: int, *, setting: str, shared: bool = False) -> socket.socket:
    """A bound socket. Raises BadSetting.

    setting: what the settings call it, as in "receiver"; with ".host" and ".port" behind it for the fix
    shared:  whoever binds the same port with this option gets a part of the connections (SO_REUSEPORT, socket(7)), but
             for a socket that does not listen: that one only keeps the port
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise _taken(host, port, setting, error) from error
    return listening


def require_free(host: str, port: int, *, setting: str) -> None:
    """Nobody may hold the port, not even one who would share it. Raises BadSetting."""
    until = time.monotonic() + _DYING_S
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                # The processes of a node that was killed a moment ago may still be on their way out.
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise _taken(host, port, setting, error) from error
        time.sleep(0.1)


def _taken(host: str, port: int, setting: str, error: OSError) -> BadSetting:
    return BadSetting(
        f"Port {port} on {host} cannot be opened: {error.strerror}.",
        fix=f"Set {setting.partition('.')[0]}.host and {setting}.port to a free one, or stop what holds it.",
    )
