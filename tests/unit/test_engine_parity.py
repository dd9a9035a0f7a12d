"""Recorded cases: an engine gives what was recorded, or it does not serve."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import BadSpec, EngineMissing, EngineSpec, ParityFailed, ShapeOutsideProfile
from engines.ort import OrtEngine
from engines.parity import Case, compare, packed, record, recorded_cases, require
from engines.phantom import feeds_of
from engines.store import HERE, load_spec, names, seal, verify
from tests.small_engines import install, network, recorded


class Off(OrtEngine):
    """ONNX Runtime with an error that a broken backend could make."""

    def __init__(self, spec: EngineSpec, change: Any) -> None:
        super().__init__(spec, threads=1)
        self.change = change

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {name: self.change(made.copy()) for name, made in super().infer(feeds).items()}


@pytest.fixture
def spec(tmp_path: Path) -> EngineSpec:
    return recorded(tmp_path, "small")


@pytest.fixture
def engine(spec: EngineSpec) -> Iterator[OrtEngine]:
    with OrtEngine(spec, threads=1) as loaded:
        yield loaded


def one_voxel(made: NDArray[Any]) -> NDArray[Any]:
    made[0, 0, 17, 23] += 0.02
    return made


def not_a_number(made: NDArray[Any]) -> NDArray[Any]:
    made[0, 0, 0, 0] = np.nan
    return made


@pytest.mark.parametrize(
    "change",
    [
        one_voxel,
        not_a_number,
        lambda made: made[..., ::-1],
        lambda made: np.roll(made, 1, axis=-2),
        lambda made: np.swapaxes(made, -1, -2),
        lambda made: made.astype(np.float64),
        lambda made: made[..., :-1],
        lambda made: made + 0.02,
    ],
    ids=["one voxel", "nan", "mirrored", "shifted", "transposed", "float64", "cropped", "offset"],
)
def test_an_engine_that_is_off_in_any_way_is_refused_with_the_figures(spec: EngineSpec, change: Any) -> None:
    with (
        Off(spec, change) as engine,
        pytest.raises(ParityFailed, match=r"small 1.0.0 .*phantom-\d, made: .* \(at most"),
    ):
        require(engine)


def test_a_difference_within_the_tolerance_passes_and_is_told(spec: EngineSpec) -> None:
    with Off(spec, lambda made: made + np.float32(0.004)) as engine:
        found = require(engine)

    assert [difference.passed for difference in found] == [True, True]
    assert all(0.003 < difference.worst < 0.01 == difference.limit for difference in found)


@pytest.mark.parametrize("name", names())
def test_shipped_engines_give_what_was_recorded(name: str) -> None:
    spec = load_spec(name)
    with OrtEngine(spec, threads=2) as engine:
        found = require(engine)

    assert len(found) == 2 * len(spec.outputs)
    assert max(difference.worst / difference.limit for difference in found) <= 0.1


@pytest.mark.parametrize("name", names())
def test_shipped_cases_are_the_phantom_that_code_makes(name: str) -> None:
    """No patient is in them: the feeds can be made again from a number."""
    spec = load_spec(name)
    for index, case in enumerate(recorded_cases(spec)):
        made = feeds_of(spec, index)
        assert {key: feed.shape for key, feed in case.feeds.items()} == {key: feed.shape for key, feed in made.items()}
        first = spec.inputs[0].name  # an image, of whole numbers
        assert np.array_equal(case.feeds[first], made[first])
        assert case.feeds[first].shape[-1] != case.feeds[first].shape[-2] or index == 0
        for key, feed in case.feeds.items():
            assert np.max(np.abs(feed - made[key])) <= 1.0  # a transform may round otherwise on another machine


def test_recording_twice_gives_the_same_file_and_seals_it(spec: EngineSpec) -> None:
    path = spec.folder / "cases" / "small.npz"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    record(spec, threads=1)

    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    verify(spec.folder)


def test_new_weights_need_new_cases(tmp_path: Path, spec: EngineSpec) -> None:
    changed = install(tmp_path, "small", network(weight=2.1))
    with OrtEngine(changed, threads=1) as engine:
        with pytest.raises(ParityFailed):
            require(engine)
        record(changed, threads=1)
        require(engine)


def test_an_engine_without_recorded_cases_is_missing_them(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="recorded cases of engine small cannot be read"):
        recorded_cases(install(tmp_path, "small", network()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        packed([]),
        packed([Case(name="a", feeds={"hu": np.zeros((1, 1, 64, 64), np.float32)}, expected={})]),
    ],
    ids=["empty", "garbage", "no case", "no answer"],
)
def test_sealed_cases_that_say_nothing_are_refused(spec: EngineSpec, content: bytes) -> None:
    (spec.folder / "cases" / "small.npz").write_bytes(content)
    seal(spec.folder, ["cases/small.npz"])

    with pytest.raises(BadSpec, match=r"Record them again: imaging-node engines record small"):
        recorded_cases(spec)


def test_pickled_cases_are_never_opened(spec: EngineSpec) -> None:
    np.savez(spec.folder / "cases" / "small.npz", **{"a/feeds/hu": np.array([{"x": 1}], dtype=object)})
    seal(spec.folder, ["cases/small.npz"])

    with pytest.raises(BadSpec):
        recorded_cases(spec)


def test_cases_outside_of_the_profile_are_refused(spec: EngineSpec) -> None:
    odd = np.zeros((1, 1, 10, 64), np.float32)
    (spec.folder / "cases" / "small.npz").write_bytes(
        packed([Case(name="a", feeds={"hu": odd}, expected={"made": odd})])
    )
    seal(spec.folder, ["cases/small.npz"])

    with pytest.raises(ShapeOutsideProfile):
        recorded_cases(spec)


def test_compare_gives_one_difference_for_each_output_of_each_case(engine: OrtEngine) -> None:
    found = compare(engine, recorded_cases(engine.spec))

    assert [(difference.case, difference.output, difference.worst) for difference in found] == [
        ("phantom-0", "made", 0.0),
        ("phantom-1", "made", 0.0),
    ]


def test_all_recorded_cases_are_small() -> None:
    assert sum(path.stat().st_size for path in (HERE / "cases").glob("*.npz")) < 200_000 * len(names())
