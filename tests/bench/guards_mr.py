"""python -m tests.bench.guards_mr: false alarms and detected faults of the guards of mr-postcontrast.

Every clean case goes through the shipped network and all checks; then every fault is injected into every case. Limits
come from head 04 (`--calibrate` writes them to pipelines/mr_postcontrast_limits.py), the table from heads 05 and 06,
written to its part of tests/bench/GUARDS.md. One JSON object is the last line.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.ort import OrtEngine
from engines.store import load_spec
from pipelines.limits import ContrastLimits
from pipelines.mr_postcontrast import MR_POSTCONTRAST, checks
from pipelines.mr_postcontrast_limits import LIMITS
from pipelines.pipeline import Check, Checked, Unfit
from pipelines.report import Finding, Verdict
from pipelines.run import asked, infer, remade, unsure
from pipelines.steps.guards_inputs import series_plausible
from pipelines.steps.guards_protocol import pixel_size_agrees, protocol_gate
from tests.bench.guard_heads import CACHE, CASES, HeadSeries, head_case, head_series
from tests.bench.guard_mr_faults import ASKED, BESIDES, FaultyHead
from tests.bench.guard_series import Part
from tests.bench.guard_table import Section, Tally, asked_for, conclude, teller

Stack = NDArray[np.float32]
LIMITS_FILE = Path(__file__).parents[2] / "pipelines" / "mr_postcontrast_limits.py"
COMMAND = "python -m tests.bench.guards_mr"
OF_SOURCE = (protocol_gate, pixel_size_agrees, series_plausible)

# Limit -> the finding it belongs to, and how far it lies beyond the worst clean case that calibrated it. Those have 35
# to 60 slices of one head with many contrasts; heads differ more than slices.
CALIBRATED: Mapping[str, tuple[str, float]] = {
    "sinus": ("control_sinus", 1 / 1.5),
    "choroid": ("control_choroid", 1 / 1.5),
    "base": ("control_base", 1 / 1.5),
    "support_mm2": ("enhancement_support", 1.1),
    "amplification": ("amplification", 1.6),
    "shift": ("shift", 1.5),
    "flicker": ("flicker", 1.3),
    "spread": ("spread", 1.5),
    "noise": ("t1_noise", 1.4),
    "csf_t1": ("t1_csf", 1.2),
    "csf_t2": ("t2_csf", 1 / 1.25),
    "csf_flair": ("flair_csf", 1.4),
    "grey_flair": ("flair_grey", 1 / 1.3),
    "bright": ("t1_bright", 2.5),
    "agree_t2": ("t2_agrees", 1 / 1.3),
    "agree_flair": ("flair_agrees", 1 / 1.3),
}
LEAST: Mapping[str, float] = {"bright": 0.0015}
"""Of limits: real heads without contrast agent have up to 0.0003."""


class Network:
    """The shipped network on the slices of one case; what was asked before is not computed again."""

    def __init__(self, engine: Engine, digest: str) -> None:
        self.engine, self.digest = engine, digest
        self._known: dict[bytes, Stack] = {}

    def whole(self, series: HeadSeries) -> Stack:
        """A case through the pipeline; kept under build/ for the same weights."""
        key = hashlib.sha256(series.name.encode() + self.digest.encode()).hexdigest()[:16]
        file = CACHE / f"result-{key}.npy"
        if not file.is_file():
            made = infer(MR_POSTCONTRAST, self.engine, series.volume, progress=lambda done, of: None).voxels
            CACHE.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part.npy")
            np.save(part, made)
            part.replace(file)
        loaded: Stack = np.load(file)
        return loaded

    def case(self, series: HeadSeries, result: Stack) -> Checked:
        """What the checks look at. raises: Unfit"""
        chosen = asked(MR_POSTCONTRAST, series.volume, {})

        def again(image: Stack, index: int) -> Stack:
            key = hashlib.blake2b(series.name.encode() + image.tobytes()).digest()
            if key not in self._known:
                if len(self._known) > 60:
                    self._known.clear()
                self._known[key] = remade(MR_POSTCONTRAST, self.engine, series.volume, chosen, index, image)
            return self._known[key]

        def spread(index: int) -> Stack | None:
            key = f"{series.name} {index}".encode()
            if key not in self._known:
                made = unsure(MR_POSTCONTRAST, self.engine, series.volume, chosen, index)
                assert made is not None
                self._known[key] = made
            return self._known[key]

        return Checked(
            source=series.volume,
            result=replace(series.volume, voxels=result.astype(np.float32), others={}),
            headers=series.headers,
            again=again,
            unsure=spread,
            parameters={},
            facts=chosen.facts,
        )


def judge(network: Network, series: HeadSeries, result: Stack, of: tuple[Check, ...]) -> tuple[Finding, ...]:
    """All findings on one result; a source that the pipeline does not take is one too."""
    try:
        case = network.case(series, result)
    except Unfit as error:
        return (Finding(name="unfit", value=None, limit=0.0, verdict=Verdict.REJECT, version="1", text=error.message),)
    return tuple(finding for one in of for finding in one(case))


def calibrate(series: Iterable[HeadSeries], network: Network) -> ContrastLimits:
    """Limits beyond the worst clean case, each by its own margin."""
    seen: dict[str, list[float]] = {}
    for one in series:
        for finding in judge(network, one, network.whole(one), checks(LIMITS)):
            if finding.value is not None:
                seen.setdefault(finding.name, []).append(finding.value)
    limits = {}
    for name, (key, margin) in CALIBRATED.items():
        worst = (max if margin >= 1.0 else min)(seen[key])
        limits[name] = max(float(f"{worst * margin:.2g}"), LEAST.get(name, 0.0))
    return ContrastLimits(engine_sha256=network.digest, **limits)


def write_limits(limits: ContrastLimits) -> None:
    """The limits as a module of the pipeline."""
    lines = [f"    {one.name}={getattr(limits, one.name)!r}," for one in fields(limits)]
    LIMITS_FILE.write_text(
        f'"""Limits of the guards of mr-postcontrast. Written by `{COMMAND} --calibrate`, not by hand."""'
        "\n\nfrom pipelines.limits import ContrastLimits\n\nLIMITS = ContrastLimits(\n"
        + "\n".join(lines).replace("'", '"')
        + "\n)\n",
        encoding="utf-8",
    )


def unexpected(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Without the controls that nobody can see where the skull was removed: that caution is no false alarm."""
    return tuple(one for one in findings if not (one.name.startswith("control_") and one.value is None))


