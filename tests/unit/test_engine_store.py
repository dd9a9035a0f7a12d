"""Engines: nothing runs that is not the validated file, and every refusal says the fact and the fix."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from engines.engine import BadSpec, DigestMismatch, EngineFailed, EngineMissing, EngineSpec, ValidationLevel
from engines.ort import OrtEngine
from engines.store import HERE, load_spec, read_weights, weights_path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder of engines that a test may spoil."""
    for part in ("specs", "weights"):
        (tmp_path / part).mkdir()
    shutil.copy(HERE / "specs" / "ct_denoise.toml", tmp_path / "specs")
    shutil.copy(HERE / "weights" / "ct_denoise.onnx", tmp_path / "weights")
    return tmp_path


def test_the_shipped_weights_are_the_ones_the_specification_names() -> None:
    spec = load_spec("ct_denoise")

    assert len(read_weights(spec)) < 8_000_000
    assert spec.validation_level is ValidationLevel.NONE
    assert spec.z_support == 0
    assert spec.tolerances == {"denoised": 0.5}


def test_one_changed_byte_is_refused_before_anything_runs(copy: Path) -> None:
    spec = load_spec("ct_denoise", copy)
    data = bytearray(weights_path(spec).read_bytes())
    data[len(data) // 2] ^= 1
    weights_path(spec).write_bytes(bytes(data))

    with (
        pytest.raises(DigestMismatch, match=r"have sha256 .*, not .* install the engine again"),
        OrtEngine(spec, threads=1),
    ):
        pass


def test_a_truncated_file_is_refused(copy: Path) -> None:
    spec = load_spec("ct_denoise", copy)
    weights_path(spec).write_bytes(weights_path(spec).read_bytes()[:-1])

    with pytest.raises(DigestMismatch):
        read_weights(spec)


def test_missing_weights_name_the_place_and_the_fix(copy: Path) -> None:
    spec = load_spec("ct_denoise", copy)
    weights_path(spec).unlink()

    with pytest.raises(EngineMissing, match=r"weights of engine ct_denoise .* Install the engine again"):
        read_weights(spec)


@pytest.mark.parametrize("name", ["nothing", "../ct_denoise", "ct/denoise", ""])
def test_an_unknown_engine_is_missing_and_no_path_is_followed(copy: Path, name: str) -> None:
    with pytest.raises(EngineMissing):
        load_spec(name, copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('sha256 = "', 'sha256 = "zz'),
        ('weights = "ct_denoise.onnx"', 'weights = "../ct_denoise.onnx"'),
        ('validation_level = "none"', 'validation_level = "perfect"'),
        ("z_support = 0", ""),
        ('name = "hu"', "name = "),
    ],
)
def test_a_specification_that_cannot_be_understood_is_refused(copy: Path, old: str, new: str) -> None:
    path = copy / "specs" / "ct_denoise.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(BadSpec, match="specification of engine ct_denoise cannot be understood"):
        load_spec("ct_denoise", copy)


def test_a_file_that_is_no_network_fails_as_our_error(copy: Path) -> None:
    spec = load_spec("ct_denoise", copy)
    weights_path(spec).write_bytes(b"no network")
    honest = _with_digest(spec)

    with pytest.raises(EngineFailed, match="cannot load engine ct_denoise"), OrtEngine(honest, threads=1):
        pass


def test_a_specification_with_other_tensor_names_than_the_graph_is_refused(copy: Path) -> None:
    path = copy / "specs" / "ct_denoise.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('name = "hu"', 'name = "image"'), encoding="utf-8")

    with (
        pytest.raises(BadSpec, match=r"inputs are \['image'\], the graph's \['hu'\]"),
        OrtEngine(load_spec("ct_denoise", copy), threads=1),
    ):
        pass


def _with_digest(spec: EngineSpec) -> EngineSpec:
    return dataclasses.replace(spec, sha256=hashlib.sha256(weights_path(spec).read_bytes()).hexdigest())


def test_the_card_gives_the_figures_of_the_weights_that_ship() -> None:
    spec = load_spec("ct_denoise")
    card = (HERE / "cards" / "ct_denoise.md").read_text(encoding="utf-8")
    found = json.loads((HERE / "cards" / "ct_denoise.json").read_text(encoding="utf-8"))

    assert found["engine"] == {"name": spec.name, "version": spec.version, "sha256": spec.sha256}
    assert spec.sha256[:20] in card
    assert "Not clinically\n> validated, not a medical device" in card
    for entry in found["conditions"].values():
        ours = entry["network"]["rmse"]["mean"]
        assert f"{ours:.2f} [" in card
        assert ours < entry["gaussian"]["rmse"]["mean"]
        assert ours < entry["total_variation"]["rmse"]["mean"]
