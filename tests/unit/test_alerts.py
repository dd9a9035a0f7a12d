"""The rules for Prometheus and Alertmanager: valid, tried one by one, complete, and about metrics that the node has."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from node.app import METRICS_FOLDER
from node.records.database import migrate
from tests import scaled_rules
from tests.peers import which_or_skip

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROMETHEUS: Final = DEPLOY / "prometheus"
RULE_FILES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
SETTINGS: Final = DEPLOY / "alertmanager" / "alertmanager.yml"
_METRIC: Final = re.compile(r"imaging_node_\w+")
_SUFFIX: Final = re.compile(r"_(?:bucket|count|sum)$")
NAMES: Final = (
    "Down", "NotReady", "Restarting", "DestinationDown", "DeliveryLate", "DeadLetters", "CommitmentFailed",
    "DiskLow", "DiskFilling", "SpoolFailed", "SendersRefused", "StoreFailing", "Quarantined", "GuardRejecting",
    "JobsHeld", "JobsFailed", "EngineMissing", "EngineAway", "QueueStuck", "TurnaroundSlow", "RegistrationPoor",
    "TriageLate", "NoticeNotAcknowledged", "TriageDrift", "TriageWithdrawn", "CertificateExpires",
    "NothingReceived", "BackupOld",
)  # fmt: skip


def rules() -> Iterator[dict[str, Any]]:
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


ALERTS: Final = [rule for rule in rules() if "alert" in rule]


def run(tool: str, *arguments: str | Path) -> str:
    """What a tool says of files; it has to be content."""
    done = subprocess.run(
        [which_or_skip(tool), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_rules_and_settings() -> None:
    said = run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")

    assert f"SUCCESS: {len(RULE_FILES)} rule files found" in said
    assert f"SUCCESS: {len(ALERTS)} rules found" in said


@pytest.mark.parametrize("folder", [PROMETHEUS, DEPLOY / "containers"], ids=["bare", "composed"])
def test_settings_find_whom_to_ask(folder: Path) -> None:
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    asked = [*settings["scrape_configs"], *settings["alerting"]["alertmanagers"]]
    patterns = {pattern for one in asked for found in one.get("file_sd_configs", []) for pattern in found["files"]}

    assert patterns == {f"targets/{name}*.yml" for name in ("imaging-node", "alertmanager", "dcgm-exporter")}
    assert [pattern for pattern in patterns if not list(folder.glob(pattern))] == []


def test_amtool_takes_the_settings_and_tells_a_page_from_a_ticket() -> None:
    run("amtool", "check-config", SETTINGS)
    for severity, receiver in (("page", "on-call"), ("ticket", "ticket")):
        assert run(
            "amtool", "config", "routes", "test", f"--config.file={SETTINGS}", f"severity={severity}"
        ).split() == [receiver]


def test_no_secret_stands_in_the_settings() -> None:
    text = SETTINGS.read_text(encoding="utf-8")

    assert re.findall(r"^\s*\w*(?:password|secret|token|key)\w*:", text, re.MULTILINE) == ["  smtp_auth_password_file:"]


@pytest.mark.parametrize("path", TEST_FILES, ids=[path.stem for path in TEST_FILES])
def test_each_alert_fires_at_its_time_and_alone(path: Path) -> None:
    run("promtool", "test", "rules", path)


def test_promtool_sees_an_alert_that_is_late_or_not_alone(tmp_path: Path) -> None:
    """The negative control of the tests above: another threshold, and another alert beside the first."""
    tests = (PROMETHEUS / "tests" / "triage.yml").read_text(encoding="utf-8")
    alerts = (PROMETHEUS / "rules" / "alerts.yml").read_text(encoding="utf-8")
    late = alerts.replace("triage_oldest_waiting_seconds > 300", "triage_oldest_waiting_seconds > 360")
    beside = alerts.replace("imaging_node_spool_failed == 1", "imaging_node_triage_oldest_waiting_seconds > 300")
    for changed in (late, beside):
        assert changed != alerts
        for folder in ("rules", "tests"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for file in RULE_FILES:
            (tmp_path / "rules" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "rules" / "alerts.yml").write_text(changed, encoding="utf-8")
        (tmp_path / "tests" / "triage.yml").write_text(tests, encoding="utf-8")
        with pytest.raises(AssertionError, match=r"ImagingNode(TriageLate|SpoolFailed)"):
            run("promtool", "test", "rules", tmp_path / "tests" / "triage.yml")


def test_every_alert_has_a_test_that_fires_it_and_one_that_does_not() -> None:
    tests = [test for path in TEST_FILES for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
    names = [test["name"] for test in tests]
    asked = {line["expr"] for test in tests for line in test["promql_expr_test"]}

    assert len(set(names)) == len(names)
    for name in (f"ImagingNode{one}" for one in NAMES):
        assert any(one.startswith(f"{name} fires ") for one in names), name
        assert any(one.startswith(f"{name} stays quiet ") for one in names), name
    assert asked == {'count by (alertname, severity) (ALERTS{alertstate="firing"})'}, "all that fires, nothing less"
    for test in tests:
        alert, word = test["name"].split()[:2]
        fired = {label for line in test["promql_expr_test"] for one in line["exp_samples"] for label in [one["labels"]]}
        first = test["promql_expr_test"][0]["exp_samples"]
        if word == "fires":
            assert not first, f"{test['name']}: not before its time"
            assert any(f'"{alert}"' in label for label in fired)


def test_alerts_are_those_of_the_run_book_with_all_that_somebody_needs() -> None:
    assert {rule["alert"] for rule in ALERTS} == {f"ImagingNode{name}" for name in NAMES}
    for rule in ALERTS:
        notes = rule["annotations"]
        assert set(rule["labels"]) == {"severity"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(notes) == {"summary", "description", "runbook_url"}
        assert notes["runbook_url"] == f"RUNBOOK.md#{rule['alert'].lower()}"
        assert "{{" in notes["summary"], "which node"
        assert "\n" not in notes["description"]


@pytest.mark.skipif(not (DEPLOY / "RUNBOOK.md").exists(), reason="the run book is not there")
def test_every_alert_has_its_section_in_the_run_book() -> None:
    sections = re.findall(r"^## (\S+)$", (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert [rule["alert"] for rule in ALERTS if rule["alert"] not in sections] == []


def test_labels_that_texts_name_are_those_that_the_alert_has() -> None:
    """A text that asks for a label that a sum has dropped would say nothing."""
    for rule in ALERTS:
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))) - {"instance"}
        optional = set(re.findall(r"\{\{ with \$labels\.(\w+) \}\}", " ".join(rule["annotations"].values())))
        summed = re.match(r"[\s(]*sum by \(([^)]*)\)", rule["expr"])
        if summed is not None:
            assert named - optional <= set(re.split(r",\s*", summed[1])), rule["alert"]


def exposed(tmp_path: Path) -> set[str]:
    """Every name on the page of a node, without its prefix. In a process of its own: one that counts for a folder."""
    migrate(tmp_path)
    script = """