def qualify(
    series: Iterable[HeadSeries],
    network: Network,
    of: tuple[Check, ...],
    other: Callable[[HeadSeries], HeadSeries],
    say: Callable[[str], None],
) -> dict[str, Tally]:
    """Row of the table -> what happened; the first row is of clean cases."""
    rows: dict[str, Tally] = {"clean": Tally()}
    source = tuple(one for one in of if isinstance(one, OF_SOURCE))
    for number, one in enumerate(series, start=1):
        result = network.whole(one)
        rows["clean"].add(one.name, unexpected(judge(network, one, result, of)))
        for name, faults in (*ASKED.items(), *BESIDES.items()):
            for fault in faults:
                label = name if len(faults) == 1 else f"{name} ({fault.__name__.replace('_', ' ')})"
                faulty: FaultyHead | None = fault(one, result, other(one))
                if faulty is not None:
                    at_fault = faulty.result is None
                    made = result if faulty.result is None else faulty.result
                    findings = judge(network, faulty.series, made, source if at_fault else of)
                    rows.setdefault(label, Tally()).add(one.name, unexpected(findings))
        say(f"{number}: {one.name}")
    return rows


def cost_ms(network: Network, series: HeadSeries, of: tuple[Check, ...]) -> float:
    """Processor time of all checks per slice of 256x256 on this thread, the network's own part taken out, ms."""
    case = network.case(series, network.whole(series))
    idle = replace(case, again=lambda image, index: image, unsure=lambda index: case.source.voxels[index])
    began = time.process_time()
    for one in of:
        one(idle)
    seconds = time.process_time() - began
    return 1000.0 * seconds * 256 * 256 / case.source.voxels.size


def section(limits: ContrastLimits, cost: float) -> Section:
    """What the table says of itself."""
    return Section(
        title="Guards of mr-postcontrast: false alarms and injected faults",
        lines=(
            f"Made by `{COMMAND} --calibrate`. Limits come from {len(CASES[Part.CALIBRATE])} simulated cases of head",
            f"04, this table from {len(CASES[Part.QUALIFY])} of heads 05 and 06, which no network saw: T1, T2 and",
            "FLAIR with and without the skull, lesions of all kinds, slices of 3 to 5 mm. Every case went through the",
            "shipped network. Headers are made, complete and inside the envelope. Faults of the source are judged by",
            "the checks of the source alone. Where the skull was removed, sinus and base cannot be seen; that caution",
            "is expected and counts neither as a false alarm nor as a detection.",
            "",
            f"Pipeline {MR_POSTCONTRAST.version}, weights `{limits.engine_sha256[:20]}…`. All checks together: "
            f"{cost:.1f} ms",
            "per slice of 256x256 on one core, without the network's runs on one slice of 20.",
        ),
        asked=frozenset(ASKED),
        limits={one.name: getattr(limits, one.name) for one in fields(limits) if one.name != "engine_sha256"},
    )


def main() -> None:
    """Calibrate if asked, then qualify, write the table, print JSON."""
    given = asked_for(COMMAND, __doc__, few="one of four cases", threads=2)
    say = teller()

    def other(series: HeadSeries) -> HeadSeries:
        """A case of the other head."""
        return strangers[6 if "head 05" in series.name else 5]

    spec = load_spec(MR_POSTCONTRAST.engine)
    limits = LIMITS
    with OrtEngine(spec, threads=given.threads) as engine:
        network = Network(engine, spec.sha256)
        if given.calibrate:
            limits = calibrate(head_series(Part.CALIBRATE, few=given.few), network)
            write_limits(limits)
            say(f"limits: {limits}")
        of = checks(limits)
        strangers = {head: head_case(*next(c for c in CASES[Part.QUALIFY] if c[0] == head)) for head in (5, 6)}
        rows = qualify(head_series(Part.QUALIFY, few=given.few), network, of, other, say)
        cost = cost_ms(network, strangers[5], of)
    conclude(given, section(limits, cost), rows, limits, cost, spec.sha256)


if __name__ == "__main__":
    main()
