"""What a bench of one way through a running node says in the end."""

import json
import statistics
from collections.abc import Mapping
from typing import Any

LAST_OUT = "last slice in to last slice out"


def conclude(title: str, found: Mapping[str, Any], *, load: float, wanted_s: float) -> None:
    """Print Markdown, then one JSON object with the line of acceptance.

    found: figure -> seconds of each run, `LAST_OUT` among them; process -> peak resident memory, MB, under "memory"
    load:  average load of the machine before it began
    """
    memory = found["memory"]
    figures = {what: values for what, values in found.items() if what != "memory"}
    print(f"\n{title}\n\n| what | median | spread |\n|---|---:|---:|")
    for what, values in figures.items():
        print(f"| {what} | {statistics.median(values):.3g} | {min(values):.3g} to {max(values):.3g} |")
    print("\nPeak resident memory: " + ", ".join(f"{part} {size:.0f} MB" for part, size in memory.items()) + ".")
    last_s = statistics.median(figures[LAST_OUT])
    acceptance = [{"name": LAST_OUT, "value": last_s, "wanted": wanted_s, "passed": last_s <= wanted_s}]
    print(json.dumps({"load before": load, "figures": figures, "memory": memory, "acceptance": acceptance}))
