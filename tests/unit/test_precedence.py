"""Urgent work goes first in one process: all other work rests while there is any, and has its share all the same."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from engines.engine import Engine
from node import lane
from node.processing.precedence import EXPECTED_S, LONGEST_S, RESPITE_S, Precedence
from node.processing.turns import Turns
from pipelines.ct_denoise import CT_DENOISE
from pipelines.run import infer
from pipelines.volume import Volume


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def running(work: threading.Thread) -> Iterator[None]:
    work.start()
    yield
    work.join(10.0)
    assert not work.is_alive()


def test_nothing_urgent_holds_nobody(clock: Clock) -> None:
    precedence = Precedence(clock=clock)
    assert not precedence.holds
    assert precedence.give_way()


def test_other_work_rests_from_the_freezing_of_an_urgent_set_until_its_work_is_done(clock: Clock) -> None:
    precedence = Precedence(clock=clock)
    precedence.expect("set")
    assert precedence.holds, "it is on its way"
    with precedence.working("set"):
        clock.now += EXPECTED_S + 1
        assert precedence.holds
        assert precedence.give_way(), "urgent work itself does not wait"
        assert lane.is_urgent()
    assert not precedence.holds
    assert not lane.is_urgent()


def test_a_set_that_nobody_takes_up_holds_for_a_moment_only(clock: Clock) -> None:
    precedence = Precedence(clock=clock)
    precedence.expect("set")
    clock.now += EXPECTED_S - 1
    assert precedence.holds
    clock.now += 2
    assert not precedence.holds


def test_work_that_waits_for_a_server_holds_nobody(clock: Clock) -> None:
    precedence = Precedence(clock=clock)
    with precedence.working("one"):
        with precedence.aside():
            assert not precedence.holds
            with precedence.working("another"):
                assert precedence.holds
        assert precedence.holds
    with precedence.aside():
        assert not precedence.holds, "of other work it changes nothing"


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_however_urgent_cases_follow_each_other_other_work_has_its_share(clock: Clock, pause_s: float) -> None:
    precedence = Precedence(clock=clock)
    free, held, longest, stretch = 0.0, 0.0, 0.0, 0.0
    for number in range(3000):
        with precedence.working(str(number)):
            for _ in range(10):
                clock.now += 0.05
                if precedence.holds:
                    held, stretch = held + 0.05, stretch + 0.05
                else:
                    free, stretch = free + 0.05, 0.0
                longest = max(longest, stretch)
        if pause_s:
            clock.now += pause_s
            free, stretch = free + pause_s, 0.0

    assert longest <= LONGEST_S + 0.1
    assert free / (free + held) >= 0.95 * RESPITE_S / (LONGEST_S + RESPITE_S)
    assert held > free, "and the urgent cases are held up by nobody for most of the time"


def test_after_a_long_stretch_the_next_case_holds_again(clock: Clock) -> None:
    precedence = Precedence(clock=clock)
    with precedence.working("one"):
        clock.now += 10 * LONGEST_S
        assert not precedence.holds, "other work has its respite"
        clock.now += RESPITE_S - 0.1
        assert not precedence.holds
        clock.now += 0.2
        assert precedence.holds


def test_who_waits_is_let_go_when_the_urgent_work_ends_or_the_process_does() -> None:
    precedence, done = Precedence(), []
    first = threading.Thread(target=lambda: done.append(precedence.give_way()))
    with precedence.working("one"), running(first):
        time.sleep(0.05)
        assert done == []
        precedence.close()
    assert done == [False], "and knows that it must not go on"

    precedence, done = Precedence(), []
    second = threading.Thread(target=lambda: done.append(precedence.give_way()))
    with precedence.working("one"):
        second.start()
        time.sleep(0.05)
        assert done == []
    second.join(10.0)
    assert done == [True]


def test_an_urgent_series_passes_the_one_in_the_engine_and_waits_for_urgent_ones() -> None:
    precedence, order = Precedence(), []
    turns = Turns(precedence)

    def urgent(name: str) -> None:
        with precedence.working(name), turns.next():
            order.append(f"{name} in")
            time.sleep(0.05)
            order.append(f"{name} out")

    with turns.next():
        threads = [threading.Thread(target=urgent, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        order.append("routine out")

    assert order[-1] == "routine out"
    assert [order[0][0], order[1][0]] in (["a", "a"], ["b", "b"]), "one after the other"
    assert len(order) == 5


def test_work_ahead_rests_while_an_urgent_set_is_on_its_way() -> None:
    precedence = Precedence()
    turns = Turns(precedence)
    with precedence.working("one"), turns.spare() as mine:
        assert not mine
    with turns.spare() as mine:
        assert mine


class Twice:
    """An engine that doubles."""

    spec = None

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {CT_DENOISE.output: np.asarray(feeds[CT_DENOISE.feed] * np.float32(0.9))}


def test_a_series_rests_before_every_slice_that_is_made_and_comes_to_the_same() -> None:
    voxels = np.random.default_rng(3).normal(30.0, 20.0, (5, 32, 32)).astype(np.float32)
    volume = Volume(voxels=voxels, affine=np.diag([2.0, 0.7, 0.7, 1.0]), unit="HU", padding=None)
    engine: Engine = Twice()  # type: ignore[assignment]  of an engine the pipeline needs no more
    rests: list[int] = []
    plain = infer(CT_DENOISE, engine, volume, progress=lambda *_: None)
    rested = infer(
        CT_DENOISE,
        engine,
        volume,
        progress=lambda *_: None,
        known=lambda index: plain.voxels[index] if index == 2 else None,
        rest=lambda: rests.append(1),
    )

    assert len(rests) == 4, "what is known already needs no rest"
    assert np.array_equal(plain.voxels, rested.voxels)
