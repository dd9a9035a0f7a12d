"""The figures of D5 from the rows of all cases, and the lines of acceptance. Every case is simulated."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training import headct_measures as measured
from engines.training.evaluation import Line
from engines.training.headct import BLOOD, Kind
from engines.training.measures import Interval, interval

METHODS = ("network", "threshold rule", "asymmetry index", "atlas z-map")
SPECIFICITY = 0.9
BIG_ML = 5.0
ICH_BINS_ML = (0.5, 2.0, 5.0, 15.0, 60.5)
MARKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # false marks in a normal case


class Part(StrEnum):
    """What a case is for."""

    ATLAS = "atlas"
    NORMAL = "normal"
    ABNORMAL = "abnormal"
    BLANK = "every step of an insertion, nothing inserted"
    TURNED = "turned"
    ODD = "out of scope"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case.

    scores:   by method; without "network" when the pipeline gave none
    peaks:    method -> whether its strongest place lies on the lesion
    marks:    of the network's map: strength and whether it lies on the lesion
    plain:    figures of the image alone, for the test that insertion leaves no traces
    reasons:  why the pipeline gave no score
    """

    part: Part
    kind: str
    group: str
    volume_ml: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    probability: float | None = None
    flagged: bool = False
    peaks: Mapping[str, bool] = field(default_factory=dict)
    marks: tuple[tuple[float, bool], ...] = ()
    plain: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    by_image: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def analysed(self) -> bool:
        """Whether the pipeline gave a score."""
        return "network" in self.scores


Rows = Sequence[Row]


def of(rows: Rows, part: Part, kinds: Sequence[str] = ()) -> list[Row]:
    """Rows of a part, of some kinds or all."""
    return [row for row in rows if row.part is part and (not kinds or row.kind in kinds)]


def scores(rows: Rows, method: str) -> NDArray[np.float64]:
    """Of those that have one by this method."""
    return np.array([row.scores[method] for row in rows if method in row.scores], dtype=np.float64)


def paired(rows: Rows, first: str, second: str) -> NDArray[np.float64]:
    """(n, 2) of those that have both."""
    both = [row for row in rows if first in row.scores and second in row.scores]
    return np.array([[row.scores[first], row.scores[second]] for row in both], dtype=np.float64).reshape(-1, 2)


def figures_of(normal: Rows, abnormal: Rows, method: str) -> dict[str, Any]:
    """AUC and sensitivity at 90 % specificity of a method; empty when a side has no score."""
    no, yes = scores(normal, method), scores(abnormal, method)
    if not len(no) or not len(yes):
        return {}
    return {
        "auc": measured.area(no, yes).as_json(),
        "sensitivity": measured.sensitivity(no, yes, SPECIFICITY).as_json(),
        **_hits(abnormal, method),
    }


def _hits(abnormal: Rows, method: str) -> dict[str, Any]:
    found = [float(row.peaks[method]) for row in abnormal if method in row.peaks]
    return {"hit": interval(found).as_json()} if found else {}


def groups(abnormal: Rows) -> dict[str, list[Row]]:
    """The abnormal by kind, haemorrhages by volume, and as D5 wants them together."""
    made: dict[str, list[Row]] = {"all": list(abnormal)}
    made |= {kind.value: [row for row in abnormal if row.kind == kind] for kind in Kind if kind is not Kind.NORMAL}
    ich = made[Kind.ICH.value]
    for low, high in itertools.pairwise(ICH_BINS_ML):
        made[f"{Kind.ICH.value}, {low:g} to {high:g} mL"] = [row for row in ich if low <= row.volume_ml < high]
    made[BIG_ICH] = [row for row in ich if row.volume_ml >= BIG_ML]
    made[DARK] = [row for row in abnormal if row.kind in (Kind.INFARCT, Kind.MASS)]
    made["all blood"] = [row for row in abnormal if row.kind in BLOOD]
    return {name: part for name, part in made.items() if part}


BIG_ICH = f"{Kind.ICH.value} of {BIG_ML:g} mL and more"
DARK = "infarct or mass"


def summary(rows: Rows) -> dict[str, Any]:
    """All figures of the card. Every one is of simulated cases."""
    normal, abnormal = of(rows, Part.NORMAL), of(rows, Part.ABNORMAL)
    found: dict[str, Any] = {
        "cases": {
            "normal": len(normal),
            "abnormal": len(abnormal),
            "analysed_normal": _share(normal),
            "analysed_abnormal": _share(abnormal),
        },
        "groups": {
            name: {"n": len(part), **{method: figures_of(normal, part, method) for method in METHODS}}
            for name, part in groups(abnormal).items()
        },
        "by_head": {
            group: figures_of(
                [row for row in normal if row.group == group],
                [row for row in abnormal if row.group == group],
                "network",
            )
            for group in sorted({row.group for row in normal})
        },
        "alarm_at_1_ml": {
            "specificity": interval([float(row.scores["threshold rule"] <= 1.0) for row in _scored(normal)]).as_json(),
            "sensitivity": interval([float(row.scores["threshold rule"] > 1.0) for row in _scored(abnormal)]).as_json(),
        },
        "flag": {
            "specificity": interval([float(not row.flagged) for row in normal if row.analysed]).as_json(),
            "sensitivity": interval([float(row.flagged) for row in abnormal if row.analysed]).as_json(),
            "on_top": interval([float(row.flagged or not row.analysed) for row in abnormal]).as_json(),
        },
        "worst_case_auc": _worst(normal, abnormal),
    }
    found["roc"] = {m: measured.curve(scores(normal, m), scores(abnormal, m)) for m in METHODS}
    sure, unsure = (
        np.array([row.probability for row in part if row.probability is not None]) for part in (normal, abnormal)
    )
    found["calibration"] = measured.calibration(sure, unsure)
    found["froc"] = measured.froc(
        [[s for s, _ in row.marks] for row in normal if row.analysed],
        [list(row.marks) for row in abnormal if row.analysed],
        MARKS,
    )
    found["out_of_scope"] = out_of_scope(of(rows, Part.ODD))
    found["turned"] = _turned(of(rows, Part.TURNED))
    if blank := of(rows, Part.BLANK):
        found["insertion"] = insertion(normal, blank)
    reasons = sorted({text for row in (*normal, *abnormal) for text in row.reasons})
    found["reasons_in_scope"] = reasons[:20]
    return found


