"""Routing with its records: the jobs of a set, and of the sets of a study that go together."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from engines.engine import EngineSpec
from node.errors import Refuse
from node.log import log
from node.processing.gathering import Verdict, judge
from node.processing.parts import Parts, SetPart
from node.records import events, gatherings, jobs, sets
from node.records.database import Records
from node.records.gatherings import Candidate, Gathering
from node.records.states import GatheringState, SetState
from node.settings.rules import Rule
from node.stages.route import Match, Routing, route
from pipelines.pipeline import Pipeline
from pipelines.role import Series


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A job of several series that is recorded and not yet started. `run`: grows with every replay of a series."""

    gathering: Gathering
    job_id: str
    run: int


@dataclass(frozen=True, kw_only=True)
class Router:
    """Matches sets against the rules and records what comes of it.

    specs: engine name -> what is loaded
    clock: seconds since the epoch
    """

    records: Records
    parts: Parts
    rules: tuple[Rule, ...]
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    clock: Callable[[], float]

    def route(self, set_id: str) -> list[str]:
        """Make the jobs of a set, part by part; returns those that have work to do.

        Jobs that take several series are not among them: `ready` gives those. A set whose frames cannot be told is fit
        for no rule; that is no fault of the node.
        """
        with self.records.read() as connection:
            members, found = sets.members(connection, set_id), sets.get(connection, set_id)
        patients = len({member.patient_key for member in members})
        today = datetime.fromtimestamp(self.clock(), UTC).astimezone().date()
        try:
            parts, unreadable = self.parts.of(set_id, members), ""
        except Refuse as error:
            parts, unreadable = (self.parts.unread(members),), str(error)
        routings = [
            (
                part,
                route(part.headers, self.rules, self.pipelines, patients=patients, today=today, unreadable=unreadable),
            )
            for part in parts
        ]
        reasons = _reasons(routings)
        self._read_parts(self._known(members[0].study_uid))
        todo = []
        with self.records.write() as connection:
            matched = any(routing.matches or routing.roles for _, routing in routings)
            state = SetState.ROUTED if matched else SetState.UNMATCHED
            sets.route(connection, set_id, state=state, reasons=reasons)
            for part, routing in routings:
                for match in routing.matches:
                    job = self._job(set_id, part.label, match)
                    if jobs.add(connection, at=self.clock(), job=job):
                        todo.append(str(job["id"]))
            for rule in self.rules:
                if self.pipelines[rule.pipeline].roles:
                    self._gather(connection, rule, members[0].study_uid, found, routings)
        log.info("routed", set=set_id[:12], slices=len(members), parts=len(routings), jobs=len(todo))
        return todo

    def ready(self, *, everything_is_here: bool = False) -> list[Ready]:
        """Look again at the studies that wait; returns the jobs of several series that are to be started.

        everything_is_here: no more will come, so that nothing is waited for
        """
        now = math.inf if everything_is_here else self.clock()
        with self.records.read() as connection:
            waiting = gatherings.in_state(connection, GatheringState.WAITING)
        rules = {rule.name: rule for rule in self.rules if self.pipelines[rule.pipeline].roles}
        for one in waiting:
            if one.rule in rules:
                with self.records.read() as connection:
                    verdict = self._judge(connection, rules[one.rule], one, now)
                if (verdict.state, verdict.reason) != (one.state, one.reason):
                    self._read_parts([*verdict.chosen.values()])
                    with self.records.write() as connection:  # what came in between counts too
                        self._settle(connection, rules[one.rule], one.study_uid, now)
        with self.records.read() as connection:
            return [
                Ready(gathering=one, job_id=one.job, run=jobs.runs(connection, one.job))
                for one in gatherings.in_state(connection, GatheringState.READY)
                if one.job is not None
            ]

    def started(self, ready: Ready) -> None:
        """The job was queued; a second call changes nothing."""
        with self.records.write() as connection:
            now = gatherings.get(connection, ready.gathering.study_uid, ready.gathering.rule)
            if now is not None and now.job == ready.job_id and now.state is GatheringState.READY:
                gatherings.put(connection, replace(now, state=GatheringState.MADE))

    def _known(self, study_uid: str) -> list[Candidate]:
        with self.records.read() as connection:
            found = gatherings.of_study(connection, study_uid)
        return [one for gathering in found for some in gathering.candidates.values() for one in some]

    def _read_parts(self, candidates: Sequence[Candidate]) -> None:
        """Have the child read them now: nobody must wait for it while the records are being written."""
        for one in candidates:
            with contextlib.suppress(Refuse):  # purged since: it is said where it is needed, and only there
                self.parts.of(one.set_id)

    def _job(self, set_id: str, part: str, match: Match, roles: Mapping[str, Sequence[str]] = jobs.NO_ROLES) -> Any:
        pipeline = self.pipelines[match.pipeline]
        spec = self.specs[pipeline.engine]
        return {
            "id": jobs.job_id(
                set_id=set_id,
                part=part,
                pipeline=pipeline.name,
                version=pipeline.version,
                engine_sha256=spec.sha256,
                parameters=match.parameters,
                roles=roles,
            ),
            "set_id": set_id,
            "part": part,
            "rule": match.rule,
            "pipeline": pipeline.name,
            "pipeline_version": pipeline.version,
            "engine_sha256": spec.sha256,
            "parameters": dict(match.parameters),
            "destinations": list(match.destinations),
            "maps": list(match.maps),
            "unfit": list(match.unfit),
        }

    def _gather(
        self,
        connection: Connection,
        rule: Rule,
        study_uid: str,
        found: Mapping[str, Any],
        routings: Sequence[tuple[SetPart, Routing]],
    ) -> None:
        """Note which roles of a rule a set fits, and what that means for its study."""
        fitting: dict[str, list[Candidate]] = {}
        for part, routing in routings:
            for one in routing.roles:
                if one.rule == rule.name:
                    candidate = Candidate(
                        set_id=found["id"],
                        part=part.label,
                        series_uid=found["series_uid"],
                        version=found["version"],
                        acquired=_acquired(part),
                    )
                    fitting.setdefault(one.role, []).append(candidate)
        known = gatherings.get(connection, study_uid, rule.name)
        if known is None:
            if not fitting:
                return
            known = Gathering(study_uid=study_uid, rule=rule.name, state=GatheringState.WAITING, since=self.clock())
        now = known.with_set(found["series_uid"], found["version"], fitting)
        if now.candidates:
            gatherings.put(connection, now)
            self._settle(connection, rule, study_uid, self.clock())

    def _judge(self, connection: Connection, rule: Rule, gathering: Gathering, now: float) -> Verdict:
        last_at, unfinished = gatherings.study_activity(connection, gathering.study_uid)
        return judge(
            gathering,
            self.pipelines[rule.pipeline],
            rule,
            patients=gatherings.patients(connection, gathering),
            last_at=last_at,
            unfinished=unfinished,
            now=now,
        )

    def _settle(self, connection: Connection, rule: Rule, study_uid: str, clock: float) -> None:
        """Record what becomes of a study's series, and the job if there is one now."""
        known = gatherings.get(connection, study_uid, rule.name)
        assert known is not None
        verdict = self._judge(connection, rule, known, clock)
        now = replace(known, state=verdict.state, reason=verdict.reason)
        if verdict.state is GatheringState.READY:
            now = self._make(connection, rule, now, verdict)
        if now.state is not known.state:
            log.info("study gathered", rule=rule.name, state=now.state, roles=len(now.candidates))
            events.add(
                connection,
                at=self.clock(),
                kind=f"gathering {now.state}"[:32],
                subject=study_uid,
                rule=rule.name,
                reason=now.reason,
            )
        gatherings.put(connection, now)

    def _make(self, connection: Connection, rule: Rule, now: Gathering, verdict: Verdict) -> Gathering:
        pipeline = self.pipelines[rule.pipeline]
        grid = verdict.chosen[pipeline.grid]
        try:
            headers = {role: self.parts.one(one.set_id, one.part).headers for role, one in verdict.chosen.items()}
        except Refuse as error:
            return replace(now, state=GatheringState.HELD, reason=str(error))
        if pipeline.together is not None:
            study = gatherings.headers(connection, now.study_uid)
            chosen = {role: Series(uid=one.series_uid, headers=headers[role]) for role, one in verdict.chosen.items()}
            if against := pipeline.together(chosen, [Series(uid=uid, headers=some) for uid, some in study.items()]):
                return replace(now, state=GatheringState.REFUSED, reason="; ".join(against))
        settled = pipeline.parameters.settle(rule.parameters, headers[pipeline.grid])
        if settled.reasons:
            return replace(now, state=GatheringState.HELD, reason="; ".join(settled.reasons))
        match = Match(
            rule=rule.name,
            pipeline=pipeline.name,
            destinations=rule.destinations,
            maps=rule.destinations if rule.map else (),
            parameters=settled.values,
        )
        roles = {role: (one.set_id, one.part) for role, one in verdict.chosen.items()}
        job = self._job(grid.set_id, grid.part, match, roles)
        if not jobs.add(connection, at=self.clock(), job=job, roles=roles):
            return replace(now, state=GatheringState.MADE, job=job["id"])
        if now.job is not None and now.job != job["id"]:
            events.add(connection, at=self.clock(), kind="superseded", subject=now.job, by=job["id"])
        return replace(now, job=job["id"])


def _reasons(routings: Sequence[tuple[SetPart, Routing]]) -> dict[str, list[str]]:
    """Rule by rule and, where a set has several parts, part by part."""
    several = len(routings) > 1
    return {
        f"{rule} of {part.label}" if several else rule: lines
        for part, routing in routings
        for rule, lines in routing.reasons.items()
    }


def _acquired(part: SetPart) -> str:
    """When the earliest slice was acquired, as text that sorts; empty if the headers do not say."""
    times = []
    for header in part.headers:
        date_time = "".join(header.get("AcquisitionDateTime", ()))
        if not date_time:
            date = "".join(header.get("AcquisitionDate", ())) or "".join(header.get("SeriesDate", ()))
            time = "".join(header.get("AcquisitionTime", ())) or "".join(header.get("SeriesTime", ()))
            date_time = date + time
        times.append(date_time)
    return min(times)[:26]
