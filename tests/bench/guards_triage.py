"""python -m tests.bench.guards_triage: false alarms and detected faults of the guards of head-ct-triage.

Limits come from simulated heads 04 (`--calibrate` writes them to pipelines/head_ct_triage_guards.py), the table from
heads 05 and 06, which no network saw, written to its part of tests/bench/GUARDS.md. One JSON object is the last line.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from engines.engine import Engine
from engines.head import NoBrain, NotAligned, align, brain_mask, to_grid
from engines.ort import OrtEngine
from engines.store import load_spec
from engines.training.headct_scope import Odd
from pipelines.head_ct_triage import HEAD_CT_TRIAGE, assessed, protocol
from pipelines.head_ct_triage_figures import figures
from pipelines.head_ct_triage_guards import LIMITS
from pipelines.head_ct_triage_limits import LIMITS as SCORE
from pipelines.head_ct_triage_look import look
from pipelines.pipeline import Range
from pipelines.report import Finding, Verdict
from pipelines.steps.guards_triage import TriageLimits, gain_of, inputs, reasons, rise_of
from tests.bench.guard_ct_faults import ASKED, BESIDES
from tests.bench.guard_ct_heads import CALIBRATE, ODD, QUALIFY, HeadSeries, in_scope, out_of_scope
from tests.bench.guard_table import Section, Tally, put_section, report, teller

LIMITS_FILE = Path(__file__).parents[2] / "pipelines" / "head_ct_triage_guards.py"
COMMAND = "python -m tests.bench.guards_triage"
OUT_OF_SCOPE: Final = "out of scope"

RULES: Final[Mapping[str, Range]] = {
    "air_hu": (-14.0, 14.0),
    "brain_hu": (20.0, 41.0),
    "grey_white": (3.0, 21.0),
    "holes": (0.0, 0.01),
    "brain_ml": (960.0, 2000.0),
    "stretch": (1.0, 1.22),
    "tilt_deg": (0.0, 42.0),
    "quality": (0.26, 1.0),
    "covered": (0.95, 1.0),
    "open_vault": (0.0, 0.5),
    "air_inside": (0.0, 0.005),
    "bone_hu": (800.0, 2300.0),
    "vessels_ml": (0.0, 0.25),
}
"""Of adults and of scanners, not of the heads that are simulated: one anatomy says nothing of others."""

CALIBRATED: Final[Mapping[str, tuple[float, float]]] = {
    "noise_hu": (0.5, 1.6),
    "smeared": (0.0, 1.8),
    "sinus_mm": (0.0, 1.15),
    "order": (0.0, 1.4),
    "jump": (0.0, 1.15),
    "rings_hu": (0.0, 1.8),
    "waves_hu": (0.0, 1.6),
}
"""Figure -> times the least and times the largest of clean heads 04."""
RISE_MARGIN, GAIN_MARGIN = 0.3, 1.5


def calibrate(series: Iterable[HeadSeries], engine: Engine, network: int, say: Callable[[str], None]) -> TriageLimits:
    """Limits beyond the worst clean head, each by its own margin; the network's from the first so many."""
    seen: dict[str, list[float]] = {name: [] for name in CALIBRATED}
    rises, gains = [], []
    for number, one in enumerate(series):
        mask = brain_mask(one.volume.voxels, _spacing(one))
        pose = align(one.volume.voxels, one.volume.affine, mask)
        stack = to_grid(one.volume.voxels, pose, mask)
        found = figures(one.volume, mask, pose, stack)
        for name in CALIBRATED:
            seen[name].append(found[name])
        if number < network:
            told = look(engine, stack, SCORE, lambda done, total: None)
            gains.append(gain_of(engine, stack, told))
            rise = rise_of(engine, stack, told, SCORE)
            if rise is not None and SCORE.probability(told.logit) < SCORE.threshold:
                rises.append(rise)
        say(f"{one.name}: {'; '.join(f'{name} {found[name]:.2f}' for name in found)}")
    say(f"rises {np.round(sorted(rises), 2).tolist()}, gains {np.round(sorted(gains), 2).tolist()}")
    known = dict(RULES)
    for name, (low, high) in CALIBRATED.items():
        known[name] = (float(f"{min(seen[name]) * low:.2g}"), float(f"{max(seen[name]) * high:.2g}"))
    return TriageLimits(
        engine_sha256=engine.spec.sha256,
        known=known,
        least_rise=float(f"{min(rises) * RISE_MARGIN:.2g}"),
        most_gain=float(f"{max(gains) * GAIN_MARGIN:.2g}"),
    )


def write_limits(limits: TriageLimits) -> None:
    """The limits as a module of the pipeline."""
    known = "".join(f'        "{name}": {limits.known[name]},\n' for name in limits.known)
    LIMITS_FILE.write_text(
        f'"""Limits of the guards of head-ct-triage. Written by `{COMMAND} --calibrate`, not by hand."""\n\n'
        "from pipelines.steps.guards_triage import TriageLimits\n\n"
        f'LIMITS = TriageLimits(\n    engine_sha256="{limits.engine_sha256}",\n    known={{\n{known}    }},\n'
        f"    least_rise={limits.least_rise},\n    most_gain={limits.most_gain},\n)\n",
        encoding="utf-8",
    )


