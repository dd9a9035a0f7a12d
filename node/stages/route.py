"""Route: which pipelines a part of a set goes to, and for every rule that did not match, why.

A function of its arguments. For a pipeline that takes several series it says which roles the part fits; which series of
a study go together is `node/processing/gathering.py`'s to say.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.dicom.gate import ineligible, own_work
from node.dicom.geometry import Stack, stack
from node.dicom.scan import Header
from node.settings import Rule
from pipelines.match import misfits, number
from pipelines.pipeline import Pipeline, Requires
from pipelines.triage import Triage


@dataclass(frozen=True, kw_only=True)
class Match:
    """One job to be made.

    rule:         the first one that asked for the pipeline with these parameters
    destinations: of all rules that did
    maps:         those of rules that want the map, too
    unfit:        of a triage: why it cannot look at the slices; it says so, and the study stands on top of the list
    """

    rule: str
    pipeline: str
    destinations: tuple[str, ...]
    maps: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RoleMatch:
    """One role of a rule that is fit; its job is made when the others are here."""

    rule: str
    role: str


@dataclass(frozen=True, kw_only=True)
class Routing:
    """`reasons`: rule by rule ("rule as role" where it has roles), why it did not match; no lines for one that did."""

    matches: tuple[Match, ...]
    reasons: dict[str, list[str]]
    roles: tuple[RoleMatch, ...] = ()


def route(
    headers: Sequence[Header],
    rules: Sequence[Rule],
    pipelines: Mapping[str, Pipeline],
    *,
    patients: int,
    today: datetime.date,
    unreadable: str = "",
) -> Routing:
    """Match one stack of a complete set against every rule; every slice is asked.

    headers:    of the slices
    patients:   how many different patients the slices name
    today:      dates beyond it are a reason to look, not to process
    unreadable: why the slices of the objects cannot be told; their headers are then those of the objects
    """
    unfit = [unreadable] if unreadable else ineligible(headers, today=today)
    if patients != 1:
        unfit.insert(0, f"the slices name {patients} different patients")
    found = stack(headers)
    matches: dict[tuple[str, str], Match] = {}
    reasons: dict[str, list[str]] = {}
    roles: list[RoleMatch] = []
    for rule in rules:
        pipeline = pipelines[rule.pipeline]
        for name, role in pipeline.roles.items():
            asked = (rule.where, role.where, rule.role(name).where)
            lines = [line for where in asked for line in misfits(where, headers)]
            lines += [*unfit, *outside(role.takes, headers, found), *(role.judge(headers) if role.judge else ())]
            lines = [unreadable] if unreadable else lines
            reasons[f"{rule.name} as {name}"] = list(dict.fromkeys(lines))
            if not lines:
                roles.append(RoleMatch(rule=rule.name, role=name))
        if pipeline.roles:
            continue
        settled = pipeline.parameters.settle(rule.parameters, headers)
        asked_for = misfits(rule.where, headers)
        against = list(dict.fromkeys([*unfit, *outside(pipeline.takes, headers, found), *settled.reasons]))
        if unreadable:  # what else could be said of the objects is not said of their slices
            asked_for, against = (asked_for if pipeline.triage else []), [unreadable]
        told: tuple[str, ...] = ()
        if pipeline.triage is not None:
            # A study that a triage cannot look at stands on top of the list, it does not fall off it (NETWORKS E-15).
            told, against = tuple(against), _strangers(pipeline.triage, headers, patients)
        lines = [*asked_for, *against]
        reasons[rule.name] = list(dict.fromkeys(lines))
        if lines:
            continue
        key = (pipeline.name, json.dumps(settled.values, sort_keys=True))
        before = matches.get(key)
        destinations = (*before.destinations, *rule.destinations) if before else rule.destinations
        maps = (*(before.maps if before else ()), *(rule.destinations if rule.map else ()))
        matches[key] = Match(
            rule=before.rule if before else rule.name,
            pipeline=pipeline.name,
            destinations=tuple(dict.fromkeys(destinations)),
            maps=tuple(dict.fromkeys(maps)),
            unfit=told,
            parameters=settled.values,
        )
    return Routing(matches=tuple(matches.values()), reasons=reasons, roles=tuple(roles))


def _strangers(triage: Triage, headers: Sequence[Header], patients: int) -> list[str]:
    """Why there is nobody whose study a triage could speak of."""
    studies = {header.get("StudyInstanceUID", ()) for header in headers}
    return [
        *triage.candidate(headers),
        *own_work(headers),
        *([f"the slices name {patients} different patients"] if patients != 1 else []),
        *([f"{len(studies)} studies in one set"] if len(studies) != 1 else []),
    ]


def outside(takes: Requires, headers: Sequence[Header], found: Stack) -> list[str]:
    """Where a set leaves what the network was made for."""
    lines = []
    modalities = sorted({"\\".join(header.get("Modality", ("absent",))) for header in headers})
    if modalities != [takes.modality]:
        lines.append(
            f"the network takes Modality {takes.modality}, not {', '.join(ascii(m)[1:-1] for m in modalities)}"
        )
    if len(headers) < takes.minimum_slices:
        lines.append(f"{len(headers)} slice(s); the network takes {takes.minimum_slices} or more")
    if abs(found.tilt_deg) > takes.tilt_deg_max:
        lines.append(f"gantry tilt of {found.tilt_deg:.1f} degrees; the network takes at most {takes.tilt_deg_max:g}")
    for keyword, (low, high), unit in (
        ("PixelSpacing", takes.pixel_spacing_mm, " mm"),
        ("SliceThickness", takes.slice_thickness_mm, " mm"),
        *([("KVP", takes.kvp, " kV")] if takes.kvp else []),
        ("Rows", takes.rows, ""),
        ("Columns", takes.columns, ""),
    ):
        values = [number(text) for header in headers for text in header.get(keyword, ("",)) or ("",)]
        if any(value is None for value in values):
            lines.append(f"{keyword} is missing or no number in some slices; the network needs it")
            continue
        given = [value for value in values if value is not None]
        if min(given) < low or max(given) > high:
            lines.append(
                f"{keyword} {min(given):g} to {max(given):g}{unit}; the network takes {low:g} to {high:g}{unit}"
            )
    return lines
