"""The page's port: it can be called as soon as it is open."""

import socket
from pathlib import Path

import pytest

from node.commands.run import page_port
from node.errors import BadSetting
from node.settings import parse
from tests.running_node import settings_for


def test_connections_are_taken_as_soon_as_the_port_is_open_and_by_one_page_only(tmp_path: Path) -> None:
    settings = parse(settings_for(tmp_path), source="the test")

    with page_port(settings) as listening:
        socket.create_connection(listening.getsockname(), timeout=1.0).close()
        with pytest.raises(BadSetting, match=r"cannot be opened.*Set page\.host"):
            page_port(settings)
