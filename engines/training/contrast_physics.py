"""MR signals of tissue before and after gadolinium: closed forms, and the sequences that a case may be shown with.

Times in ms, concentrations in mM, rates in 1/ms where not said otherwise. All functions work on arrays. NETWORKS C2;
spoiled gradient echo after Ernst 1966, MPRAGE after Deichmann et al. 2000, uptake after Tofts et al. 1999.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def relaxed(t_ms: Array, relaxivity: float, concentration_mm: Array) -> Array:
    """Relaxation time with gadolinium: 1/T' = 1/T + r C. relaxivity: 1/(mM s); returns ms."""
    made: Array = t_ms / (1.0 + t_ms * (relaxivity * 1e-3) * concentration_mm)
    return made


def spgr(t1: Array, t2star: Array, pd: Array, *, tr: float, te: float, flip_deg: float) -> Array:
    """Spoiled gradient echo in its steady state."""
    alpha = np.deg2rad(flip_deg)
    e1 = np.exp(-tr / t1)
    made: Array = pd * np.sin(alpha) * (1.0 - e1) / (1.0 - e1 * np.cos(alpha)) * np.exp(-te / t2star)
    return made


def ernst_deg(t1: float, tr: float) -> float:
    """The flip angle at which `spgr` is largest."""
    return float(np.rad2deg(np.arccos(np.exp(-tr / t1))))


def mprage(
    t1: Array, t2star: Array, pd: Array, *, tr: float, ti: float, te: float, flip_deg: float, echo: float, pulses: int
) -> Array:
    """Inversion, a train of `pulses` small flips every `echo` ms with the centre of k-space at `ti`, and a pause.

    tr: from inversion to inversion. The steady state of the whole cycle; magnitude.
    """
    cos = np.cos(np.deg2rad(flip_deg))
    wait = ti - echo * pulses / 2.0
    e_wait, e_rest = np.exp(-wait / t1), np.exp(-(tr - wait - echo * pulses) / t1)
    e_echo = np.exp(-echo / t1)
    driven = (1.0 - e_echo) / (1.0 - cos * e_echo)  # where the train pulls the magnetisation to
    half = (cos * e_echo) ** (pulses / 2.0)
    whole = half**2
    before = 1.0 - e_rest + e_rest * (driven * (1.0 - whole) + whole * (1.0 - e_wait))
    before = before / (1.0 + e_rest * whole * e_wait)
    start = 1.0 - e_wait * (1.0 + before)
    centre = driven + (start - driven) * half
    made: Array = pd * np.abs(centre) * np.sin(np.deg2rad(flip_deg)) * np.exp(-te / t2star)
    return made


def spin_echo(t1: Array, t2: Array, pd: Array, *, tr: float, te: float) -> Array:
    """Spin echo, and turbo spin echo with its effective echo time."""
    made: Array = pd * (1.0 - np.exp(-tr / t1)) * np.exp(-te / t2)
    return made


def flair(t1: Array, t2: Array, pd: Array, *, tr: float, ti: float, te: float) -> Array:
    """Inversion recovery with a long echo time; magnitude."""
    made: Array = pd * np.abs(1.0 - 2.0 * np.exp(-ti / t1) + np.exp(-tr / t1)) * np.exp(-te / t2)
    return made


def null_ms(t1: float, tr: float) -> float:
    """The inversion time at which `flair` shows nothing of a tissue."""
    return float(t1 * np.log(2.0 / (1.0 + np.exp(-tr / t1))))


def tofts(vp: float, ktrans: float, ve: float, cp_mm: Array, step_min: float) -> Array:
    """Extended Tofts: Ct(t) = vp Cp + Ktrans ∫ Cp e^{-Ktrans (t - τ) / ve} dτ, mM.

    ktrans: 1/min; cp_mm: plasma, one value every `step_min` from the injection on, linear between them
    """
    rate = ktrans / ve
    keep = np.exp(-rate * step_min)
    tissue = np.zeros(len(cp_mm))
    # Exact for a plasma curve that is linear between its samples.
    first = (1.0 - keep) / rate
    second = (step_min - first) / (rate * step_min)
    for k in range(1, len(cp_mm)):
        tissue[k] = tissue[k - 1] * keep + cp_mm[k - 1] * (first - second) + cp_mm[k] * second
    made: Array = vp * cp_mm + ktrans * tissue
    return made


