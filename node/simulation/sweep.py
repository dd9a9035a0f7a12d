"""Many departments under every rule: by utilisation and readers, over a day, and what if something else were so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from node.simulation import closed_form
from node.simulation.cases import Cases, Site, draw
from node.simulation.characteristic import Characteristic
from node.simulation.measures import MEASURES, Estimate, change, estimate, figures
from node.simulation.queue import Discipline, serve

UTILISATIONS: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
READERS: Final = (1, 2, 4)
JUDGED_AT: Final = 0.8  # utilisation of the lines of acceptance (NETWORKS D5)
_CHECK_FAIRLY: Final = replace(Site(), failed=0.0, turnaround_s=0.0)  # what the closed form knows of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is simulated.

    site:          what all departments have in common, besides readers, utilisation and day
    day:           24 weights for the part over a day
    cases:         studies in each replication, the first tenth to warm up
    replications:  of each department
    judged:        times as many for the lines of acceptance and for the check against the closed form
    """

    site: Site
    day: tuple[float, ...]
    utilisations: tuple[float, ...] = UTILISATIONS
    readers: tuple[int, ...] = READERS
    bound_minutes: float = 120.0
    cases: int = 3000
    replications: int = 20
    judged: int = 3
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One department under one rule: measures, and their change against arrival order, by name."""

    part: str
    what: str
    site: Site
    discipline: Discipline
    bound_minutes: float
    measures: Mapping[str, Estimate]
    changes: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of acceptance."""

    name: str
    value: Estimate
    wanted: str
    met: bool


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that was found."""

    plan: Plan
    characteristic: Characteristic
    cells: tuple[Cell, ...]
    lines: tuple[Line, ...]
    check: Mapping[str, Any] = field(default_factory=dict)


class _Department:
    """One site with its studies, drawn once; every rule serves the same."""

    def __init__(self, plan: Plan, site: Site, characteristic: Characteristic, replications: int) -> None:
        self._plan, self.site, self._replications = plan, site, replications
        self._characteristic = characteristic

    @cached_property
    def studies(self) -> list[Cases]:
        plan = self._plan
        return [
            draw(self.site, self._characteristic, plan.cases, seed=plan.seed, replication=number)
            for number in range(self._replications)
        ]

    def found(self, discipline: Discipline, bound: float) -> dict[str, list[float]]:
        rows = [
            figures(one, serve(one, discipline, readers=self.site.readers, bound_minutes=bound)) for one in self.studies
        ]
        return {name: [row[name] for row in rows] for name in MEASURES}

    @cached_property
    def in_turn(self) -> dict[str, list[float]]:
        return self.found(Discipline.ARRIVAL, 0.0)

    def cell(self, part: str, what: str, discipline: Discipline, bound: float) -> Cell:
        values = self.in_turn if discipline is Discipline.ARRIVAL else self.found(discipline, bound)
        return Cell(
            part=part,
            what=what,
            site=self.site,
            discipline=discipline,
            bound_minutes=bound,
            measures={name: estimate(values[name]) for name in MEASURES},
            changes={name: change(values[name], self.in_turn[name]) for name in MEASURES},
        )


def run(
    plan: Plan,
    characteristic: Characteristic,
    others: Sequence[Characteristic],
    progress: Callable[[str, float], None],
) -> Sweep:
    """Simulate the whole plan; the same plan gives the same figures.

    others:   characteristics to compare with, in the part "what if"
    progress: called with what is simulated and the share that is done
    """
    cells: list[Cell] = []
    todo = list(_departments(plan, characteristic, others))
    lines: tuple[Line, ...] = ()
    for number, (part, what, department, bound, rules) in enumerate(todo):
        progress(f"{part}: {what}" if what else part, number / len(todo))
        found = [department.cell(part, what, rule, bound) for rule in rules]
        cells += found
        if part == "acceptance":
            lines = _lines(found[rules.index(Discipline.CREDIT)])
    progress("check", 1.0)
    return Sweep(
        plan=plan, characteristic=characteristic, cells=tuple(cells), lines=lines, check=_check(plan, characteristic)
    )


def _departments(
    plan: Plan, characteristic: Characteristic, others: Sequence[Characteristic]
) -> Iterator[tuple[str, str, _Department, float, tuple[Discipline, ...]]]:
    bound, every = plan.bound_minutes, tuple(Discipline)
    judged = replace(plan.site, day=None, readers=1, utilisation=JUDGED_AT)
    yield "acceptance", "", _Department(plan, judged, characteristic, plan.replications * plan.judged), bound, every
    for part, day in (("any hour alike", None), ("over a day", plan.day)):
        for readers in plan.readers:
            for utilisation in plan.utilisations:
                site = replace(plan.site, day=day, readers=readers, utilisation=utilisation)
                what = f"{readers} reader{'s' * (readers > 1)}, utilisation {utilisation:g}"
                yield part, what, _Department(plan, site, characteristic, plan.replications), bound, every
    rules = (Discipline.ARRIVAL, Discipline.CREDIT)
    for what, site, other, other_bound in _what_if(plan, judged, characteristic, others):
        yield "what if", what, _Department(plan, site, other, plan.replications), other_bound, rules


def _what_if(
    plan: Plan, site: Site, characteristic: Characteristic, others: Sequence[Characteristic]
) -> Iterator[tuple[str, Site, Characteristic, float]]:
    """One thing changed at a time."""
    bound = plan.bound_minutes
    yield "nothing changed", site, characteristic, bound
    for minutes in (0.0, 30.0, 60.0, 240.0):
        yield f"bound {minutes:g} min", site, characteristic, minutes
    for seconds in (0.0, 300.0, 900.0):
        yield f"verdict after {seconds:g} s", replace(site, turnaround_s=seconds), characteristic, bound
    for share in (0.0, 0.1):
        yield f"not analysable {share:.0%}", replace(site, failed=share), characteristic, bound
    for share in (0.05, 0.25, 1.0):
        yield f"triage down {share:.0%} of the time", replace(site, down=share), characteristic, bound
    for share in (0.05, 0.2, 0.3):
        yield f"emergencies {share:.0%}", replace(site, emergencies=share), characteristic, bound
    for other in others:
        yield other.name, site, other, bound


def _lines(cell: Cell) -> tuple[Line, ...]:
    """The lines of the issue and of NETWORKS D5, of the credit rule against arrival order. Met: by the estimate."""
    asked = (
        ("median wait of emergencies, change", "emergencies_median", -0.5, "<= -50 %"),
        ("mean wait of others, change", "others_mean", 0.1, "<= +10 %"),
        ("mean wait of missed emergencies, change", "missed_mean", 0.0, "<= 0 %"),
    )
    found = [(name, cell.changes[measure], wanted, limit) for name, measure, limit, wanted in asked]
    return tuple(
        Line(name=name, value=value, wanted=wanted, met=bool(value.value <= limit))
        for name, value, wanted, limit in found
    )


def _check(plan: Plan, characteristic: Characteristic) -> dict[str, Any]:
    """Mean waits of the two-class case beside its closed form (NETWORKS C5)."""
    fair = replace(_CHECK_FAIRLY, emergencies=plan.site.emergencies, utilisation=JUDGED_AT)
    fair = replace(fair, service_minutes=plan.site.service_minutes, service_sigma=plan.site.service_sigma)
    department = _Department(plan, fair, characteristic, plan.replications * plan.judged)
    found = department.found(Discipline.FLAG, 0.0)
    moments = closed_form.lognormal_moments(fair.service_minutes, fair.service_sigma)
    _, rest, emergencies = closed_form.two_classes(
        fair.per_minute,
        moments,
        emergencies=fair.emergencies,
        sensitivity=characteristic.sensitivity,
        specificity=characteristic.specificity,
    )
    exact = {
        "emergencies_mean, flagged first": (found["emergencies_mean"], emergencies),
        "missed_mean, flagged first": (found["missed_mean"], rest),
        "others_mean, arrival": (department.in_turn["others_mean"], closed_form.one_reader(fair.per_minute, moments)),
    }
    return {name: {**asdict(estimate(values)), "exact": value} for name, (values, value) in exact.items()}
