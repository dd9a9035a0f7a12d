"""The dashboards as they are committed, their queries, and the metrics that the node has."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from node.metrics import METRICS
from node.page.levels import Levels, Site
from node.records.database import Records, migrate
from node.spool import Spool

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
RULES = ROOT / "deploy" / "prometheus" / "rules"
PREFIX = "imaging_node_"
# What Prometheus itself knows of a node and of its rules.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS", "ALERTS_FOR_STATE"}
# dcgm-exporter gives these by default (its etc/default-counters.csv).
OF_GPU = {f"DCGM_FI_DEV_{name}" for name in ("XID_ERRORS", "GPU_UTIL", "FB_USED", "FB_FREE", "GPU_TEMP", "POWER_USAGE")}
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query of a panel. `place`: its dashboard, panel and letter, for messages."""

    place: str
    expression: str


def boards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard, without the rows that stand between them."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every panel of every dashboard."""
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Query(place=f"{name}: {panel['title']}: {target['refId']}", expression=target["expr"])


def filled(expression: str, *, rate: str = "5m") -> str:
    """The expression as Grafana asks it when everything is chosen. `rate`: what $__rate_interval becomes."""
    for variable, value in (("$instance", ".*"), ("$pipeline", ".*"), ("$__rate_interval", rate)):
        expression = expression.replace(variable, value)
    assert "$" not in re.sub(r'"[^"]*"', "", expression), expression
    return expression


def names_in(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    bare = re.sub(r'"(\\.|[^"\\])*"', "", expression)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset\s+\w+", " ", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?![\w:]|\s*\()", bare)
    return {name for name in found if name.lower() not in _WORDS}


def metrics_of_the_node(folder: Path) -> dict[str, str]:
    """Name, with its prefix -> kind (counter, gauge, histogram) of each metric that the node shows.

    folder: an empty one, for the records that the page reads
    """
    migrate(folder)
    spool = Spool(folder, reserve_bytes=0)
    spool.prepare()
    records = Records(folder)
    families = [level.family for level in Levels(records, spool, folder, Site()).read()]
    records.close()
    families += [metric.describe()[0] for metric in vars(METRICS).values()]
    return {one.name + ("_total" if one.type == "counter" else ""): one.type for one in families}


def names_of(metrics: Mapping[str, str]) -> set[str]:
    """The names by which queries ask for metrics: a histogram has three."""
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + end for name, kind in metrics.items() for end in ends.get(kind, ("",))}


def rules() -> list[dict[str, Any]]:
    """The recording and alert rules of deploy/prometheus."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]
