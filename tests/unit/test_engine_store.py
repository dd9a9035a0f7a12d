"""Engines: nothing runs that is not the validated file, and every refusal says the fact and the fix."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.engine import DigestMismatch, EngineError, EngineMissing, ValidationLevel
from engines.ort import OrtEngine
from engines.parity import recorded_cases
from engines.store import (
    HERE,
    SUMS,
    find_spec,
    load_spec,
    names,
    read_sums,
    read_weights,
    reseal,
    seal,
    verify,
    weights_path,
)
from tests.small_engines import install, network, recorded

PARTS = ["specs/small.toml", "weights/small.onnx", "cases/small.npz", SUMS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with one engine that a test may spoil."""
    recorded(tmp_path, "small")
    return tmp_path


def start(folder: Path) -> None:
    """What the node does before it opens its port."""
    verify(folder)
    spec = load_spec("small", folder)
    read_weights(spec)
    recorded_cases(spec)


def test_shipped_engines_are_the_sealed_ones_and_fit_their_graphs() -> None:
    assert verify() == len(read_sums(HERE))
    assert {"ct_denoise", "ct_kernel"} <= set(names())
    for name in names():
        spec = load_spec(name)
        assert len(read_weights(spec)) < 12_000_000
        assert spec.z_support == {"head_ct_triage": 1, "mr_postcontrast": 1, "mra_superres": 2}.get(name, 0)
        assert spec.validation_level is ValidationLevel.NONE
        assert (HERE / "cases" / f"{name}.npz").stat().st_size < 450_000  # a trained network's answers are noise to zip
        assert len(recorded_cases(spec)) == 2


@pytest.mark.parametrize("part", PARTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_refused_at_start(folder: Path, part: str, data: st.DataObject) -> None:
    path = folder / part
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[position // 8] ^= 1 << position % 8
    path.write_bytes(bytes(bad))
    try:
        with pytest.raises((DigestMismatch, EngineMissing), match=r"sha256 is|not as it was sealed|cannot be read"):
            start(folder)
    finally:
        path.write_bytes(good)


def test_every_single_bit_of_the_digests_counts(folder: Path) -> None:
    path = folder / SUMS
    good = path.read_bytes()
    for position in range(len(good) * 8):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << position % 8
        path.write_bytes(bytes(bad))
        with pytest.raises((DigestMismatch, EngineMissing)):
            verify(folder)


@pytest.mark.parametrize("change", [b"", b"\n", b"# comment\n", b"0" * 64 + b"  ../x\n", b"0" * 64 + b"  weights/y\n"])
def test_digests_with_anything_more_in_them_are_refused(folder: Path, change: bytes) -> None:
    path = folder / SUMS
    path.write_bytes(path.read_bytes() + change if change else b"")

    with pytest.raises((DigestMismatch, EngineMissing)):
        start(folder)


def test_message_names_file_both_digests_and_the_fix(folder: Path) -> None:
    weights = folder / "weights" / "small.onnx"
    weights.write_bytes(weights.read_bytes()[:-1])

    with pytest.raises(DigestMismatch, match=r"small 1.0.0: sha256 is .{16}…, not .{16}….* install the engine again"):
        read_weights(load_spec("small", folder))


def test_weights_of_another_digest_than_the_specification_names_are_refused_though_sealed(folder: Path) -> None:
    weights = folder / "weights" / "small.onnx"
    weights.write_bytes(network(weight=3.0).SerializeToString())
    reseal(folder)

    with (
        pytest.raises(DigestMismatch, match="weights of engine small"),
        OrtEngine(load_spec("small", folder), threads=1),
    ):
        pass


@pytest.mark.parametrize("part", PARTS)
def test_missing_files_name_the_place_and_the_fix(folder: Path, part: str) -> None:
    (folder / part).unlink()

    with pytest.raises(EngineMissing, match=r"cannot be read.*[Ii]nstall the engine"):
        start(folder)


def test_a_file_that_was_only_copied_in_is_not_an_engine(folder: Path) -> None:
    for part, suffix in (("specs", "toml"), ("weights", "onnx"), ("cases", "npz")):
        shutil.copy(HERE / part / f"ct_denoise.{suffix}", folder / part)

    assert names(folder) == ("small",)
    with pytest.raises(DigestMismatch, match=r"is not in SHA256SUMS. Add files with `imaging-node engines add`"):
        load_spec("ct_denoise", folder)


def test_sealing_one_file_blesses_no_other(folder: Path) -> None:
    (folder / "weights" / "small.onnx").write_bytes(b"other")
    (folder / "cases" / "new.npz").write_bytes(b"new")
    seal(folder, ["cases/new.npz"])

    with pytest.raises(DigestMismatch, match=r"weights/small.onnx"):
        verify(folder)


def test_the_site_comes_before_what_ships_and_only_where_it_has_that_engine(folder: Path) -> None:
    assert find_spec("small", folder).folder == folder
    assert find_spec("ct_denoise", folder).folder == HERE
    with pytest.raises(EngineMissing):
        find_spec("small", None)


def test_a_site_engine_that_vanished_is_not_replaced_by_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    install(tmp_path, "ct_denoise", network())
    (tmp_path / "specs" / "ct_denoise.toml").unlink()

    with pytest.raises(EngineMissing):
        find_spec("ct_denoise", tmp_path)


@pytest.mark.parametrize("name", ["nothing", "../ct_denoise", "ct/denoise", "", "a" * 65])
def test_an_unknown_engine_is_missing_and_no_path_is_followed(folder: Path, name: str) -> None:
    with pytest.raises(EngineMissing):
        load_spec(name, folder)


def test_a_file_that_is_no_network_fails_as_our_error(folder: Path) -> None:
    spec = install(folder, "small", network())
    weights_path(spec).write_bytes(b"no network")
    reseal(folder)
    honest = dataclasses.replace(spec, sha256=hashlib.sha256(b"no network").hexdigest())
    with pytest.raises(EngineError, match="weights of engine small are no ONNX model"), OrtEngine(honest, threads=1):
        pass
