"""`imaging-node simulate-worklist`: from options and files to tables and pictures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from node.__main__ import app
from node.commands import simulate
from node.errors import BadSetting
from node.simulation.characteristic import find, from_file, measured

SMALL = ["--cases", "300", "--replications", "2", "--readers", "1,2", "--utilisation", "0.5,0.8"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    to = tmp_path_factory.mktemp("queue")
    done = CliRunner().invoke(app, ["simulate-worklist", *SMALL, "--auc", "0.85", "--to", str(to), "--json"])
    assert done.exit_code == 0, done.output
    return to, json.loads(done.stdout)


def scores_file(folder: Path, *, under: str | None = None, **changed: object) -> Path:
    normal = [round(float(v), 4) for v in np.linspace(0, 1, 101)]
    scores = {"normal": normal, "abnormal": [0.8] * 15 + [0.3] * 15, "threshold": 0.75, **changed}
    path = folder / "scores.json"
    path.write_text(json.dumps({under: scores} if under else scores))
    return path


def test_every_department_and_rule_is_in_the_tables(written: tuple[Path, dict[str, object]]) -> None:
    to, found = written
    rows = list(csv.DictReader((to / "queue.csv").read_text().splitlines()))
    everything = json.loads((to / "queue.json").read_text())

    assert found["files"] == ["queue.md", "queue.csv", "queue.json", "queue_any_hour.png", "queue_over_a_day.png"]
    for part in ("any hour alike", "over a day"):
        seen = {(r["readers"], r["utilisation"], r["rule"]) for r in rows if r["part"] == part}
        assert len(seen) == 2 * 2 * 5
    assert len(everything["cells"]) * 8 == len(rows)
    assert {row["name"] for row in everything["acceptance"]} == {row["name"] for row in found["acceptance"]}  # type: ignore[attr-defined]


def test_pictures_show_every_number_of_readers(written: tuple[Path, dict[str, object]]) -> None:
    with Image.open(written[0] / "queue_any_hour.png") as picture:
        assert picture.size == (1568, 96 + 2 * 306)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    assert any(abs(r) < 12 and abs(g - 114) < 12 and abs(b - 178) < 12 for r, g, b in colours), "the line of the rule"


def test_the_same_seed_writes_the_same_bytes(written: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate-worklist", *SMALL, "--auc", "0.85", "--to", str(tmp_path)])

    assert done.exit_code == 0
    for path in written[0].iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_line_that_is_missed_is_called_missed() -> None:
    options = ["--auc", "0.5", "--emergencies", "0.3"]
    done = CliRunner().invoke(app, ["simulate-worklist", *SMALL, *options, "--json"])
    lines = json.loads(done.stdout)["acceptance"]

    assert next(line["met"] for line in lines) is False
    text = CliRunner().invoke(app, ["simulate-worklist", *SMALL, *options]).output
    assert "missed" in text
    assert "assumption" in text


def test_a_score_without_information_helps_nobody_and_is_not_called_measured(
    written: tuple[Path, dict[str, object]],
) -> None:
    assert written[1]["measured"] is False


@pytest.mark.parametrize("options", [["--failed", "1"], ["--emergencies", "0.001"], ["--service-sigma", "0"]])
def test_a_department_without_such_studies_meets_nothing(options: list[str], tmp_path: Path) -> None:
    """What nobody can measure is not called met, and stops nothing."""
    run = ["simulate-worklist", "--cases", "100", "--replications", "2", "--readers", "1", "--utilisation", "0.5"]
    # Not the card's scores: whether a hundred cases hold a missed emergency must not hang on the network of the day.
    done = CliRunner().invoke(app, [*run, *options, "--auc", "0.85", "--to", str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert ("unknown" in done.output) is (options[0] != "--service-sigma")
    for line in json.loads((tmp_path / "queue.json").read_text())["acceptance"]:
        assert line["value"] is not None or not line["met"]


@pytest.mark.parametrize("under", [None, "scores"])
def test_scores_come_from_a_file_or_a_card(tmp_path: Path, under: str | None) -> None:
    found = from_file(scores_file(tmp_path, under=under))

    assert found.sensitivity == 0.5
    assert found.specificity == pytest.approx(1 - 26 / 101)
    assert found.emergencies[0] == pytest.approx(0.8, abs=0.01)
    assert found.auc == pytest.approx(0.55, abs=0.01)


def test_percentiles_are_those_of_the_table_where_one_is_given(tmp_path: Path) -> None:
    found = from_file(scores_file(tmp_path, percentiles=[0.0, 0.8, 0.9]))

    assert found.emergencies[0] == pytest.approx(0.5)
    assert found.others.max() == 1.0


def test_the_card_counts_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    card = scores_file(tmp_path, under="scores")
    _, known = simulate.characteristic_of(auc=None, scores=None, false_alarms=None, card=card)
    other, formula = simulate.characteristic_of(auc=0.9, scores=None, false_alarms=None, card=card)
    _, missing = simulate.characteristic_of(auc=None, scores=None, false_alarms=None, card=tmp_path / "none.json")

    assert (known, formula, missing) == (True, False, False)
    assert other.auc == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("data", [{}, {"figures": {}}, {"figures": None}, [1], {"normal": [1]}])
def test_a_file_without_scores_has_none(data: object) -> None:
    assert find(data) is None


@pytest.mark.parametrize(
    "changed",
    [{"abnormal": [0.1] * 19}, {"normal": [float("nan")] * 30}, {"threshold": "high"}, {"percentiles": [1.0, 0.0]}],
)
def test_scores_that_cannot_be_used_are_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(BadSetting):
        from_file(scores_file(tmp_path, **changed))


def test_scores_beside_an_auc_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="one of them"):
        simulate.characteristic_of(auc=0.9, scores=scores_file(tmp_path), false_alarms=None)
    with pytest.raises(BadSetting, match="threshold of their own"):
        simulate.characteristic_of(auc=None, scores=scores_file(tmp_path), false_alarms=0.1)


@pytest.mark.parametrize("text", ["1 2 3", "1 " * 23 + "-1", "0 " * 24, "x " * 24, "nan " * 24, ""])
def test_hours_that_are_no_day_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "day").write_text(text)
    with pytest.raises(BadSetting, match="24"):
        simulate.day_of(tmp_path / "day")


def test_hours_of_a_site_are_read_in_any_writing(tmp_path: Path) -> None:
    (tmp_path / "day").write_text(json.dumps(list(range(24))))
    assert simulate.day_of(tmp_path / "day") == tuple(range(24))
    (tmp_path / "day").write_text("\n".join(map(str, range(24))))
    assert simulate.day_of(tmp_path / "day") == tuple(range(24))


@pytest.mark.parametrize(
    "option", [["--readers", "0"], ["--readers", "a"], ["--readers", "1,1.5"], ["--utilisation", "1.0"]]
)
def test_options_that_make_no_queue_are_refused(option: list[str]) -> None:
    done = CliRunner().invoke(app, ["simulate-worklist", *SMALL, *option])
    assert isinstance(done.exception, BadSetting)


def test_ties_with_normals_count_half() -> None:
    found = measured("x", normal=[0.5] * 20, abnormal=[0.5] * 20, threshold=0.6)
    assert found.auc == 0.5
    assert found.emergencies[0] == 0.5
