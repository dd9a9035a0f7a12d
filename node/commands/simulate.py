"""`imaging-node simulate-worklist`: what the queue rule does to waits, with the characteristic that was measured."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import engines
from node.errors import BadSetting
from node.simulation import plots, tables
from node.simulation.cases import ASSUMED_DAY
from node.simulation.characteristic import FALSE_ALARMS, Characteristic, binormal, find, from_file
from node.simulation.sweep import Plan, Sweep, run

CARD: Final = Path(engines.__file__).parent / "cards" / "head_ct_triage.json"
ASSUMED_AUC: Final = 0.85  # NETWORKS C5; until there is a card with scores
_OTHERS: Final = (0.75, 0.95)  # characteristics to compare with


def characteristic_of(
    *, auc: float | None, scores: Path | None, false_alarms: float | None, card: Path = CARD
) -> tuple[Characteristic, bool]:
    """What the score tells, and whether it was measured.

    auc:          a binormal one instead
    scores:       a JSON file instead
    false_alarms: of a binormal one
    returns:      the characteristic; False if it is a formula
    raises:       BadSetting for both at once, or a file that cannot be used
    """
    if auc is not None and scores is not None:
        raise BadSetting("Both --auc and --scores.", fix="Give one of them.")
    if scores is not None:
        if false_alarms is not None:
            raise BadSetting("The scores have a threshold of their own.", fix="Leave --false-alarms out.")
        return from_file(scores), True
    if auc is None and false_alarms is None and _has_scores(card):
        return replace(from_file(card), name="measured on simulated heads, from the network's card"), True
    share = FALSE_ALARMS if false_alarms is None else false_alarms
    return binormal(ASSUMED_AUC if auc is None else auc, false_alarms=share), False


def day_of(path: Path | None) -> tuple[float, ...]:
    """24 weights of the hours of a day, midnight first: numbers parted by commas or white space, or a JSON list.

    raises: BadSetting if there are not 24 of them, or one is negative, or all are 0
    """
    if path is None:
        return ASSUMED_DAY
    try:
        words = path.read_text(encoding="utf-8").translate(str.maketrans("[],;", "    ")).split()
        weights = tuple(float(word) for word in words)
    except (OSError, ValueError) as error:
        raise BadSetting(f"The hours in {path} cannot be read: {error}.", fix="Write 24 numbers.") from error
    if len(weights) != 24 or not all(0.0 <= one < math.inf for one in weights) or not sum(weights):
        raise BadSetting(f"{path} has {len(weights)} numbers.", fix="Write 24, none negative: midnight first.")
    return weights


def simulate(
    plan: Plan, characteristic: Characteristic, to: Path | None, progress: Callable[[str, float], None]
) -> tuple[Sweep, list[str]]:
    """Run the plan and write queue.md, queue.csv, queue.json and two pictures to a folder.

    to:      None: nothing is written
    returns: the sweep and the names of the files
    """
    sweep = run(plan, characteristic, [binormal(auc) for auc in _OTHERS], progress)
    if to is None:
        return sweep, []
    to.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for part, name in (("any hour alike", "queue_any_hour.png"), ("over a day", "queue_over_a_day.png")):
        cells = [cell for cell in sweep.cells if cell.part == part]
        title = f"Waiting for a reader, simulated: {part}"
        plots.by_utilisation(cells, to / name, title=title, subtitle=f"score: {characteristic.name}")
        pictures[title] = name
    _write(to / "queue.md", tables.as_markdown(sweep, pictures))
    _write(to / "queue.csv", tables.as_csv(sweep))
    _write(to / "queue.json", json.dumps(tables.as_json(sweep), indent=1) + "\n")
    return sweep, ["queue.md", "queue.csv", "queue.json", *pictures.values()]


def result(sweep: Sweep, *, measured: bool, files: Sequence[str]) -> dict[str, Any]:
    """For the command line: the lines of acceptance, the department that they are about, and what was written."""
    every = tables.as_json(sweep)
    return {
        "measured": measured,
        "characteristic": every["characteristic"],
        "acceptance": every["acceptance"],
        "check": every["check"],
        "rules": {cell["rule"]: cell["measures"] for cell in every["cells"] if cell["part"] == "acceptance"},
        "files": list(files),
    }


def _has_scores(card: Path) -> bool:
    return card.is_file() and find(json.loads(card.read_text(encoding="utf-8"))) is not None


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
