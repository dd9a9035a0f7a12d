"""python -m tests.bench.guards_tof: false alarms and detected faults of the guards of mra-superres.

Every clean series goes through the shipped network and all checks; then every fault is injected into every series.
Limits come from head 04 (`--calibrate` writes them to pipelines/mra_superres_limits.py), the table from heads 05 and
06, written to its part of tests/bench/GUARDS.md. One JSON object is the last line.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.limits import SuperresLimits
from pipelines.mra_superres import MRA_SUPERRES, checks
from pipelines.mra_superres_limits import LIMITS
from pipelines.pipeline import Check, Checked, Unfit
from pipelines.report import Finding, Verdict
from pipelines.run import asked, infer, remade
from pipelines.volume import Volume, finer
from tests.bench.guard_series import Part
from tests.bench.guard_table import Section, Tally, asked_for, conclude, teller
from tests.bench.guard_tof import CASES, TofSeries, tof_series
from tests.bench.guard_tof_faults import ASKED, BESIDES, Answer, Fault

Stack = NDArray[np.float32]
LIMITS_FILE = Path(__file__).parents[2] / "pipelines" / "mra_superres_limits.py"
COMMAND = "python -m tests.bench.guards_tof"

# Limit -> the finding it belongs to, and how far it lies beyond the worst clean series that calibrated it. Those have
# 14 slices; what is the worst of all slices gets a little worse in a series of 60.
CALIBRATED: Mapping[str, tuple[str, float]] = {
    "least_added": ("null_energy", 1 / 1.15),
    "most_added": ("null_energy", 1.15),
    "most_border": ("borders", 1.3),
    "most_invented": ("invented", 1.35),
    "most_removed": ("removed", 1.5),
    "least_probe": ("probe_aneurysm", 1 / 1.4),
    "most_gain": ("gain", 1.15),
    "most_bright": ("arteries", 4.0),  # simulated scalps are darker than some real ones
}
ORDER_MARGIN = 0.15
"""Of a correlation, which may be 0 or less: taken off the worst one."""


def through(series: TofSeries, engine: Engine) -> Stack:
    """The whole series through the pipeline."""
    return infer(
        MRA_SUPERRES, engine, series.volume, parameters=series.parameters, progress=lambda done, of: None
    ).voxels


def judge(
    series: TofSeries, result: Stack, engine: Engine, of: tuple[Check, ...], network: Answer | None = None
) -> tuple[Finding, ...]:
    """All findings on one result. network: what becomes of the engine's answers when a check asks again"""
    source = series.volume
    chosen = asked(MRA_SUPERRES, source, series.parameters)
    factor = MRA_SUPERRES.factor(series.parameters)

    def again(image: NDArray[np.float32], index: int) -> Stack:
        thin = remade(MRA_SUPERRES, engine, source, chosen, index, image)
        return thin if network is None else network(thin.copy(), image, index)

    made = Volume(voxels=result, affine=finer(source.affine, factor), unit=source.unit)
    case = Checked(source=source, result=made, headers=series.headers, again=again, parameters=series.parameters,
                   facts=chosen.facts, factor=factor)  # fmt: skip
    return tuple(finding for one in of for finding in one(case))


def both_ways(series: Iterable[TofSeries]) -> Iterator[TofSeries]:
    """Every series with its mean kept, and those acquired in three dimensions with their frequencies kept too."""
    for one in series:
        yield one
        if one.three:
            parameters = {**one.parameters, "consistency": "fourier"}
            yield replace(one, name=f"{one.name}, frequencies kept", parameters=parameters)


def calibrate(series: Iterable[TofSeries], engine: Engine, sha256: str) -> SuperresLimits:
    """Limits beyond the worst clean series, each by its own margin."""
    seen: dict[str, list[float]] = {}
    for one in series:
        for finding in judge(one, through(one, engine), engine, checks(LIMITS)):
            if finding.value is not None:
                seen.setdefault(finding.name, []).append(finding.value)
    limits = {"least_order": round(min(seen["order"]) - ORDER_MARGIN, 2)}
    for name, (key, margin) in CALIBRATED.items():
        worst = (max if margin >= 1.0 else min)(seen[key])
        limits[name] = float(f"{worst * margin:.2g}")
    return SuperresLimits(engine_sha256=sha256, **limits)


def write_limits(limits: SuperresLimits) -> None:
    """The limits as a module of the pipeline."""
    lines = [f"    {one.name}={getattr(limits, one.name)!r}," for one in fields(limits)]
    LIMITS_FILE.write_text(
        f'"""Limits of the guards of mra-superres. Written by `{COMMAND} --calibrate`, not by hand."""'
        "\n\nfrom pipelines.limits import SuperresLimits\n\nLIMITS = SuperresLimits(\n"
        + "\n".join(lines).replace("'", '"')
        + "\n)\n",
        encoding="utf-8",
    )


