"""python -m tests.bench.guards: false alarms and detected faults of the guards of ct-denoise.

Every clean series goes through the shipped network and all checks; then every fault is injected into every series.
Limits come from one half of the scans (`--calibrate` writes them to pipelines/ct_denoise_limits.py), the table from the
other, written to tests/bench/GUARDS.md. One JSON object is the last line.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.ct_denoise import CT_DENOISE, checks
from pipelines.ct_denoise_limits import LIMITS
from pipelines.limits import GuardLimits
from pipelines.pipeline import Check, Checked, Parameters
from pipelines.report import Finding
from pipelines.run import one_slice
from tests.bench.guard_faults import ASKED, BESIDES, Fault, Network
from tests.bench.guard_series import Part, Series, clean_series
from tests.bench.guard_table import Section, Tally, asked_for, conclude, teller

Image = NDArray[np.float32]
ROOT = Path(__file__).parents[2]
LIMITS_FILE = ROOT / "pipelines" / "ct_denoise_limits.py"

# Finding -> its limit, and how far the limit lies beyond the worst clean series that calibrated it. Those have three
# slices: what is the largest of all slices grows further in a series of 300.
CALIBRATED: Mapping[str, tuple[str, float]] = {
    "residual_is_noise": ("residual_is_noise", 1.1),
    "residual_structure": ("residual_structure", 1.2),
    "residual_spectrum": ("residual_spectrum", 1.1),
    "residual_amount": ("residual_amount", 1.1),
    "low_frequency_lock": ("low_frequency_lock", 2.0),
    "own_slice": ("own_slice", 1.25),
    "structure_support": ("structure_support", 1.5),
    "probe_r3": ("probe_r3", 1 / 1.15),
    "probe_r6": ("probe_r6", 1 / 1.1),
    "same_again": ("same_again", 1.0),
    "hounsfield_scale": ("hounsfield_scale", 1.3),
}
LEAST: Mapping[str, float] = {"same_again": 2.0}  # HU, between two backends in half precision (NETWORKS.md E-13)


class Remembered:
    """The shipped network on slices, as the pipeline runs it; the same slice is not computed twice in a row."""

    def __init__(self, run: Network) -> None:
        self._run = run
        self._known: dict[bytes, Image] = {}

    def __call__(self, image: Image) -> Image:
        key = hashlib.blake2b(np.ascontiguousarray(image)).digest()
        if key not in self._known:
            if len(self._known) > 60:
                self._known.clear()
            self._known[key] = self._run(image)
        return self._known[key]


def network(engine: OrtEngine) -> Network:
    """One slice through ct-denoise; (y, x) HU to (y, x) HU."""
    nothing = Parameters(values={}, pixel_mm=1.0)
    return Remembered(lambda image: one_slice(CT_DENOISE, engine, image, nothing))


def through(series: Series, run: Network) -> NDArray[np.float32]:
    """The whole series through the network; voxels outside of its range stay, as `pipelines.run.infer` does it."""
    lowest, highest = CT_DENOISE.keep_outside
    voxels = series.volume.voxels
    made = np.stack([run(image) for image in voxels])
    return np.where((voxels < lowest) | (voxels > highest), voxels, made).astype(np.float32)


def judge(series: Series, result: NDArray[np.float32], again: Network, of: tuple[Check, ...]) -> tuple[Finding, ...]:
    """All findings on one result."""
    source = series.volume
    made = type(source)(voxels=result.astype(np.float32), affine=source.affine, unit=source.unit)
    case = Checked(
        source=source, result=made, headers=series.headers, again=lambda image, index: again(image), parameters={}
    )
    return tuple(finding for one in of for finding in one(case))


def inject(
    series: Series, result: NDArray[np.float32], fault: Fault, run: Network, of: tuple[Check, ...]
) -> tuple[Finding, ...] | None:
    """The findings after a fault; None where it makes no sense for this series."""
    faulty = fault(series, result, run)
    if faulty is None:
        return None
    made = through(faulty.series, run) if faulty.result is None else faulty.result
    return judge(faulty.series, made, faulty.again or run, of)


def calibrate(series: Iterable[tuple[Series, NDArray[np.float32]]], run: Network, sha256: str) -> GuardLimits:
    """Limits beyond the worst clean series, each by its own margin."""
    seen: dict[str, list[float]] = {}
    for one, result in series:
        for finding in judge(one, result, run, checks(LIMITS)):
            if finding.value is not None:
                seen.setdefault(finding.name, []).append(abs(finding.value))
    limits: dict[str, float] = {}
    for name, (key, margin) in CALIBRATED.items():
        worst = (max if margin >= 1.0 else min)(seen[name])
        limits[key] = float(f"{max(worst * margin, LEAST.get(name, 0.0)):.2g}")
    return GuardLimits(engine_sha256=sha256, **limits)


def write_limits(limits: GuardLimits) -> None:
    """The limits as a module of the pipeline."""
    lines = [f"    {one.name}={getattr(limits, one.name)!r}," for one in fields(limits)]
    LIMITS_FILE.write_text(
        '"""Limits of the guards of ct-denoise. Written by `python -m tests.bench.guards --calibrate`, not by hand."""'
        "\n\nfrom pipelines.limits import GuardLimits\n\nLIMITS = GuardLimits(\n"
        + "\n".join(lines).replace("'", '"')
        + "\n)\n",
        encoding="utf-8",
    )


def qualify(
    series: Iterable[tuple[Series, NDArray[np.float32]]],
    run: Network,
    of: tuple[Check, ...],
    *,
    groups: tuple[Mapping[str, tuple[Fault, ...]], ...] = (ASKED, BESIDES),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Tally]:
    """Row of the table -> what happened; the first row is of clean series."""
    rows: dict[str, Tally] = {"clean": Tally()}
    for number, (one, result) in enumerate(series, start=1):
        rows["clean"].add(one.name, judge(one, result, run, of))
        for group in groups:
            for name, faults in group.items():
                for fault in faults:
                    label = name if len(faults) == 1 else f"{name} ({fault.__name__.replace('_', ' ')})"
                    findings = inject(one, result, fault, run, of)
                    if findings is not None:
                        rows.setdefault(label, Tally()).add(one.name, findings)
        say(f"{number}: {one.name}")
    return rows


def cost_ms(series: list[tuple[Series, NDArray[np.float32]]], of: tuple[Check, ...], run: Network) -> float:
    """Processor time of all checks per 512x512 slice on this thread, the network's own part taken out, ms."""
    one, result = max(series, key=lambda pair: pair[0].volume.voxels[0].size)
    count = 20
    volume = type(one.volume)(
        voxels=np.concatenate([one.volume.voxels] * (count // len(result) + 1))[:count],
        affine=one.volume.affine,
        unit="HU",
    )
    long = type(one)(**{**vars(one), "volume": volume, "headers": (one.headers[0],) * count})
    made = np.concatenate([result] * (count // len(result) + 1))[:count]
    judge(long, made, lambda image: image, of)
    began = time.process_time()
    judge(long, made, lambda image: image, of)
    return 1000.0 * (time.process_time() - began) / count * 512 * 512 / volume.voxels[0].size


def section(limits: GuardLimits, cost: float) -> Section:
    """What the table says of itself."""
    return Section(
        title="Guards of ct-denoise: false alarms and injected faults",
        lines=(
            "Made by `python -m tests.bench.guards --calibrate`. Limits come from one half of the public scans, this",
            "table from the other; the halves share no patient (`tests/bench/guard_series.py`). Every series went",
            "through the shipped network: simulated noise of 8 to 45 HU on cleaned slices, soft to sharp kernels, and",
            "the scans as they came. Headers are made, complete and inside the envelope. Three slices each; a changed",
            "structure is in one of them.",
            "",
            f"Pipeline {CT_DENOISE.version}, weights `{limits.engine_sha256[:20]}…`. All checks together: {cost:.1f}",
            "ms per slice of 512x512 on one core, without the network's run on one slice of 20.",
        ),
        asked=frozenset(ASKED),
        limits={one.name: getattr(limits, one.name) for one in fields(limits) if one.name != "engine_sha256"},
    )


def main() -> None:
    """Calibrate if asked, then qualify, write the table, print JSON."""
    few = "one anatomy of each scan and two noises"
    given = asked_for("python -m tests.bench.guards", __doc__, few=few, threads=1)
    say = teller()

    spec = load_spec(CT_DENOISE.engine)
    limits = LIMITS
    with OrtEngine(spec, threads=given.threads) as engine:
        run = network(engine)
        if given.calibrate:
            made = ((one, through(one, run)) for one in clean_series(Part.CALIBRATE, few=given.few))
            limits = calibrate(made, run, spec.sha256)
            write_limits(limits)
            say(f"limits: {limits}")
        series = [(one, through(one, run)) for one in clean_series(Part.QUALIFY, few=given.few)]
        rows = qualify(series, run, checks(limits), say=say)
        cost = cost_ms(series, checks(limits), run)
    conclude(given, section(limits, cost), rows, limits, cost, spec.sha256)


if __name__ == "__main__":
    main()
