"""Triage is up only while a living worker says so: whoever orders a worklist by scores asks here first."""

import time
from pathlib import Path

import pytest

from node import signs
from node.settings import Settings, parse
from node.worklist.standing import FACT, PART, triage_is_up
from tests.running_node import settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "state").mkdir()
    return parse(settings_for(tmp_path), source="the test")


def test_a_living_worker_that_says_so_is_believed(settings: Settings) -> None:
    assert not triage_is_up(settings), "no worker ever"
    signs.beat(settings.node.state, PART, **{FACT: 1})
    assert triage_is_up(settings)
    assert not triage_is_up(settings, time.time() + 60.0), "silent for a minute"
    assert not triage_is_up(settings, time.time() - 60.0), "a clock that was set back proves nothing"


@pytest.mark.parametrize("said", [{FACT: 0}, {}, {"engines_off": 1}])
def test_a_worker_that_does_not_say_so_is_not(settings: Settings, said: dict[str, int]) -> None:
    signs.beat(settings.node.state, PART, **said)
    assert not triage_is_up(settings)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"at": "x", "pid": 1}', '{"at": 0}'])
def test_a_broken_file_is_no_sign_of_life(settings: Settings, text: str) -> None:
    (settings.node.state / f"{PART}.alive").write_text(text, encoding="utf-8")
    assert not triage_is_up(settings)


def test_a_worker_whose_process_is_gone_is_not_up(settings: Settings) -> None:
    (settings.node.state / f"{PART}.alive").write_text(
        f'{{"at": {time.time()}, "pid": {1 << 30}, "{FACT}": 1}}', encoding="utf-8"
    )
    assert not triage_is_up(settings)