def inject(
    series: TofSeries, result: Stack, fault: Fault, engine: Engine, of: tuple[Check, ...]
) -> tuple[Finding, ...] | None:
    """The findings after a fault; None where it makes no sense for this series."""
    faulty = fault(series, result)
    if faulty is None:
        return None
    if faulty.result is not None:
        return judge(faulty.series, faulty.result, engine, of, faulty.network)
    try:
        return judge(faulty.series, through(faulty.series, engine), engine, of)
    except Unfit as error:
        held = Finding(name="unfit", value=None, limit=0.0, verdict=Verdict.REJECT, version="1", text=error.message)
        return (held,)


def qualify(
    series: Iterable[TofSeries], engine: Engine, of: tuple[Check, ...], say: Callable[[str], None]
) -> dict[str, Tally]:
    """Row of the table -> what happened; the first row is of clean series."""
    rows: dict[str, Tally] = {"clean": Tally()}
    for number, one in enumerate(series, start=1):
        result = through(one, engine)
        rows["clean"].add(one.name, judge(one, result, engine, of))
        fourier = one.parameters["consistency"] == "fourier"
        for name, faults in () if fourier else (*ASKED.items(), *BESIDES.items()):
            for fault in faults:
                label = name if len(faults) == 1 else f"{name} ({fault.__name__.replace('_', ' ')})"
                findings = inject(one, result, fault, engine, of)
                if findings is not None:
                    rows.setdefault(label, Tally()).add(one.name, findings)
        say(f"{number}: {one.name}")
    return rows


def cost_s(series: TofSeries, of: tuple[Check, ...], engine: Engine) -> float:
    """Processor time of all checks of 40 slices of 512x512 on this thread, the network's own part taken out, s."""
    count, side = 40, 512
    reps = [1 + size // have for size, have in zip((count, side, side), series.volume.voxels.shape, strict=True)]
    voxels = np.tile(series.volume.voxels, reps)[:count, :side, :side].copy()
    factor = MRA_SUPERRES.factor(series.parameters)
    headers = (series.headers[0],) * count
    case = Checked(
        source=replace(series.volume, voxels=voxels),
        result=Volume(voxels=np.repeat(voxels, factor, axis=0), affine=finer(series.volume.affine, factor), unit="MR"),
        headers=headers,
        again=lambda image, index: np.repeat(image[None], factor, axis=0),
        parameters=series.parameters,
        facts=asked(MRA_SUPERRES, series.volume, series.parameters).facts,
        factor=factor,
    )
    began = time.process_time()
    for one in of:
        one(case)
    return time.process_time() - began


def section(limits: SuperresLimits, cost: float) -> Section:
    """What the table says of itself."""
    return Section(
        title="Guards of mra-superres: false alarms and injected faults",
        lines=(
            f"Made by `{COMMAND} --calibrate`. Limits come from {len(CASES[Part.CALIBRATE])} simulated scans of head",
            f"04, this table from {len(CASES[Part.QUALIFY])} of heads 05 and 06, which no network saw: slices of 2 to",
            "5 mm, 2-D and 3-D, 14 slices of 144x144 each; clean ones of 3-D scans once more with their frequencies",
            "kept. Every series went through the shipped network. Headers are made, complete and inside the envelope.",
            "A changed structure is in one thin slice. Faults of the network keep the mean of every slab, as its last",
            "layer does.",
            "",
            f"Pipeline {MRA_SUPERRES.version}, weights `{limits.engine_sha256[:20]}…`. All checks together: {cost:.1f}",
            "s for 40 slices of 512x512 that become 160, on one core, without the network's run on one slice of 20.",
        ),
        asked=frozenset(ASKED),
        limits={one.name: getattr(limits, one.name) for one in fields(limits) if one.name != "engine_sha256"},
    )


def main() -> None:
    """Calibrate if asked, then qualify, write the table, print JSON."""
    given = asked_for(COMMAND, __doc__, few="some of the scans", threads=1)
    say = teller()

    spec = load_spec(MRA_SUPERRES.engine)
    limits = LIMITS
    with OrtEngine(spec, threads=given.threads) as engine:
        if given.calibrate:
            limits = calibrate(both_ways(tof_series(Part.CALIBRATE, few=given.few)), engine, spec.sha256)
            write_limits(limits)
            say(f"limits: {limits}")
        of = checks(limits)
        rows = qualify(both_ways(tof_series(Part.QUALIFY, few=given.few)), engine, of, say)
        cost = cost_s(next(iter(tof_series(Part.QUALIFY, few=True))), of, engine)
    conclude(given, section(limits, cost), rows, limits, cost, spec.sha256)


if __name__ == "__main__":
    main()
