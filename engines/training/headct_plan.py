"""What lesion a head is given: its kind, site, size, and the force it puts on the rest (NETWORKS C4). numpy only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from engines.training.headct_anatomy import Anatomy, Matter, Volume
from engines.training.headct_ischaemia import HIND, TERRITORIES, Age, infarct, mass, transudate
from engines.training.headct_lesions import (
    Lesion,
    Point,
    haemorrhage,
    in_cisterns,
    in_ventricles,
    log_uniform,
    pressing,
    shell,
    swelling,
)
from engines.training.headct_shape import Looks, Pull, Subject, placed


class Kind(StrEnum):
    """What a case shows."""

    NORMAL = "normal"
    ICH = "intraparenchymal haemorrhage"
    SDH = "subdural haematoma"
    EDH = "epidural haematoma"
    SAH = "subarachnoid haemorrhage"
    IVH = "intraventricular haemorrhage"
    INFARCT = "infarct"
    MASS = "mass with oedema"
    HYDROCEPHALUS = "hydrocephalus"


BLOOD = (Kind.ICH, Kind.SDH, Kind.EDH, Kind.SAH, Kind.IVH)
SITES = {  # of haemorrhages: matter, share of cases (Qureshi, NEJM 2001: deep half, lobar a third, hind a tenth each)
    "ganglia": ((Matter.GANGLIA,), 0.35),
    "thalamus": ((Matter.THALAMUS,), 0.15),
    "lobar": ((Matter.WHITE,), 0.34),
    "cerebellum": ((Matter.HIND_WHITE, Matter.HIND_GREY), 0.10),
    "stem": ((Matter.STEM,), 0.06),
}
MOST_ML = {"ganglia": 60.0, "thalamus": 25.0, "lobar": 60.0, "cerebellum": 25.0, "stem": 8.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A lesion before it is there.

    centre: (z, y, x) voxel of the head, where it has one; side: 1 left, -1 right
    looks:  of the head, changed where the lesion changes them
    push:   what it does to the rest of the brain
    """

    kind: Kind
    looks: Looks
    side: int = 1
    centre: Point = field(default_factory=lambda: np.zeros(3))
    volume_ml: float = 0.0
    push: Pull | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def planned(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, kind: Kind, volume_ml: float | None) -> Plan:
    """Draw a lesion. raises: ValueError for a kind without lesion"""
    if kind not in _PLANS:
        raise ValueError(f"{kind} has no lesion.")
    return _PLANS[kind](rng, anatomy, looks, volume_ml)


def _voxel(
    rng: np.random.Generator, anatomy: Anatomy, matters: tuple[Matter, ...], *, middle: bool
) -> tuple[Point, int]:
    """A voxel of such matter, and its side; `middle`: not at the edge of its hemisphere's part."""
    side = int(rng.choice((-1, 1)))
    places = np.argwhere(np.isin(anatomy.matter, matters) & (anatomy.side == side) & anatomy.content)
    rows = np.isin(anatomy.matter, (Matter.HIND_GREY, Matter.GREY, Matter.STEM)).sum(axis=(1, 2)) > 700
    places = places[rows[places[:, 0]]]  # a head examination shows it
    if middle:
        centre = np.median(places, axis=0)
        near = np.linalg.norm((places - centre) / np.maximum(places.std(0), 1.0), axis=1)
        places = places[near <= np.quantile(near, 0.6)]
    place: Point = places[int(rng.integers(len(places)))].astype(np.float64)
    return place, side


