"""The pool: within its budget, never an engine away from who uses it, safe under threads."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engines.engine import EngineError, EngineFailed, EngineSpec, NoRoom, ParityFailed
from engines.ort import OrtEngine
from engines.parity import require
from engines.pool import EnginePool
from tests.small_engines import SPEC, install, network, recorded

MB = 1 << 20
IMAGE = np.ones((1, 1, 64, 64), np.float32)


class Counted(OrtEngine):
    """ONNX Runtime, saying what it holds (as a GPU engine does) and how often it came and went."""

    log: list[str]

    def __init__(self, spec: EngineSpec, log: list[str], sizes: Mapping[str, int]) -> None:
        super().__init__(spec, threads=1)
        self.log, self.memory_bytes = log, sizes[spec.name]

    def __enter__(self) -> Self:
        self.log.append(f"+{self.spec.name}")
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.append(f"-{self.spec.name}")
        super().__exit__(kind, error, trace)

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self.log.count(f"+{self.spec.name}") <= self.log.count(f"-{self.spec.name}"):
            raise AssertionError("run after it was unloaded")
        return super().infer(feeds)


@pytest.fixture
def specs(tmp_path: Path) -> dict[str, EngineSpec]:
    return {name: recorded(tmp_path, name, weight=float(i + 2)) for i, name in enumerate("abcd")}


def pool_of(log: list[str], budget_mb: int, *, wait_s: float = 5.0, **sizes_mb: int) -> EnginePool:
    sizes = {name: megabytes * MB for name, megabytes in sizes_mb.items()}
    return EnginePool(lambda spec: Counted(spec, log, sizes), budget=budget_mb * MB, ready=require, wait_s=wait_s)


def use(pool: EnginePool, spec: EngineSpec) -> NDArray[Any]:
    with pool.use(spec) as engine:
        made: NDArray[Any] = engine.infer({"hu": IMAGE})["made"]
        return made


def test_an_engine_is_loaded_once_and_given_to_all(specs: dict[str, EngineSpec]) -> None:
    log: list[str] = []
    pool = pool_of(log, 10, a=1, b=1)
    for name in "abab":
        use(pool, specs[name])

    assert log == ["+a", "+b"]
    pool.close()
    assert log == ["+a", "+b", "-a", "-b"]


def test_the_least_recently_used_goes_first_and_only_as_many_as_must(specs: dict[str, EngineSpec]) -> None:
    log: list[str] = []
    pool = pool_of(log, 10, a=4, b=4, c=4, d=2)
    for name in "abacd":
        use(pool, specs[name])

    assert "".join(log) == "+a+b+c-b+d"
    assert pool.loaded == {"a": 4 * MB, "c": 4 * MB, "d": 2 * MB}


def test_an_engine_in_use_is_waited_for_and_never_unloaded(specs: dict[str, EngineSpec]) -> None:
    log: list[str] = []
    pool = pool_of(log, 6, a=4, b=4)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.use(specs["a"]) as engine:
            inside.set()
            leave.wait(5.0)
            engine.infer({"hu": IMAGE})

    with ThreadPoolExecutor() as threads:
        holding = threads.submit(hold)
        assert inside.wait(5.0)
        waiting = threads.submit(use, pool, specs["b"])
        time.sleep(0.2)
        assert not waiting.done()
        assert "-a" not in log
        leave.set()
        holding.result()
        assert np.array_equal(waiting.result(), 3.0 * IMAGE)
    assert log.index("-a") > 0
    assert list(pool.loaded) == ["b"]


def test_waiting_ends_with_the_figures(specs: dict[str, EngineSpec]) -> None:
    pool = pool_of([], 6, wait_s=0.1, a=4, b=4)
    with (
        pool.use(specs["a"]),
        pytest.raises(NoRoom, match=r"b found no room within 0.1 s: a 4 MB in use of 6 MB. Raise engines.memory_mb"),
        pool.use(specs["b"]),
    ):
        pass


def test_an_engine_larger_than_the_budget_is_refused_and_leaves_nothing(specs: dict[str, EngineSpec]) -> None:
    log: list[str] = []
    pool = pool_of(log, 6, a=7, b=2)
    with pytest.raises(NoRoom, match=r"Engine a takes 7 MB; engines.memory_mb gives all engines together 6 MB"):
        use(pool, specs["a"])

    assert pool.loaded == {}
    assert log == ["+a", "-a"]
    use(pool, specs["b"])


def test_a_failed_load_is_the_callers_error_and_the_pool_goes_on(specs: dict[str, EngineSpec], tmp_path: Path) -> None:
    log: list[str] = []
    pool = pool_of(log, 10, a=1, b=1)
    (tmp_path / "weights" / "a.onnx").write_bytes(b"x")
    for _ in range(2):
        with pytest.raises(EngineError, match="sha256"):
            use(pool, specs["a"])

    use(pool, specs["b"])
    assert list(pool.loaded) == ["b"]


def test_an_engine_that_misses_its_recorded_cases_is_given_to_nobody(
    specs: dict[str, EngineSpec], tmp_path: Path
) -> None:
    wrong = install(tmp_path, "a", network(weight=2.5))
    log: list[str] = []
    pool = pool_of(log, 10, a=1)

    with pytest.raises(ParityFailed, match=r"phantom-0, made: .* \(at most 0.01\)"):
        use(pool, wrong)
    assert log == ["+a", "-a"]
    assert pool.loaded == {}


def test_many_threads_get_right_answers_within_the_budget(specs: dict[str, EngineSpec]) -> None:
    log: list[str] = []
    pool = pool_of(log, 8, wait_s=30.0, a=3, b=3, c=3, d=5)
    most = 0
    lock = threading.Lock()

    def work(seed: int) -> None:
        nonlocal most
        generator = np.random.default_rng(seed)
        for index in generator.integers(0, 4, 12):
            made = use(pool, specs["abcd"[index]])
            assert np.array_equal(made, (index + 2.0) * IMAGE)
            with lock:
                most = max(most, sum(pool.loaded.values()))

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, seed) for seed in range(8)]:
            done.result()
    pool.close()

    assert most <= 8 * MB
    assert sorted(line[1:] for line in log if line[0] == "+") == sorted(line[1:] for line in log if line[0] == "-")


def test_what_an_engine_holds_is_measured_with_what_a_batch_needs(tmp_path: Path) -> None:
    """A kilobyte of weights and 256 channels: a batch of 64 x 256 pixels needs 16 MB for each layer."""
    taps = numpy_helper.from_array(np.ones((256, 1, 1, 1), np.float32), "taps")
    back = numpy_helper.from_array(np.ones((1, 256, 1, 1), np.float32), "back")
    model = network(
        [
            helper.make_node("Conv", ["hu", "taps"], ["wide"]),
            helper.make_node("Sin", ["wide"], ["waves"]),
            helper.make_node("Conv", ["waves", "back"], ["made"]),
        ]
    )
    model.graph.initializer.extend([taps, back])
    spec = install(tmp_path, "wide", model, spec=SPEC.replace("x = [16, 64, 256]", "x = [16, 256, 256]"))
    pool = EnginePool(lambda spec: OrtEngine(spec, threads=1), budget=1 << 30)
    with pool.use(spec):
        pass

    assert 16 * MB <= pool.loaded["wide"] <= 200 * MB
    pool.close()


def test_a_failure_while_running_leaves_the_engine_to_the_next(specs: dict[str, EngineSpec]) -> None:
    pool = pool_of([], 10, a=1)
    with pytest.raises(EngineFailed), pool.use(specs["a"]):
        raise EngineFailed("gone")
    use(pool, specs["a"])
    assert list(pool.loaded) == ["a"]
