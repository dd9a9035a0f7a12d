"""The dashboards: valid, made by the code beside them, and about metrics that exist; every metric is somewhere."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as grafana

from deploy.grafana.build import boards as build
from deploy.grafana.build.colours import COLOURS, ORANGE, VERMILION
from deploy.grafana.build.panels import SOURCE
from tests import dashboards
from tests.dashboards import ROOT, boards, filled, names_in, panels, queries

GRAFANA = ROOT / "deploy" / "grafana"
BOARDS = boards()
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
EVERY_PANEL = [pytest.param(panel, id=f"{name}-{panel['id']}") for name, one in BOARDS.items() for panel in panels(one)]


def test_the_committed_files_are_what_the_code_makes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in dashboards.FOLDER.iterdir()}

    assert build.files() == committed, "Run `python -m deploy.grafana.build`."
    assert len(committed) == 6


def unknown_to_grafana(board: dict[str, Any]) -> list[str]:
    """What the types that the SDK made from Grafana's schema have no place for: they lose it when they read it."""
    register_default_plugins()
    return list(lost(board, json.loads(json.dumps(grafana.Dashboard.from_json(board), cls=JSONEncoder))))


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{place}.{key}") if key in after else [f"{place}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{at}]")
    elif before != after:
        yield place


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_nothing_that_the_schema_of_grafana_does_not_know(name: str) -> None:
    assert unknown_to_grafana(BOARDS[name]) == []


def test_what_the_schema_does_not_know_is_found() -> None:
    spoilt = json.loads(json.dumps(BOARDS["at-a-glance.json"]))
    spoilt["panels"][0]["options"]["colour"] = "red"
    spoilt["panels"][1]["targets"][0]["expression"] = "up"

    assert unknown_to_grafana(spoilt) == [".panels[0].options.colour", ".panels[1].targets[0].expression"]


def test_dashboards_and_panels_have_names_of_their_own() -> None:
    uids = [board["uid"] for board in BOARDS.values()]
    titles = [board["title"] for board in BOARDS.values()]

    assert len(set(uids)) == len(uids)
    assert len(set(titles)) == len(titles)
    assert all(len(uid) <= 40 for uid in uids)  # longer ones Grafana refuses
    for board in BOARDS.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        assert not board["editable"]


@pytest.mark.parametrize("panel", EVERY_PANEL)
def test_a_panel_says_what_it_is_in_which_unit_and_what_is_good(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]

    assert panel["title"]
    assert len(panel["description"]) > 20
    assert re.search(r"Good: |Below 50", panel["description"])
    assert defaults["unit"]
    assert defaults["noValue"], "an empty panel must say what that means"
    assert panel["datasource"] == {"type": "prometheus", "uid": SOURCE.uid}
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": SOURCE.uid}
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)


@pytest.mark.parametrize("name", BOARDS)
def test_panels_fill_the_grid_without_covering_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        fields = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not fields & taken, panel["title"]
        taken |= fields

    assert len(taken) == 24 * (1 + max(y for _, y in taken)), "there is a hole"


def test_only_what_wants_a_look_is_orange_or_vermilion() -> None:
    alarming = {name for some in COLOURS.values() for name, colour in some.items() if colour in (ORANGE, VERMILION)}

    assert alarming == {"caution", "reject"}


def test_the_glance_is_one_screen() -> None:
    board = BOARDS["at-a-glance.json"]

    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) <= 24  # 1080 lines
    assert len(board["panels"]) <= 15


def test_names_are_found_in_expressions() -> None:
    expression = (
        'histogram_quantile(0.95, sum by (le, stage) (rate(a_bucket{b="c(d)", e=~"f|g"}[5m]))) '
        "/ on (h) group_left (i) max(j:k:l offset 5m) and ignoring (m) n > bool 2e3 or vector(0)"
    )

    assert names_in(expression) == {"a_bucket", "j:k:l", "n"}


def test_queries_ask_for_metrics_that_exist(tmp_path: Path) -> None:
    known = dashboards.names_of(dashboards.metrics_of_the_node(tmp_path))
    known |= dashboards.OF_PROMETHEUS | {rule["record"] for rule in dashboards.rules() if "record" in rule}
    for query in queries():
        allowed = dashboards.OF_GPU if query.place.startswith("gpu.json") else known
        assert names_in(query.expression)
        assert names_in(query.expression) <= allowed, query.place


def test_every_metric_is_in_a_panel_or_a_rule(tmp_path: Path) -> None:
    metrics = dashboards.metrics_of_the_node(tmp_path)
    asked = {name for query in queries() for name in names_in(query.expression)}
    asked |= {name for rule in dashboards.rules() for name in names_in(rule["expr"])}
    nowhere = [name for name, kind in metrics.items() if not asked & dashboards.names_of({name: kind})]

    assert len(metrics) > 50
    assert nowhere == []


@pytest.mark.skipif(which("promtool") is None, reason="not installed: promtool")
def test_every_query_parses(tmp_path: Path) -> None:
    def checked(*expressions: str) -> subprocess.CompletedProcess[str]:
        found = [{"record": f"query:{at}", "expr": expression} for at, expression in enumerate(expressions)]
        file = tmp_path / "queries.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": found}]}), encoding="utf-8")
        return subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)

    done = checked(*(filled(query.expression) for query in queries()))

    assert done.returncode == 0, done.stdout + done.stderr
    assert checked("sum by (a (b)").returncode != 0


def test_variables_and_links_lead_somewhere() -> None:
    for name, board in BOARDS.items():
        variables = {one["name"] for one in board["templating"]["list"]}
        text = json.dumps([board["panels"], board["links"]])
        used = set(re.findall(r"\$\{?(instance|pipeline|runbook)\b", text))
        assert used == variables, name


@pytest.mark.skipif(not RUNBOOK.exists(), reason="deploy/RUNBOOK.md is not there")
def test_alerts_that_descriptions_name_are_in_the_run_book() -> None:
    sections = set(re.findall(r"^## (\w+)", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
    text = json.dumps([board["panels"] for board in BOARDS.values()])
    named = set(re.findall(r"ImagingNode[A-Z][A-Za-z]+", text))

    assert named
    assert named <= sections


def test_grafana_finds_the_data_source_that_panels_name() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/imaging-node.yml").read_text())["providers"]

    assert (source["uid"], source["type"]) == (SOURCE.uid, SOURCE.type_val)
    assert not source["editable"]
    assert provider["disableDeletion"]
    assert not provider["allowUiUpdates"]