import sys
from contextlib import closing
from pathlib import Path
from node.metrics import METRICS, exposition
from node.page.levels import Levels, Site
from node.records.database import Records
from node.spool import Spool
state = Path(sys.argv[1])
spool = Spool(state, reserve_bytes=0)
spool.prepare()
for metric in vars(METRICS).values():
    labels = dict.fromkeys(metric._labelnames, "x")
    child = metric.labels(**labels) if labels else metric
site = Site(pipelines=["p"], triages=["p"], destinations=["d"], parts=["worker"])
with closing(Records(state)) as records:
    print(exposition(state / "metrics", Levels(records, spool, state, site).read()).decode())
"""
    (tmp_path / "metrics").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, METRICS_FOLDER: str(tmp_path / "metrics")},
    )
    return set(re.findall(r"^# TYPE (\S+)", done.stdout, re.MULTILINE))


def test_every_metric_in_a_rule_is_on_the_page_of_the_node(tmp_path: Path) -> None:
    names = exposed(tmp_path)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = set()
    for rule in rules():
        text = rule["expr"]
        for name in sorted(recorded, key=len, reverse=True):
            text = text.replace(name, "")
        asked |= set(_METRIC.findall(text))

    assert len(asked) > 25
    assert sorted(name for name in asked if name not in names and _SUFFIX.sub("", name) not in names) == []


def test_recorded_names_say_their_level() -> None:
    recorded = [rule["record"] for rule in rules() if "record" in rule and rule["record"].count(":") != 1]

    assert recorded
    for name in recorded:
        level, metric, operation = name.split(":")
        assert metric.startswith("imaging_node_")
        assert level
        assert operation


def test_scaled_rules_change_nothing_but_time(tmp_path: Path) -> None:
    made = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in scaled_rules.scaled(tmp_path)}
    (late,) = [
        rule
        for group in made["alerts.yml"]["groups"]
        for rule in group["rules"]
        if rule["alert"] == "ImagingNodeTriageLate"
    ]

    assert late["expr"] == "imaging_node_triage_oldest_waiting_seconds > 2.5"
    assert late["for"] == "2000ms"
    number = re.compile(r"[\d.]+(?:e\+\d+)?(?: \* 86400)?(?:ms|[smhd]\b)?")
    for file in made:
        before = (PROMETHEUS / "rules" / file).read_text(encoding="utf-8")
        for old, new in zip(yaml.safe_load(before)["groups"], made[file]["groups"], strict=True):
            for one, other in zip(old["rules"], new["rules"], strict=True):
                assert number.sub("N", one["expr"]) == number.sub("N", other["expr"])
                assert {k: v for k, v in one.items() if k not in ("expr", "for")} == {
                    k: v for k, v in other.items() if k not in ("expr", "for")
                }
