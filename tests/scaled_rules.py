"""The rules of deploy/prometheus with hours made seconds, for a Prometheus that looks at a running node.

What stays as it is: every expression, name, label and share. What shrinks: how long something has to last (`for`, and
the ages in seconds that expressions compare with), and how far ranges, offsets and forecasts reach.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml

RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules"
SITE: Final = "site.yml"
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+)([smhd])")
_REACH: Final = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=offset )\d+[smhd]")
_AGE: Final = re.compile(r"(?P<age>imaging_node_\w*(?:waiting|oldest)_seconds(?:\{[^}]*\})? > )(?P<seconds>[1-9]\d*)")
_AHEAD: Final = re.compile(r"(?<=\], )(\d+) \* 86400")
_SHORTEST_FOR_S: Final = 2.0  # one look that came late is no fault
_SHORTEST_REACH_S: Final = 5.0  # a rate needs two looks, a second apart


def scaled(into: Path, *, lasting: float = 1 / 120, reach: float = 1 / 1080) -> list[Path]:
    """Write them; returns the files. Without that of the site, which each site writes itself.

    lasting, reach: what durations are multiplied with
    """
    into.mkdir(parents=True, exist_ok=True)
    made = []
    for path in sorted(RULES.glob("*.yml")):
        if path.name == SITE:
            continue
        rules: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            if "for" in rule:
                rule["for"] = _milliseconds(max(seconds(rule["for"]) * lasting, _SHORTEST_FOR_S))
            rule["expr"] = _REACH.sub(lambda found: _reach(found[0], reach), rule["expr"])
            rule["expr"] = _AHEAD.sub(lambda found: f"{float(found[1]) * 86400 * reach:g}", rule["expr"])
            rule["expr"] = _AGE.sub(lambda found: f"{found['age']}{float(found['seconds']) * lasting:g}", rule["expr"])
        made.append(into / path.name)
        made[-1].write_text(yaml.safe_dump(rules, sort_keys=False, width=1000), encoding="utf-8")
    return made


def seconds(duration: str) -> float:
    """Of a duration with one unit, as "10m"."""
    found = _DURATION.fullmatch(duration)
    assert found is not None, f"{duration!r} has more than one unit"
    return float(found[1]) * _UNITS_S[found[2]]


def _reach(duration: str, factor: float) -> str:
    return _milliseconds(max(seconds(duration) * factor, _SHORTEST_REACH_S))


def _milliseconds(seconds_: float) -> str:
    return f"{round(seconds_ * 1000)}ms"
