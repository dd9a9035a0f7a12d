"""Whole series through backend triton: the pixels of this CPU, also when the server is killed or not there at first."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pydicom
import pytest

from node.demo.phantom import make_series
from tests.kserve_server import KserveServer
from tests.peers import dcmsend, free_port, wait_until
from tests.running_node import AE_TITLE, RunningNode, cli, settings_for, write_toml

SLICES = 12


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_series(tmp_path_factory.mktemp("phantom"), slices=SLICES)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported as an operator does it."""
    folder = tmp_path_factory.mktemp("models")
    code, said, trouble = cli("engines", "export-triton", folder, "ct_denoise", "--json")
    assert code == 0, trouble
    (made,) = json.loads(said)["engines"]
    assert (made["engine"], made["written"]) == ("ct_denoise", True)
    return folder


@pytest.fixture(scope="module")
def expected(phantom: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """SOP Instance UID -> pixels, as the CPU of this machine makes them."""
    out = tmp_path_factory.mktemp("here")
    code, _, trouble = cli("process", phantom[0].parent, "--to", out, "--pipeline", "ct-denoise", "--json")
    assert code == 0, trouble
    return pixels(out)


def pixels(folder: Path) -> dict[str, bytes]:
    return {str(d.SOPInstanceUID): d.PixelData for d in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


def triton(port: int, **more: object) -> dict[str, object]:
    return {"backend": "triton", "triton_url": f"127.0.0.1:{port}", **more}


def test_files_through_a_server_give_the_pixels_of_this_cpu(
    phantom: list[Path], repository: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with KserveServer(repository) as server:
        file = write_toml(tmp_path / "node.toml", settings_for(tmp_path, engines=triton(server.port)))
        out = tmp_path / "out"
        code, said, trouble = cli(
            "process", phantom[0].parent, "--to", out, "--pipeline", "ct-denoise", "-c", file, "--json"
        )
        assert code == 0, said + trouble
        assert server.calls.count("ModelInfer") >= SLICES

    assert len(expected) == SLICES
    assert pixels(out) == expected


def test_files_without_the_server_are_said_to_wait_for_it(phantom: list[Path], tmp_path: Path) -> None:
    engines = triton(free_port(), triton_wait_s=0.0)
    file = write_toml(tmp_path / "node.toml", settings_for(tmp_path, engines=engines))
    arguments = (
        "process",
        phantom[0].parent,
        "--to",
        tmp_path / "out",
        "--pipeline",
        "ct-denoise",
        "-c",
        file,
        "--json",
    )
    code, said, _ = cli(*arguments)

    assert code == 1
    (series,) = json.loads(said)["series"]
    assert series["state"] == "failed"
    assert "Start the server, or correct its address" in series["reason"]


def test_a_node_receives_while_the_server_is_away_and_delivers_when_it_is_back(
    phantom: list[Path], repository: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    port = free_port()
    with RunningNode(tmp_path, settings_for(tmp_path, engines=triton(port))) as node:
        (sent,) = dcmsend(node.port, phantom, called=AE_TITLE)
        assert sent.stored == SLICES
        wait_until(
            f"a job waits; {node.tail()}",
            lambda: 'imaging_node_engine_waits_total{engine="ct_denoise"} 1' in node.metrics(),
            timeout_s=90.0,
        )
        away = 'imaging_node_engine_away{engine="ct_denoise"} 1.0'
        wait_until("the page says for whom", lambda: away in node.metrics())
        node.stop()  # a job that waits outlives the node
        node.start()
        with KserveServer(repository, port=port):
            node.wait_settled(1)
            ready = 'imaging_node_engine_ready{engine="ct_denoise"} 1.0'
            wait_until("the page says that it is back", lambda: ready in node.metrics())

        assert [job["state"] for job in node.jobs()] == ["delivered"]
        assert pixels(node.folder / "delivered") == expected


def test_a_server_that_is_killed_in_the_middle_costs_no_slice(
    phantom: list[Path], repository: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """It dies of every eighth image, and somebody starts it again each time."""
    port, done, starts = free_port(), threading.Event(), 0
    command = [sys.executable, "-m", "tests.kserve_server", str(repository), "--port", str(port), "--dies-at", "8"]

    def keep_it_running() -> None:
        nonlocal starts
        while not done.is_set():
            starts += 1
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
                while process.poll() is None:
                    if done.wait(0.1):
                        process.kill()

    keeper = threading.Thread(target=keep_it_running)
    keeper.start()
    try:
        with RunningNode(tmp_path, settings_for(tmp_path, engines=triton(port))) as node:
            dcmsend(node.port, phantom, called=AE_TITLE)
            node.wait_settled(1)
            assert [job["state"] for job in node.jobs()] == ["delivered"]
            assert pixels(node.folder / "delivered") == expected
    finally:
        done.set()
        keeper.join()
    assert starts > 2, "it was killed at least twice"
