"""Which series of a study go together: functions of what fits, a rule and a clock that is handed in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from node.records.gatherings import Candidate, Gathering
from node.records.states import GatheringState
from node.settings.rules import Missing, Rule
from pipelines.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the candidates of a study allow.

    chosen:  role -> its series
    missing: roles that nothing fits
    trouble: why a person has to choose; empty if the rule decides
    """

    chosen: Mapping[str, Candidate]
    missing: tuple[str, ...]
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of a gathering now; `chosen` only when it is ready."""

    state: GatheringState
    reason: str
    chosen: Mapping[str, Candidate]


def faults(pipeline: Pipeline, rule: Rule) -> list[str]:
    """What a rule asks of the roles of its pipeline that cannot be; empty if all is well."""
    found = [
        f"{pipeline.name} has no role {name!r}; it has {', '.join(pipeline.roles) or 'none'}"
        for name in rule.roles
        if name not in pipeline.roles
    ]
    if rule.missing is Missing.PROCEED and not pipeline.optional:
        found.append(f"missing is proceed, but {pipeline.name} needs every series that it takes")
    return found


def choose(pipeline: Pipeline, rule: Rule, candidates: Mapping[str, Sequence[Candidate]]) -> Choice:
    """One series for each role; the order in which they came does not count."""
    chosen: dict[str, Candidate] = {}
    troubles = []
    for role in pipeline.roles:
        fitting = sorted(candidates.get(role, ()), key=_order)
        prefer = rule.role(role).prefer
        if len(fitting) > 1 and prefer is None:
            troubles.append(
                f"{len(fitting)} series fit the role {role}: {_names(fitting)}; "
                "narrow its conditions in the rule or set `prefer`"
            )
        elif fitting:
            chosen[role] = fitting[-1 if prefer == "newest" else 0]
    by_series: dict[tuple[str, str], list[str]] = {}
    for role, one in chosen.items():
        by_series.setdefault((one.series_uid, one.part), []).append(role)
    for roles in by_series.values():
        if len(roles) > 1:
            troubles.append(
                f"series {_names([chosen[roles[0]]])} fits the roles {' and '.join(roles)}; "
                "tell them apart in the rule's conditions"
            )
    missing = tuple(role for role in pipeline.roles if not candidates.get(role))
    return Choice(chosen=chosen, missing=missing, trouble="; ".join(troubles))


def judge(
    gathering: Gathering,
    pipeline: Pipeline,
    rule: Rule,
    *,
    patients: int,
    last_at: float,
    unfinished: int,
    now: float,
) -> Verdict:
    """What becomes of a study's series.

    patients:   how many different patients they name
    last_at:    when the last instance of the study came, seconds since the epoch
    unfinished: series of the study that are not complete yet; they are waited for beyond the rule's time
    now:        seconds since the epoch
    """
    if patients > 1:
        return _verdict(GatheringState.REFUSED, f"the series of the study name {patients} different patients")
    choice = choose(pipeline, rule, gathering.candidates)
    if choice.trouble:
        return _verdict(GatheringState.HELD, choice.trouble)
    if not choice.missing and not (pipeline.together and unfinished):
        return _verdict(GatheringState.READY, "", choice.chosen)
    if not choice.missing:  # one of them may say something about those that are here
        return _verdict(GatheringState.WAITING, f"waits for {unfinished} series of the study that are not complete")
    lacks = f"no series for {', '.join(choice.missing)}"
    enough = pipeline.optional.issuperset(choice.missing)
    if enough and len(pipeline.optional) - len(choice.missing) < pipeline.least:
        enough, lacks = False, f"{lacks} ({pipeline.name} needs {pipeline.least} of {_or(pipeline.optional)})"
    until = last_at + rule.wait_s
    # A clock that was set back must not stop the timer: what came in the future counts as long ago.
    if last_at <= now < until:
        return _verdict(GatheringState.WAITING, f"{lacks}; waits until {_time(until)} if nothing more comes")
    if unfinished:
        return _verdict(GatheringState.WAITING, f"{lacks}; waits for {unfinished} series that are not complete")
    if rule.missing is Missing.DROP:
        return _verdict(GatheringState.DROPPED, f"{lacks} came within {rule.wait_s:g} s")
    if rule.missing is Missing.PROCEED and enough:
        return _verdict(GatheringState.READY, f"{lacks} came within {rule.wait_s:g} s; made without", choice.chosen)
    return _verdict(GatheringState.HELD, f"{lacks} came within {rule.wait_s:g} s")


def _verdict(state: GatheringState, reason: str, chosen: Mapping[str, Candidate] | None = None) -> Verdict:
    return Verdict(state=state, reason=reason, chosen=chosen or {})


def _order(one: Candidate) -> tuple[str, str, str]:
    return one.acquired, one.series_uid, one.part


def _names(some: Sequence[Candidate]) -> str:
    return " and ".join(one.series_uid + ("" if one.part == "all" else f" ({one.part})") for one in some)


def _or(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
