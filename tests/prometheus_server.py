"""Debian's Prometheus as a peer of the tests: it asks a node every second and answers questions about what it heard."""

import json
import math
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.peers import HOST, Peer

Row = tuple[dict[str, str], list[tuple[float, float]]]


class Prometheus(Peer):
    """Scrapes the pages at `ports`, evaluates the rules of `rule_files`, forgets nothing."""

    tool = "prometheus"

    def __init__(
        self, folder: Path, *, ports: Sequence[int], rule_files: Sequence[Path] = (), every_s: float = 1.0
    ) -> None:
        super().__init__(folder)
        every = f"{int(every_s * 1000)}ms"
        settings = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [
                {"job_name": "imaging-node", "static_configs": [{"targets": [f"{HOST}:{port}" for port in ports]}]}
            ],
        }
        self.settings = folder / "prometheus.yml"
        self.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def command(self) -> list[str]:
        """One process, on this machine only."""
        return [
            self.path,
            f"--config.file={self.settings}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return bool(self.instant("vector(1)"))
        except OSError:
            return False

    def instant(self, expression: str, *, at: float | None = None) -> list[Row]:
        """What the expression is at that time, or now: labels and the one value of each row."""
        found = self.get("query", query=expression, **({} if at is None else {"time": at}))["data"]
        if found["resultType"] == "scalar":
            return [({}, [_pair(found["result"])])]
        return [(row["metric"], [_pair(row["value"])]) for row in found["result"]]

    def over(self, expression: str, *, since: float, until: float | None = None, step_s: float = 1.0) -> list[Row]:
        """What it was in that time: labels and the values of each row."""
        until = time.time() if until is None else until
        found = self.get("query_range", query=expression, start=since, end=until, step=step_s)["data"]["result"]
        return [(row["metric"], [_pair(one) for one in row["values"]]) for row in found]

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        alerts = self.get("alerts")["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def get(self, what: str, **asked: object) -> dict[str, Any]:
        """An answer of its interface."""
        address = f"http://{HOST}:{self.port}/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address, timeout=20) as answer:
            body: dict[str, Any] = json.load(answer)
        return body


def _pair(sample: Sequence[Any]) -> tuple[float, float]:
    return float(sample[0]), float(sample[1])


def says_something(rows: Sequence[Row]) -> bool:
    """Whether there is a value that is a number."""
    return any(not math.isnan(value) for _, values in rows for _, value in values)