def judge(series: HeadSeries, engine: Engine | None, limits: TriageLimits) -> tuple[Finding, ...]:
    """What rejects a series; without an engine only what is asked before the network."""
    if engine is not None:
        assessment, _ = assessed(
            engine, series.volume, series.headers, lambda done, total: None, score=SCORE, guards=limits
        )
        return tuple(one for one in assessment.findings if one.verdict is Verdict.REJECT)
    gate = protocol(series.headers)
    try:
        mask = brain_mask(series.volume.voxels, _spacing(series))
        pose = align(series.volume.voxels, series.volume.affine, mask)
    except NoBrain as error:
        return (_told("brain", error.reason),)
    except NotAligned as error:
        return (_told("pose", error.reason),)
    stack = to_grid(series.volume.voxels, pose, mask)
    found = (gate, *inputs(figures(series.volume, mask, pose, stack), limits))
    return tuple(one for one in found if one.verdict is Verdict.REJECT)


def qualify(
    given: argparse.Namespace, engine: Engine, limits: TriageLimits, say: Callable[[str], None]
) -> dict[str, Tally]:
    """Row of the table -> what happened; the first row is of clean series."""
    rows: dict[str, Tally] = {"clean": Tally()}
    count, odd = (2, 1) if given.few else (given.heads, ODD)
    for head in (5, 6):
        for number, one in enumerate(in_scope(head, count, given.cases)):
            found = judge(one, engine, limits)
            rows["clean"].add(one.name, found)
            say(f"{one.name}: {'; '.join(reasons(found))}")
            for name, faults in (*ASKED.items(), *BESIDES.items()):
                for fault in faults if number < given.faulty else ():
                    label = name if len(faults) == 1 else f"{name} ({fault.__name__.replace('_', ' ')})"
                    rows.setdefault(label, Tally()).add(one.name, judge(fault(one), None, limits))
        for sort in Odd:
            for one in out_of_scope(head, sort, odd, given.cases):
                found = judge(one, None, limits)
                rows.setdefault(f"{OUT_OF_SCOPE} ({sort})", Tally()).add(one.name, found)
                say(f"{one.name}: {'; '.join(reasons(found))}")
    return rows


def section(limits: TriageLimits, rows: Mapping[str, Tally], cost: float, odd: tuple[int, int]) -> Section:
    """What the table says of itself."""
    return Section(
        title="Guards of head-ct-triage: false alarms and injected faults",
        lines=(
            f"Made by `{COMMAND} --calibrate`. Limits come from {CALIBRATE} simulated heads 04 and from what adults",
            f"and scanners are like, this table from {rows['clean'].total} heads 05 and 06, half of them with lesions,",
            "and from heads that are out of scope, simulated too. Clean heads went through the shipped network and all",
            "guards; faults and what is out of scope only through what is asked before the network. Headers are made,",
            "complete and inside the envelope: nothing in them tells a child, contrast agent or an operation. What a",
            "guard rejects is not analysable and stands on top of the list: it counts as held.",
            "",
            f"**Out of scope: {odd[0]} of {odd[1]} rejected.** Wanted: at least 90 %.",
            "",
            f"Pipeline {HEAD_CT_TRIAGE.version}, weights `{limits.engine_sha256[:20]}…`. All figures of the input:",
            f"{cost:.1f} s for a head on one core.",
        ),
        asked=frozenset((*ASKED, OUT_OF_SCOPE)),
        limits={
            **{name: f"{low:g} to {high:g}" for name, (low, high) in limits.known.items()},
            "least_rise": limits.least_rise,
            "most_gain": limits.most_gain,
        },
    )


def main() -> None:
    """Calibrate if asked, then qualify, write the table, print JSON."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--calibrate", action="store_true", help="write new limits before the table is made")
    parser.add_argument("--few", action="store_true", help="some of the heads; writes no table")
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default 2)")
    parser.add_argument("--cases", type=Path, help="folder that keeps painted heads, outside of the repository")
    parser.add_argument("--heads", type=int, default=QUALIFY, help=f"of 05 and of 06 (default {QUALIFY})")
    parser.add_argument("--faulty", type=int, default=QUALIFY, help="how many of them get faults")
    parser.add_argument("--network", type=int, default=12, help="heads 04 that the network's limits come from")
    given = parser.parse_args()
    say = teller()
    limits = LIMITS
    with OrtEngine(load_spec(HEAD_CT_TRIAGE.engine), threads=given.threads) as engine:
        if given.calibrate:
            limits = calibrate(in_scope(4, 4 if given.few else CALIBRATE, given.cases), engine, given.network, say)
            say(f"limits: {limits}")
            if not given.few:
                write_limits(limits)
        rows = qualify(given, engine, limits, say)
        one = next(in_scope(5, 1, given.cases))
        mask = brain_mask(one.volume.voxels, _spacing(one))
        pose = align(one.volume.voxels, one.volume.affine, mask)
        stack = to_grid(one.volume.voxels, pose, mask)
        began = time.process_time()
        figures(one.volume, mask, pose, stack)
        cost = time.process_time() - began
    odd = [tally for label, tally in rows.items() if label.startswith(f"{OUT_OF_SCOPE} (")]
    about = section(limits, rows, cost, (sum(one.held for one in odd), sum(one.total for one in odd)))
    lines = about.table(rows)
    if not given.few:
        put_section(lines)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(json.dumps(report(rows, limits, cost, limits.engine_sha256, asked=about.asked)) + "\n")


def _spacing(series: HeadSeries) -> tuple[float, float, float]:
    z, y, x = (float(mm) for mm in np.linalg.norm(series.volume.affine[:3, :3], axis=0))
    return z, y, x


def _told(name: str, text: str) -> Finding:
    return Finding(name=name, value=None, limit=0.0, verdict=Verdict.REJECT, version="1", text=text)


if __name__ == "__main__":
    main()
