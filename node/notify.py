"""Tells systemd how far the node is (sd_notify(3)), so that `systemctl start` waits until it serves."""

import socket
from collections.abc import Mapping
from typing import Final

from node.log import log

SOCKET: Final = "NOTIFY_SOCKET"  # systemd's own name for it


def tell(environment: Mapping[str, str], state: str) -> None:
    """Send a state, as in "READY=1". Nothing happens where systemd did not start the node.

    A message that does not get through is logged: the node serves, and it is systemd that will end it in time.
    """
    address = environment.get(SOCKET)
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # "@" stands for the zero byte of an abstract address (unix(7)).
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state.encode())
    except OSError as error:
        log.error("systemd was not told", state=state, reason=error.strerror)
