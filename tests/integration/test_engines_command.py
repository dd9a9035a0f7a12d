"""`imaging-node engines`: what it says as text and as JSON, and its exit statuses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.store import find_spec, names, verify
from node.__main__ import main
from tests.other_engine import other_engine
from tests.running_node import cli, settings_for, write_toml
from tests.small_engines import SPEC, install, network, recorded, write

Answer = tuple[int, str, str]
"""Exit status, standard output, standard error."""
Command = Callable[..., Answer]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`imaging-node engines ...` in this process: a new one takes a second to start, and there are many here."""

    def run(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["imaging-node", "engines", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def found(engines: Command) -> Callable[..., Any]:
    """The one JSON object of a command that ends with `status`."""

    def run(*arguments: str | Path, status: int = 0) -> Any:
        code, said, trouble = engines(*arguments, "--json")
        assert (code, trouble) == (status, "")
        return json.loads(said)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Settings with a folder of the site that holds one engine."""
    recorded(tmp_path / "engines", "small")
    raw = {**settings_for(tmp_path), "engines": {"folder": str(tmp_path / "engines"), "threads": 1}}
    return write_toml(tmp_path / "node.toml", raw)


def test_list_names_what_ships_and_what_the_site_added(file: Path, found: Callable[..., Any], engines: Command) -> None:
    listed = {one["engine"]: one for one in found("list", "-c", file)["engines"]}

    assert set(listed) == {*names(), "small"}
    small = listed["small"]
    assert (small["version"], small["validation_level"], small["from"]) == ("1.0.0", "none", "site")
    assert (small["files"], small["plan"], len(small["sha256"])) == ("as sealed", "none", 64)
    status, said, _ = engines("list")
    assert status == 0
    assert "backend: ONNX Runtime on the CPU" in said
    assert "ct_denoise 1." in said
    assert "small" not in said


def test_verify_passes_with_figures(file: Path, found: Callable[..., Any]) -> None:
    result = found("verify", "small", "-c", file)

    assert result["passed"] is True
    (entry,) = result["engines"]
    assert entry["cases"][0] == {"case": "phantom-0", "output": "made", "worst": 0.0, "limit": 0.01, "passed": True}


def test_verify_fails_with_figures(tmp_path: Path, file: Path, found: Callable[..., Any], engines: Command) -> None:
    """New weights beside the recorded cases of the old."""
    install(tmp_path / "engines", "small", network(weight=2.5))
    result = found("verify", "small", "-c", file, status=1)
    (entry,) = result["engines"]
    assert not result["passed"]
    assert entry["cases"][0]["worst"] > 400.0

    status, said, _ = engines("verify", "small", "-c", file)
    assert status == 1
    assert "small: FAILED" in said
    assert "MISSED  phantom-0, made: " in said


def test_verify_of_a_changed_file_is_refused(tmp_path: Path, file: Path, engines: Command) -> None:
    (tmp_path / "engines" / "weights" / "small.onnx").write_bytes(b"x")
    status, said, trouble = engines("verify", "-c", file)

    assert (status, said) == (1, "")
    assert "sha256 is" in trouble
    assert "small.onnx" in trouble


def test_verify_on_a_backend_that_is_not_there_fails_and_uses_no_other(file: Path, found: Callable[..., Any]) -> None:
    result = found("verify", "small", "-c", file, "--backend", "ort-cuda", status=1)

    assert result["backend"] == "ONNX Runtime with CUDA, GPU 0"
    assert "not with CUDAExecutionProvider" in result["engines"][0]["reason"]
    assert result["engines"][0]["cases"] == []


def test_bench_gives_milliseconds_per_slice_of_the_usual_shape(
    file: Path, found: Callable[..., Any], engines: Command
) -> None:
    (timed,) = found("bench", "small", "-c", file, "--runs", "5")["engines"]

    assert timed["shape"] == {"hu": [1, 1, 64, 64]}
    assert timed["runs"] == 5
    assert 0 < timed["best_ms"] <= timed["median_ms"] <= timed["worst_ms"] < 1000
    assert " ms per slice (" in engines("bench", "small", "-c", file, "--runs", "1")[1]


def test_add_then_verify(tmp_path: Path, file: Path, found: Callable[..., Any], engines: Command) -> None:
    onnx_file, spec_file = write(tmp_path / "mine", "mine", network(weight=3.0))
    added = found("add", onnx_file, "--spec", spec_file, "-c", file)

    assert (added["engine"], added["recorded"], added["folder"]) == ("mine", True, str(tmp_path / "engines"))
    assert found("verify", "mine", "-c", file)["passed"]
    status, _, trouble = engines("add", onnx_file, "--spec", spec_file, "-c", file)
    assert status == 1
    assert "Engine mine 1.0.0 is in" in trouble
    assert "--replace" in trouble
    status, said, _ = engines("add", onnx_file, "--spec", spec_file, "-c", file, "--replace")
    assert (status, "cases recorded" in said) == (0, True)


def test_add_to_a_folder_makes_it(tmp_path: Path, found: Callable[..., Any]) -> None:
    onnx_file, spec_file = write(tmp_path / "mine", "mine", network())
    found("add", onnx_file, "--spec", spec_file, "--to", tmp_path / "new")

    verify(tmp_path / "new")
    assert find_spec("mine", tmp_path / "new").folder == tmp_path / "new"


def test_add_of_a_bad_one_is_one_line(tmp_path: Path, engines: Command) -> None:
    files = write(tmp_path / "mine", "mine", network(), spec=SPEC.replace('"hu"', '"image"'))
    status, said, trouble = engines("add", files[0], "--spec", files[1], "--to", tmp_path / "new")

    assert (status, said) == (1, "")
    assert trouble.startswith("imaging-node: Engine mine: the specification's inputs are ['image']")
    assert trouble.count("\n") == 1


def test_add_without_a_folder_says_which_setting(tmp_path: Path, engines: Command) -> None:
    files = write(tmp_path / "mine", "mine", network())
    status, _, trouble = engines("add", files[0], "--spec", files[1])

    assert status == 2
    assert "Name one with --to, or set engines.folder." in trouble


def test_record_after_new_weights(tmp_path: Path, file: Path, found: Callable[..., Any]) -> None:
    install(tmp_path / "engines", "small", network(weight=2.5))
    found("verify", "small", "-c", file, status=1)

    assert found("record", "small", "-c", file)["cases"] == ["phantom-0", "phantom-1"]
    assert found("verify", "small", "-c", file)["passed"]


def test_build_without_tensorrt_or_gpu_says_what_is_missing(tmp_path: Path, file: Path, engines: Command) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("there is a GPU")
    status, said, trouble = engines("build", "small", "-c", file)

    assert (status, said) == (1, "")
    assert trouble.startswith("imaging-node: ")
    assert trouble.count("\n") == 1
    assert not list((tmp_path / "state").rglob("*.plan"))


def test_an_unknown_engine_names_the_known(file: Path, engines: Command) -> None:
    status, _, trouble = engines("verify", "nothing", "-c", file)

    assert status == 1
    assert "There is no engine 'nothing'. Known are ct_denoise, " in trouble


def test_the_engine_of_the_site_stands_before_the_shipped_one(tmp_path: Path, found: Callable[..., Any]) -> None:
    other_engine(tmp_path / "engines", version="9.0.0")
    raw = {**settings_for(tmp_path), "engines": {"folder": str(tmp_path / "engines")}}
    listed = {one["engine"]: one for one in found("list", "-c", write_toml(tmp_path / "n.toml", raw))["engines"]}

    assert (listed["ct_denoise"]["version"], listed["ct_denoise"]["from"]) == ("9.0.0", "site")
    assert listed["ct_kernel"]["from"] == "node"


def test_the_console_script_knows_them() -> None:
    status, said, _ = cli("engines", "list")

    assert status == 0
    assert "ct_denoise 1." in said
