"""Two nodes on one folder would work against each other: the second one does not start."""

from pathlib import Path

from tests.running_node import RunningNode, cli, settings_for, write_toml


def test_a_second_node_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with RunningNode(tmp_path, settings_for(tmp_path)) as node:
        second = write_toml(tmp_path / "second.toml", settings_for(tmp_path))  # the same state, other ports

        code, _, trouble = cli("run", "-c", second)

        assert code == 2
        assert "Another process (node) uses" in trouble
        assert "node.state of its own" in trouble
        node.wait_ready()
