"""`engines add`: a good network is in place with its cases; a bad one leaves the folder as it was."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.add import add
from engines.engine import BadSpec, DigestMismatch, EngineError, EngineMissing, ParityFailed, UnsafeWeights
from engines.ort import OrtEngine
from engines.parity import recorded_cases, require
from engines.store import find_spec, names, read_sums, verify
from tests.small_engines import SPEC, network, outside, write


def everything(folder: Path) -> dict[str, str]:
    """Each file of a folder with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_good_network_is_there_with_cases_and_seal_and_runs(tmp_path: Path) -> None:
    onnx_file, spec_file = write(tmp_path / "site", "mine", network())
    added = add(onnx_file, spec_file, tmp_path / "to")

    assert added.recorded
    assert names(tmp_path / "to") == ("mine",)
    assert set(everything(tmp_path / "to")) == {"SHA256SUMS", "cases/mine.npz", "specs/mine.toml", "weights/mine.onnx"}
    verify(tmp_path / "to")
    with OrtEngine(find_spec("mine", tmp_path / "to"), threads=1) as engine:
        require(engine)


def test_external_data_come_along_and_are_sealed(tmp_path: Path) -> None:
    model = network(weight=3.0)
    values = outside(model, "values.bin", length=4)
    onnx_file, spec_file = write(tmp_path / "site", "mine", model)
    (tmp_path / "site" / "values.bin").write_bytes(values)
    added = add(onnx_file, spec_file, tmp_path / "to")

    assert "weights/values.bin" in read_sums(tmp_path / "to")
    image = np.ones((1, 1, 16, 16), np.float32)
    with OrtEngine(added.spec, threads=1) as engine:
        assert np.array_equal(engine.infer({"hu": image})["made"], 3.0 * image)


def test_given_cases_have_to_pass_and_are_kept(tmp_path: Path) -> None:
    first = add(*write(tmp_path / "a", "mine", network()), tmp_path / "first")
    cases = tmp_path / "first" / "cases" / "mine.npz"
    again = add(*write(tmp_path / "a", "mine", network()), tmp_path / "second", cases=cases)

    assert not again.recorded
    assert [difference.worst for difference in again.differences] == [0.0, 0.0]
    assert len(recorded_cases(again.spec)) == len(recorded_cases(first.spec)) == 2
    with pytest.raises(ParityFailed, match=r"mine 1.0.0 does not give what was recorded: phantom-0, made: "):
        add(*write(tmp_path / "b", "mine", network(weight=2.01)), tmp_path / "third", cases=cases)
    assert everything(tmp_path / "third") == {}


def test_a_second_engine_joins_the_first_and_a_new_version_takes_its_place_when_asked(tmp_path: Path) -> None:
    to = tmp_path / "to"
    add(*write(tmp_path / "a", "one", network()), to)
    add(*write(tmp_path / "a", "two", network(weight=3.0)), to)
    before = everything(to)
    newer = write(tmp_path / "b", "one", network(weight=4.0), spec=SPEC.replace("1.0.0", "1.1.0"))
    with pytest.raises(EngineError, match=r"Engine one 1.0.0 is in .* already.*--replace"):
        add(*newer, to)
    assert everything(to) == before

    assert add(*newer, to, replace=True).spec.version == "1.1.0"
    assert names(to) == ("one", "two")
    verify(to)


def test_two_at_once_are_both_there(tmp_path: Path) -> None:
    files = [write(tmp_path / str(i), f"e{i}", network(weight=float(i + 1))) for i in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(add, *pair, tmp_path / "to") for pair in files]:
            done.result()

    assert names(tmp_path / "to") == ("e0", "e1", "e2", "e3")
    verify(tmp_path / "to")


def test_a_folder_that_was_changed_is_not_sealed_over(tmp_path: Path) -> None:
    add(*write(tmp_path / "a", "one", network()), tmp_path / "to")
    (tmp_path / "to" / "weights" / "one.onnx").write_bytes(b"changed")

    with pytest.raises(DigestMismatch, match=r"weights/one.onnx"):
        add(*write(tmp_path / "a", "two", network()), tmp_path / "to")


def test_the_files_of_another_engine_are_not_overwritten(tmp_path: Path) -> None:
    add(*write(tmp_path / "a", "one", network()), tmp_path / "to")
    other = write(tmp_path / "b", "two", network(weight=3.0), spec=SPEC.replace('"{name}.onnx"', '"one.onnx"'))
    before = everything(tmp_path / "to")

    with pytest.raises(EngineError, match=r"Engine one has a file one.onnx already"):
        add(*other, tmp_path / "to")
    assert everything(tmp_path / "to") == before


def own_domain() -> onnx.ModelProto:
    return network([helper.make_node("Magic", ["hu"], ["made"], domain="com.site")], opsets={"com.site": 1})


