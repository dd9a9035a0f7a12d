"""The committed cards tell of the committed weights: their figures come again on a few slices. numpy only."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.ort import OrtEngine
from engines.store import load_spec
from engines.training import evaluate_denoise, evaluate_kernel
from engines.training.measures import rmse
from engines.training.sources import BODY, SOURCES, Role
from engines.training.testset import QUARTER, Truth, listed, make_item, slices_of

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data, which is not here")
ENGINES = ("ct_denoise", "ct_kernel")
AGAIN = BODY + "A058062"  # two slices of a patient held back whole


def card(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "engines" / "cards" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ENGINES)
def test_the_card_was_measured_with_the_weights_that_ship(name: str) -> None:
    spec = load_spec(name)

    assert card(name)["engine"] == {
        "name": name,
        "version": spec.version,
        "sha256": spec.sha256,
        "validation_level": spec.validation_level.value,
    }


@pytest.mark.parametrize("name", ENGINES)
def test_every_line_of_acceptance_has_a_value_and_a_verdict_that_fits_it(name: str) -> None:
    lines = card(name)["acceptance"]

    assert len(lines) >= 20
    for line in lines:
        assert line["n"] >= 10
        numbers = [float(word) for word in line["wanted"].replace("to", " ").split() if word[-1].isdigit()]
        inside = {
            "<=": lambda value, limits: value <= limits[0] + 1e-4,
            ">=": lambda value, limits: value >= limits[0] - 1e-4,
            ">": lambda value, limits: value > limits[0],
        }.get(line["wanted"].split()[0], lambda value, limits: limits[0] - 1e-4 <= value <= limits[1] + 1e-4)
        if line["passed"]:
            assert inside(line["value"], numbers), line


@needs_data
@pytest.mark.parametrize("name", ENGINES)
def test_the_judging_items_are_the_files_that_the_card_lists(name: str) -> None:
    assert card(name)["items"] == listed(DATA)
    first = DATA / card(name)["items"][0]["path"]
    assert hashlib.sha256(first.read_bytes()).hexdigest() == card(name)["items"][0]["sha256"][0]


@pytest.fixture
def opened() -> Any:
    """Open an engine as the evaluation does, and close it."""
    loaded: list[OrtEngine] = []

    def open_for(module: Any, start: Callable[[], None]) -> None:
        start()
        loaded.append(module._engine[-1])

    yield open_for
    for engine in loaded:
        engine.__exit__(None, None, None)
    evaluate_denoise._engine.clear()
    evaluate_kernel._engine.clear()


@needs_data
def test_the_denoise_networks_error_on_a_patient_held_back_comes_again(opened: Any) -> None:
    opened(evaluate_denoise, lambda: evaluate_denoise.open_engine(load_spec("ct_denoise")))
    source = next(s for s in SOURCES if s.path == AGAIN and s.role is Role.HELD_BACK)
    wanted = card("ct_denoise")["figures"]["cleaned"]["rmse_by_source"][source.name]

    found: dict[str, list[float]] = {"network": [], "identity": []}
    for one, index, clean in slices_of(Role.HELD_BACK, Truth.CLEANED, DATA, among=(source,)):
        item = make_item(one, index, Truth.CLEANED, clean)
        noisy = item.noisy(QUARTER)
        found["identity"].append(rmse(noisy, item.clean, item.inside))
        found["network"].append(rmse(evaluate_denoise.network(noisy, item.quarter_hu), item.clean, item.inside))

    for method, values in found.items():
        assert np.mean(values) == pytest.approx(wanted[method], abs=0.03), method


@needs_data
def test_the_kernel_networks_error_on_the_real_pair_comes_again(opened: Any) -> None:
    opened(evaluate_kernel, lambda: evaluate_kernel.start(load_spec("ct_kernel"), {}))

    found = evaluate_kernel.real_pair(DATA)

    wanted = card("ct_kernel")["figures"]["real_pair"]
    for direction in evaluate_kernel.DIRECTIONS:
        for method in ("identity", "blind_filter", "network"):
            ours, theirs = (one[direction][method]["rmse_body"]["mean"] for one in (found, wanted))
            assert ours == pytest.approx(theirs, abs=0.05), (direction, method)
