"""The command line of `imaging-node simulate-worklist`; what it does is in `simulate.py` beside it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from node.commands.terminal import err, out
from node.errors import BadSetting
from node.simulation.measures import MEASURES
from node.simulation.sweep import READERS, UTILISATIONS

_UTILISATIONS: Final = ",".join(map(str, UTILISATIONS))
_READERS: Final = ",".join(map(str, READERS))


def simulate_worklist(
    to: Annotated[Path | None, typer.Option(help="Folder for tables and plots; default: none are written.")] = None,
    auc: Annotated[float | None, typer.Option(help="A binormal score instead of the measured one.")] = None,
    scores: Annotated[Path | None, typer.Option(help="A JSON file: normal, abnormal, threshold.")] = None,
    false_alarms: Annotated[float | None, typer.Option(help="Share of others flagged, of a binormal score.")] = None,
    utilisation: Annotated[str, typer.Option(help="Parted by commas.")] = _UTILISATIONS,
    readers: Annotated[str, typer.Option(help="Parted by commas.")] = _READERS,
    day: Annotated[Path | None, typer.Option(help="File with 24 weights of the hours; default: an assumption.")] = None,
    emergencies: Annotated[float, typer.Option(min=0.001, max=0.999, help="Share of studies.")] = 0.1,
    failed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share not analysable or failed.")] = 0.02,
    turnaround: Annotated[float, typer.Option(min=0.0, help="Arrival to verdict, s.")] = 20.0,
    down: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the time without triage.")] = 0.0,
    service_minutes: Annotated[float, typer.Option(min=0.1, help="Mean reading time.")] = 6.0,
    service_sigma: Annotated[float, typer.Option(min=0.0, max=2.0, help="Of its logarithm.")] = 0.6,
    credit_minutes: Annotated[float, typer.Option(min=0.0, max=1440.0, help="The bound B.")] = 120.0,
    cases: Annotated[int, typer.Option(min=100, max=1_000_000, help="Studies in each replication.")] = 3000,
    replications: Annotated[int, typer.Option(min=2, max=10_000, help="Of each department.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Waits under five rules for who is read next, simulated: by utilisation, readers, hours. About half a minute."""
    from node.commands import simulate
    from node.simulation.cases import Site
    from node.simulation.sweep import Plan

    characteristic, measured = simulate.characteristic_of(auc=auc, scores=scores, false_alarms=false_alarms)
    site = Site(
        service_minutes=service_minutes,
        service_sigma=service_sigma,
        emergencies=emergencies,
        failed=failed,
        turnaround_s=turnaround,
        down=down,
    )
    plan = Plan(
        site=site,
        day=simulate.day_of(day),
        utilisations=tuple(_numbers(utilisation, "utilisation", 0.0, 1.0)),
        readers=_whole(readers),
        bound_minutes=credit_minutes,
        cases=cases,
        replications=replications,
        seed=seed,
    )
    with Progress(TextColumn("{task.description}"), BarColumn(), console=err, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        sweep, files = simulate.simulate(
            plan, characteristic, to, lambda what, share: bar.update(task, description=what, completed=share)
        )
    found = simulate.result(sweep, measured=measured, files=files)
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        out.print(_text(found, to))


def _numbers(text: str, what: str, above: float, below: float) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(above < one < below for one in found):
        fix = f"Write numbers above {above:g} and below {below:g} parted by commas."
        raise BadSetting(f"{what.capitalize()} of {text!a}.", fix=fix)
    return sorted(set(found))


def _whole(text: str) -> tuple[int, ...]:
    found = _numbers(text, "readers", 0.0, 101.0)
    if any(one != int(one) for one in found):
        raise BadSetting(f"Readers of {text!a}.", fix="Write whole numbers parted by commas, as in 1,2,4.")
    return tuple(int(one) for one in found)


def _text(found: dict[str, Any], to: Path | None) -> RenderableType:
    of = found["characteristic"]
    table = Table(title="Minutes until a reader begins; one reader, utilisation 0.8, simulated", box=None)
    for head in (
        "rule",
        "emergencies\nmedian",
        "\nmean",
        "\np95",
        "others\nmean",
        "\np99",
        "missed\nmean",
        "unseen\nmean",
    ):
        table.add_column(head, justify="left" if head == "rule" else "right", no_wrap=True)
    for rule, measures in found["rules"].items():
        values = [measures[name]["value"] for name in MEASURES if name != "longest"]
        table.add_row(rule, *("-" if value is None else f"{value:.1f}" for value in values))
    lines: list[RenderableType] = [Text(f"Score: {of['name']}, AUC {of['auc']:.3f}", style="bold")]
    if not found["measured"]:
        lines.append(Text("This score is an assumption: no network was measured.", style="yellow"))
    lines.append(table)
    for line in found["acceptance"]:
        met = Text("met     ", style="green") if line["met"] else Text("missed  ", style="red")
        between = " to ".join("unknown" if line[end] is None else f"{line[end]:+.1%}" for end in ("low", "high"))
        value = "unknown" if line["value"] is None else f"{line['value']:+.1%}"
        lines.append(Text.assemble(met, f"{line['name']}: {value} ({between}), wanted {line['wanted']}"))
    if found["acceptance"]:
        lines.append(
            Text("Missed: analysed, no flag. Unseen: those of them that earn no credit; they wait longer.", "yellow")
        )
    lines += [Text(f"wrote {to / name}") for name in found["files"] if to is not None]
    return Group(*lines)