def _scored(rows: Rows) -> list[Row]:
    return [row for row in rows if "threshold rule" in row.scores]


def _share(rows: Rows) -> dict[str, float]:
    return interval([float(row.analysed) for row in rows]).as_json()


def _worst(normal: Rows, abnormal: Rows) -> dict[str, float]:
    """AUC if a normal that was not analysed had the highest score of all, and an abnormal the lowest."""
    no = np.array([row.scores.get("network", np.inf) for row in normal])
    yes = np.array([row.scores.get("network", -np.inf) for row in abnormal])
    return measured.area(no, yes).as_json()


def out_of_scope(rows: Rows) -> dict[str, Any]:
    """Share that was refused, by class and together; and by the image alone."""
    made: dict[str, Any] = {}
    for name in ("all", *dict.fromkeys(row.kind for row in rows)):
        part = [row for row in rows if name in ("all", row.kind)]
        if part:
            made[name] = {
                "refused": interval([float(not row.analysed) for row in part]).as_json(),
                "by_image": interval([float(row.by_image) for row in part]).as_json(),
            }
    return made


def _turned(rows: Rows) -> dict[str, Any]:
    """Largest difference of the probability between ways of lying, and the share analysed, by case."""
    made: dict[str, Any] = {"n": len(rows), "analysed": sum(row.analysed for row in rows)}
    spread = []
    for case in sorted({row.facts["case"] for row in rows}):
        values = [row.scores["network"] for row in rows if row.facts["case"] == case and row.analysed]
        if values:
            spread.append(max(values) - min(values))
    made["largest_logit_difference"] = round(max(spread, default=float("nan")), 4)
    return made


def insertion(normal: Rows, blank: Rows) -> dict[str, Any]:
    """Whether anything tells heads that went through every step of an insertion from those that did not."""
    values = np.array([row.plain for row in (*normal, *blank)])
    labels = np.array([False] * len(normal) + [True] * len(blank))
    made = {"classifier_auc": measured.chance(values, labels).as_json(), "n": len(blank)}
    no, yes = scores(normal, "network"), scores(blank, "network")
    if len(no) and len(yes):
        made["score_auc"] = measured.area(no, yes).as_json()
    return made


def acceptance(rows: Rows) -> list[Line]:
    """The lines of D5 that an evaluation of images can measure; the queue has its own simulation."""
    normal, abnormal = of(rows, Part.NORMAL), of(rows, Part.ABNORMAL)
    parts = groups(abnormal)
    no = scores(normal, "network")

    def line(name: str, value: Interval | None, *, least: float | None = None, lower: bool = False) -> Line:
        if value is None:
            return Line(name=f"simulated: {name}", value=float("nan"), n=0, least=least)
        shown = value.low if lower else value.mean
        low, high = (None, None) if lower else (value.low, value.high)
        return Line(name=f"simulated: {name}", value=shown, n=value.n, low=low, high=high, least=least)

    def auc_of(name: str) -> Interval | None:
        yes = scores(parts.get(name, []), "network")
        return measured.area(no, yes) if len(no) and len(yes) else None

    everything = auc_of("all")
    big = parts.get(BIG_ICH, [])
    gain = (
        measured.area_gain(paired(normal, "network", "threshold rule"), paired(big, "network", "threshold rule"))
        if len(no) and len(scores(big, "network"))
        else None
    )
    yes = scores(abnormal, "network")
    hits = [float(row.peaks["network"]) for row in abnormal if "network" in row.peaks]
    refused = [float(not row.analysed) for row in of(rows, Part.ODD)]
    return [
        line("AUC, all kinds", everything, least=0.85),
        line("AUC, all kinds, lower 95 % bound", everything, least=0.80, lower=True),
        line(f"AUC, {BIG_ICH}", auc_of(BIG_ICH), least=0.95),
        line(f"AUC over that of the threshold rule, {BIG_ICH}", gain, least=-0.01),
        line(f"AUC, {DARK}", auc_of(DARK), least=0.75),
        line(
            "sensitivity at 90 % specificity",
            measured.sensitivity(no, yes, SPECIFICITY) if len(no) and len(yes) else None,
            least=0.70,
        ),
        line("strongest place of the map lies on the lesion", interval(hits) if hits else None, least=0.75),
        line("out of scope and refused", interval(refused) if refused else None, least=0.90),
    ]
