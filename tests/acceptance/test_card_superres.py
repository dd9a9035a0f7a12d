"""The card of mra_superres tells of the committed weights: a scan's figures come again. numpy only."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.slabs import averaged, tof_unit
from engines.store import load_spec
from engines.training import evaluate_superres_scans as scans
from engines.training.sources import DATA

CARDS = Path(__file__).parents[2] / "engines" / "cards"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data, which is not here")


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CARDS / "mra_superres.json").read_text(encoding="utf-8"))
    return found


def test_the_card_was_measured_with_the_weights_that_ship(card: dict[str, Any]) -> None:
    spec = load_spec("mra_superres")

    assert (card["engine"]["version"], card["engine"]["sha256"]) == (spec.version, spec.sha256)


def test_the_card_says_how_wide_the_result_is_and_promises_no_resolution(card: dict[str, Any]) -> None:
    text = (CARDS / "mra_superres.md").read_text(encoding="utf-8")

    assert f"{card['figures']['probes']['network']['wires']['mean']:.1f} mm" in text
    assert "1 mm resolution" not in text.lower()
    assert "DEMONSTRATION WEIGHTS" in text


def test_a_missed_line_is_marked_as_missed(card: dict[str, Any]) -> None:
    text = (CARDS / "mra_superres.md").read_text(encoding="utf-8")

    for line in card["acceptance"]:
        row = next(row for row in text.splitlines() if row.startswith(f"| {line['name']} |"))
        assert ("**missed**" in row) is not line["passed"]


@needs_data
def test_the_judging_files_are_those_that_the_card_lists(card: dict[str, Any]) -> None:
    for item in card["items"]:
        assert hashlib.sha256((DATA / item["path"]).read_bytes()).hexdigest() == item["sha256"]


@needs_data
def test_a_scans_error_comes_again_and_its_averages_are_the_slices(card: dict[str, Any]) -> None:
    wanted = card["figures"]["scans"][2]
    (task,) = [one for one in scans.tasks_of(DATA) if one.seed == wanted["seed"]]
    scan = task.made()
    unit = np.float32(tof_unit(scan.thick))
    thick, truth = scan.thick / unit, scan.thin / unit
    scans.start(load_spec("mra_superres"))
    try:
        made = scans.results(thick, scan.acquisition, task.factor, ("cubic", "network"))
    finally:
        scans._engine.pop().__exit__(None, None, None)

    for name, volume in made.items():
        squared = np.square((volume - truth)[scan.brain], dtype=np.float64).mean()
        assert -10.0 * np.log10(squared) == pytest.approx(wanted[name], abs=0.02)
    assert np.abs(averaged(made["network"], task.factor) - thick).max() < 1e-5