def _ich(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    shown = np.unique(anatomy.matter)
    names = [name for name, (matters, _) in SITES.items() if np.isin(matters, shown).any()]
    likely = np.array([SITES[name][1] for name in names])
    site = str(rng.choice(names, p=likely / likely.sum()))
    if volume_ml is not None and volume_ml > MOST_ML[site]:
        site = "lobar"
    ml = volume_ml if volume_ml is not None else log_uniform(rng, 0.5, MOST_ML[site])
    place, side = _voxel(rng, anatomy, SITES[site][0], middle=site != "lobar")
    centre = placed(anatomy, looks, place)
    push = swelling(centre, ml, float(rng.uniform(0.5, 0.95)))
    return Plan(kind=Kind.ICH, looks=looks, side=side, centre=centre, volume_ml=ml, push=push, facts={"site": site})


def _over_the_brain(kind: Kind) -> Callable[..., Plan]:
    def plan(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
        side = int(rng.choice((-1, 1)))
        # To the side, a little upwards, anywhere from the front to the back.
        high, front = rng.uniform(0.0, 0.9), rng.uniform(-0.9, 0.9)
        outwards = np.array([high, front, side * rng.uniform(0.7, 1.3)])
        middle = placed(anatomy, looks, np.argwhere(anatomy.content[::4, ::4, ::4]).mean(0) * 4.0)
        push = pressing(middle, outwards, float(rng.uniform(3.0, 8.0)), 0.7 if kind is Kind.SDH else 0.45)
        return Plan(kind=kind, looks=looks, side=side, centre=outwards, push=push)

    return plan


def _sah(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    deep = np.argwhere(np.isin(anatomy.matter, (Matter.THALAMUS, Matter.GANGLIA)))
    if rng.random() < 0.65:  # an aneurysm: the cisterns below the thalami
        low, front = np.quantile(deep[:, 0], 0.03), np.quantile(deep[:, 1], 0.45)
        place = np.array([low - 3.0, front, deep[:, 2].mean()]) + rng.normal(0.0, (3.0, 6.0, 9.0))
        facts = {"site": "cisterns", "reach_mm": float(rng.uniform(22.0, 55.0))}
    else:
        place, _ = _voxel(rng, anatomy, (Matter.CSF,), middle=False)
        facts = {"site": "sulci", "reach_mm": float(rng.uniform(14.0, 32.0))}
    return Plan(kind=Kind.SAH, looks=looks, centre=placed(anatomy, looks, place), facts=facts)


def _ivh(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    ml = volume_ml if volume_ml is not None else log_uniform(rng, 1.0, 25.0)
    wider = replace(looks, ventricles_mm=looks.ventricles_mm + float(rng.uniform(0.0, 1.5)))
    return Plan(kind=Kind.IVH, looks=wider, volume_ml=ml)


def _infarct(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    names = [*TERRITORIES, HIND]
    name = str(rng.choice(names, p=(0.27, 0.25, 0.15, 0.08, 0.15, 0.10)))
    age = Age(str(rng.choice(list(Age), p=(0.25, 0.4, 0.35))))
    facts = {"territory": name, "age_of_infarct": age.value, "part": float(rng.uniform(0.45, 1.0))}
    return Plan(kind=Kind.INFARCT, looks=looks, side=int(rng.choice((-1, 1))), facts=facts)


def _mass(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    ml = volume_ml if volume_ml is not None else log_uniform(rng, 4.0, 60.0)
    hind = rng.random() < 0.15
    place, side = _voxel(rng, anatomy, (Matter.HIND_WHITE,) if hind else (Matter.WHITE,), middle=hind)
    ml = min(ml, 20.0) if hind and volume_ml is None else ml
    centre = placed(anatomy, looks, place)
    push = swelling(centre, ml, float(rng.uniform(0.5, 1.0)))
    return Plan(kind=Kind.MASS, looks=looks, side=side, centre=centre, volume_ml=ml, push=push)


def _hydrocephalus(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, volume_ml: float | None) -> Plan:
    wider = replace(looks, ventricles_mm=float(rng.uniform(4.0, 9.0)), sulci=float(rng.uniform(-0.25, -0.1)))
    return Plan(kind=Kind.HYDROCEPHALUS, looks=wider)


_PLANS: Mapping[Kind, Callable[..., Plan]] = {
    Kind.ICH: _ich,
    Kind.SDH: _over_the_brain(Kind.SDH),
    Kind.EDH: _over_the_brain(Kind.EDH),
    Kind.SAH: _sah,
    Kind.IVH: _ivh,
    Kind.INFARCT: _infarct,
    Kind.MASS: _mass,
    Kind.HYDROCEPHALUS: _hydrocephalus,
}


def inserted(rng: np.random.Generator, subject: Subject, hu: Volume, plan: Plan) -> Lesion:
    """The planned lesion in the painted head."""
    match plan.kind:
        case Kind.ICH:
            return haemorrhage(rng, subject, hu, plan.centre, plan.volume_ml)
        case Kind.SDH | Kind.EDH:
            return shell(rng, subject, hu, outwards=plan.centre, side=plan.side, lens=plan.kind is Kind.EDH)
        case Kind.SAH:
            return in_cisterns(rng, subject, hu, plan.centre, plan.facts["reach_mm"])
        case Kind.IVH:
            return in_ventricles(rng, subject, hu, plan.volume_ml)
        case Kind.INFARCT:
            facts = plan.facts
            age = Age(facts["age_of_infarct"])
            return infarct(rng, subject, hu, facts["territory"], plan.side, age, facts["part"])
        case Kind.MASS:
            return mass(rng, subject, hu, plan.centre, plan.volume_ml)
        case _:
            return transudate(rng, subject, hu)