def own_function() -> onnx.ModelProto:
    model = network([helper.make_node("F", ["hu"], ["made"], domain="own")], opsets={"own": 1})
    body = [helper.make_node("Abs", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return model


def branch() -> onnx.ModelProto:
    one = helper.make_graph(
        [helper.make_node("Abs", ["hu"], ["x"])],
        "one",
        [],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
    )
    model = network([helper.make_node("If", ["yes"], ["made"], then_branch=one, else_branch=one)])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return model


def elsewhere(location: str) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        model = network()
        outside(model, location, length=4)
        return model

    return make


def cropped() -> onnx.ModelProto:
    pads = numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, -8, 0]), "pads")
    model = network([helper.make_node("Pad", ["hu", "pads"], ["made"])])
    model.graph.initializer.append(pads)
    return model


BAD: dict[str, tuple[Callable[[], onnx.ModelProto], str, type[EngineError], str]] = {
    "operator of a site": (own_domain, SPEC, UnsafeWeights, r"operators or functions of its own: com.site.Magic"),
    "function of its own": (own_function, SPEC, UnsafeWeights, "operators or functions of its own"),
    "branch": (branch, SPEC, UnsafeWeights, "operators that are not allowed: If"),
    "random": (
        lambda: network([helper.make_node("RandomNormalLike", ["hu"], ["made"])]),
        SPEC,
        UnsafeWeights,
        "not allowed: RandomNormalLike",
    ),
    "old opset": (lambda: network(opset=9), SPEC, UnsafeWeights, "opset 9, not in 11 to 23"),
    "new opset": (lambda: network(opset=99), SPEC, UnsafeWeights, "opset 99"),
    "absolute path": (elsewhere("/etc/hostname"), SPEC, UnsafeWeights, "'/etc/hostname', outside"),
    "path upwards": (elsewhere("../secret.bin"), SPEC, UnsafeWeights, "'../secret.bin', outside"),
    "link": (elsewhere("link.bin"), SPEC, UnsafeWeights, "is a link or no plain file"),
    "missing data": (elsewhere("nothing.bin"), SPEC, EngineMissing, "nothing.bin of engine bad cannot be read"),
    "short data": (elsewhere("short.bin"), SPEC, UnsafeWeights, "reads bytes 0 to 4 of short.bin, which has 2"),
    "digest": (network, SPEC.replace("{sha256}", "0" * 64), DigestMismatch, r"not 0000000000000000…"),
    "type": (network, SPEC.replace('"float32"', '"float64"'), BadSpec, "says float64 .* the graph has float32"),
    "rank": (network, SPEC.replace('["n", 1, "y", "x"]', '["n", "y", "x"]'), BadSpec, "the graph has"),
    "channels": (network, SPEC.replace('["n", 1,', '["n", 3,'), BadSpec, "the graph has"),
    "unknown key": (network, SPEC.replace("z_support", "gpu = 1\nz_support"), BadSpec, "unknown key"),
    "output of another size": (cropped, SPEC, BadSpec, r"for the minimum of its profile, the network gives .* 8, 16\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_one_is_refused_and_the_folder_stays_as_it_was(tmp_path: Path, case: str) -> None:
    make, spec, error, says = BAD[case]
    to = tmp_path / "to"
    add(*write(tmp_path / "good", "good", network()), to)
    before = everything(to)
    files = write(tmp_path / "site", "bad", make(), spec=spec)
    (tmp_path / "secret.bin").write_bytes(b"\0" * 4)
    (tmp_path / "site" / "short.bin").write_bytes(b"\0" * 2)
    (tmp_path / "site" / "link.bin").symlink_to(tmp_path / "secret.bin")

    with pytest.raises(error, match=says):
        add(*files, to)
    assert everything(to) == before


@pytest.mark.parametrize("content", [b"", b"no network", b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    onnx_file, spec_file = write(tmp_path / "site", "mine", network())
    onnx_file.write_bytes(content)

    with pytest.raises(BadSpec, match="are no ONNX model"):
        add(onnx_file, spec_file, tmp_path / "to")


def test_a_specification_has_to_be_named_as_its_engine(tmp_path: Path) -> None:
    onnx_file, spec_file = write(tmp_path / "site", "mine", network())

    with pytest.raises(BadSpec, match=r"it calls itself 'mine'"):
        add(onnx_file, spec_file.rename(spec_file.with_name("other.toml")), tmp_path / "to")


def test_missing_files_are_named(tmp_path: Path) -> None:
    files: Any = write(tmp_path / "site", "mine", network())
    for file in files:
        good = file.read_bytes()
        file.unlink()
        with pytest.raises(EngineMissing, match=f"cannot be read from {file}"):
            add(*files, tmp_path / "to")
        file.write_bytes(good)
