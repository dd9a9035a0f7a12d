"""`imaging-node evaluate`: what a line of acceptance says, and what is said when something is missing."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.training import card
from engines.training.evaluate_kernel import UB, YA
from engines.training.evaluation import CannotEvaluate, Line, evaluate
from node.__main__ import app
from node.commands.evaluate import evaluate as run_evaluate
from node.errors import BadSetting
from pipelines.kernels import SHIPPED_KERNELS

CARDS = Path(__file__).parents[2] / "engines" / "cards"
LABEL = (
    "DEMONSTRATION WEIGHTS. Trained on physics-based simulation and a small number of public images. Not clinically "
    "validated, not a medical device, not for diagnosis or for replacing an acquisition. Original images must be read."
)
LARGEST_PICTURE = 150_000  # bytes
HAS_EXTRA = all(importlib.util.find_spec(name) for name in ("scipy", "skimage", "matplotlib"))


@pytest.mark.parametrize(
    ("line", "passed", "wanted"),
    [
        (Line(name="a", value=0.8, n=40, most=0.8), True, "<= 0.8"),
        (Line(name="a", value=0.81, n=40, most=0.8), False, "<= 0.8"),
        (Line(name="a", value=-1.1, n=40, least=-1.0, most=1.0), False, "-1 to 1"),
        (Line(name="a", value=0.0, n=40, least=0.0, strictly=True), False, "> 0"),
        (Line(name="a", value=0.1, n=40, least=0.0, strictly=True), True, "> 0"),
        (Line(name="a", value=float("nan"), n=40, most=0.8), False, "<= 0.8"),
    ],
)
def test_a_line_is_met_when_its_value_is_where_it_is_wanted(line: Line, passed: bool, wanted: str) -> None:
    assert line.passed is passed
    assert line.as_json()["wanted"] == wanted
    assert set(line.as_json()) == {"name", "value", "low", "high", "n", "wanted", "passed"}


def test_an_unknown_pipeline_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(CannotEvaluate, match="ct-denoise, ct-kernel"):
        evaluate("ct-unknown")


@pytest.mark.skipif(HAS_EXTRA, reason="the extra `train` is installed here")
def test_a_missing_extra_is_named_with_how_to_install_it() -> None:
    with pytest.raises(BadSetting, match=r"scikit-image.*pip install '\.\[train\]'"):
        run_evaluate("ct-denoise", data=None, to=None)


@pytest.mark.skipif(not HAS_EXTRA, reason="needs the extra `train`")
def test_missing_data_is_named_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"no folder ct and no folder dicom.*--data"):
        run_evaluate("ct-denoise", data=tmp_path, to=None)


def test_the_command_ends_with_a_message_when_it_cannot_evaluate(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["evaluate", "ct-denoise", "--data", str(tmp_path), "--json"])

    assert isinstance(ended.exception, BadSetting)


def test_the_kernels_of_the_real_pair_are_those_of_the_pipeline() -> None:
    known = {name: entry.curve for entry in SHIPPED_KERNELS for name in entry.names}

    assert known["UB"] == UB
    assert known["YA"] == YA


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.md")), ids=lambda path: path.stem)
def test_every_card_has_the_label_and_a_level_and_the_figures_that_were_measured(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))

    assert LABEL in " ".join(text.replace(">", "").replace("*", "").split())
    assert f'`validation_level = "{found["engine"]["validation_level"]}"`' in text
    assert card.written(text, found) == text, "run python -m engines.training.card"


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.png")), ids=lambda path: path.name)
def test_every_picture_is_small_and_shown_by_a_card(path: Path) -> None:
    assert path.stat().st_size < LARGEST_PICTURE
    assert any(f"({path.name})" in card.read_text(encoding="utf-8") for card in CARDS.glob("*.md"))