def plasma(peak_mm: float, minutes: float, step_min: float) -> Array:
    """Plasma after a bolus: first pass washed out to `peak_mm` within a minute, then a slow decay (mM)."""
    t = np.arange(0.0, minutes + step_min / 2, step_min)
    made: Array = peak_mm * (1.0 - np.exp(-t / 0.2)) * (np.exp(-t / 30.0) + 2.0 * np.exp(-t / 0.6))
    return made


def rician(rng: np.random.Generator, signal: Array, sd: float) -> Array:
    """The magnitude of the signal with noise of `sd` in both channels."""
    shape = signal.shape
    one, other = (rng.standard_normal(shape, dtype=np.float32) * np.float32(sd) for _ in range(2))
    made: Array = np.hypot(signal + one, other)
    return made


class Weighting(StrEnum):
    """How a T1-weighted image was made."""

    SPGR = "SPGR"
    MPRAGE = "MPRAGE"
    SPIN_ECHO = "SE"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The sequences and the agent of one case."""

    weighting: Weighting
    t1: Callable[[Array, Array, Array], Array]  # of T1, T2, PD
    t2: Callable[[Array, Array, Array], Array]
    flair: Callable[[Array, Array, Array], Array]
    r1: float
    r2: float
    plasma_mm: float
    minutes: float


def protocol(rng: np.random.Generator, csf_t1: float) -> Protocol:
    """Drawn anew for every case; T2* of a gradient echo is taken as 0.7 T2."""
    kind = list(Weighting)[int(rng.choice(3, p=(0.4, 0.35, 0.25)))]
    te = float(rng.uniform(1.5, 4.5))
    if kind is Weighting.SPGR:
        tr, flip = float(rng.uniform(6.0, 25.0)), float(rng.uniform(10.0, 28.0))

        def t1w(t1: Array, t2: Array, pd: Array) -> Array:
            return spgr(t1, 0.7 * t2, pd, tr=tr, te=te, flip_deg=flip)

    elif kind is Weighting.MPRAGE:
        repeat, inversion = float(rng.uniform(1700.0, 2500.0)), float(rng.uniform(850.0, 1100.0))
        small, pulses = float(rng.uniform(7.0, 11.0)), int(rng.integers(130, 190))

        def t1w(t1: Array, t2: Array, pd: Array) -> Array:
            return mprage(t1, 0.7 * t2, pd, tr=repeat, ti=inversion, te=te, flip_deg=small, echo=7.0, pulses=pulses)

    else:
        long, short = float(rng.uniform(400.0, 750.0)), float(rng.uniform(8.0, 18.0))

        def t1w(t1: Array, t2: Array, pd: Array) -> Array:
            return spin_echo(t1, t2, pd, tr=long, te=short)

    t2_tr, t2_te = float(rng.uniform(3000.0, 7000.0)), float(rng.uniform(80.0, 120.0))
    fl_tr, fl_te = float(rng.uniform(7000.0, 11000.0)), float(rng.uniform(90.0, 150.0))
    fl_ti = null_ms(csf_t1, fl_tr) * float(rng.uniform(0.9, 1.02))
    r1 = float(rng.uniform(3.3, 5.0))
    return Protocol(
        weighting=kind,
        t1=t1w,
        t2=lambda t1, t2, pd: spin_echo(t1, t2, pd, tr=t2_tr, te=t2_te),
        flair=lambda t1, t2, pd: flair(t1, t2, pd, tr=fl_tr, ti=fl_ti, te=fl_te),
        r1=r1,
        r2=r1 * float(rng.uniform(1.2, 1.5)),
        plasma_mm=float(rng.uniform(0.5, 0.9)),
        minutes=float(rng.uniform(5.0, 8.0)),
    )
