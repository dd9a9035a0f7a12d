"""Signals before and after gadolinium against their closed forms (NETWORKS C2)."""

import numpy as np
import pytest

from engines.training.contrast_physics import (
    Weighting,
    ernst_deg,
    flair,
    mprage,
    null_ms,
    protocol,
    relaxed,
    rician,
    spgr,
    spin_echo,
    tofts,
)

SPGR = {"tr": 8.0, "te": 0.0, "flip_deg": 12.0}


def one(value: float) -> np.ndarray:
    return np.array([value])


@pytest.mark.parametrize(
    ("t1", "gd_mm", "percent"), [(1500.0, 0.2, 86.0), (1400.0, 0.02, 11.0), (850.0, 0.01, 3.0), (1500.0, 0.0, 0.0)]
)
def test_tissue_enhances_by_what_the_report_says(t1: float, gd_mm: float, percent: float) -> None:
    before = spgr(one(t1), one(1e9), one(1.0), **SPGR)
    after = spgr(relaxed(one(t1), 4.5, one(gd_mm)), one(1e9), one(1.0), **SPGR)

    assert 100.0 * float(after[0] / before[0] - 1.0) == pytest.approx(percent, abs=1.5)


def test_relaxation_rates_add() -> None:
    made = relaxed(one(1500.0), 4.5, one(0.2))

    assert 1.0 / made[0] == pytest.approx(1.0 / 1500.0 + 4.5e-3 * 0.2)


def test_a_gradient_echo_is_brightest_at_the_ernst_angle() -> None:
    flips = np.linspace(1.0, 40.0, 3901)
    signal = [float(spgr(one(1200.0), one(1e9), one(1.0), tr=9.0, te=0.0, flip_deg=flip)[0]) for flip in flips]

    assert flips[int(np.argmax(signal))] == pytest.approx(ernst_deg(1200.0, 9.0), abs=0.02)


def test_flair_nulls_fluid_and_nothing_else() -> None:
    ti = null_ms(4200.0, 9000.0)
    fluid = flair(one(4200.0), one(1800.0), one(1.0), tr=9000.0, ti=ti, te=120.0)[0]
    grey = flair(one(1400.0), one(95.0), one(0.82), tr=9000.0, ti=ti, te=120.0)[0]

    assert fluid == pytest.approx(0.0, abs=1e-9)
    assert grey > 0.1


def test_a_spin_echo_falls_by_e_within_t2_and_saturates_with_tr() -> None:
    early, late = (spin_echo(one(900.0), one(80.0), one(1.0), tr=1e9, te=te)[0] for te in (20.0, 100.0))
    short = spin_echo(one(900.0), one(1e9), one(1.0), tr=900.0, te=0.0)[0]

    assert late / early == pytest.approx(np.exp(-1.0))
    assert short == pytest.approx(1.0 - np.exp(-1.0))


def test_mprage_with_vanishing_flips_is_inversion_recovery() -> None:
    tr, ti, t1 = 2000.0, 900.0, 1000.0
    made = mprage(one(t1), one(1e9), one(1.0), tr=tr, ti=ti, te=0.0, flip_deg=1e-3, echo=7.0, pulses=100)[0]
    steady = (1.0 - np.exp(-tr / t1)) / (1.0 + np.exp(-tr / t1))
    closed = abs(1.0 - (1.0 + steady) * np.exp(-ti / t1))

    assert made / np.sin(np.deg2rad(1e-3)) == pytest.approx(closed, rel=1e-6)


def test_mprage_is_what_stepping_through_its_cycles_gives() -> None:
    t1, cos = 1100.0, np.cos(np.deg2rad(9.0))
    longitudinal, centre = 1.0, 0.0
    for _ in range(12):
        longitudinal = 1.0 - (1.0 + longitudinal) * np.exp(-(900.0 - 7.0 * 80) / t1)
        for pulse in range(160):
            if pulse == 80:
                centre = longitudinal
            longitudinal = 1.0 - (1.0 - longitudinal * cos) * np.exp(-7.0 / t1)
        longitudinal = 1.0 - (1.0 - longitudinal) * np.exp(-(2000.0 - 900.0 - 7.0 * 80) / t1)
    made = mprage(one(t1), one(1e9), one(1.0), tr=2000.0, ti=900.0, te=0.0, flip_deg=9.0, echo=7.0, pulses=160)[0]

    assert made == pytest.approx(abs(centre) * np.sin(np.deg2rad(9.0)), rel=1e-6)


def test_uptake_from_constant_plasma_is_the_closed_form() -> None:
    vp, ktrans, ve, cp, step = 0.05, 0.1, 0.25, 0.7, 0.05
    t = np.arange(0, 121) * step
    made = tofts(vp, ktrans, ve, np.full(121, cp), step)

    assert made == pytest.approx(vp * cp + ve * cp * (1.0 - np.exp(-ktrans / ve * t)), rel=1e-9)


def test_noise_without_signal_has_the_mean_of_rayleigh() -> None:
    found = rician(np.random.default_rng(0), np.zeros(400_000, dtype=np.float32), 2.0)

    assert float(found.mean()) == pytest.approx(2.0 * np.sqrt(np.pi / 2.0), rel=0.005)


def test_every_weighting_is_drawn_and_gadolinium_brightens_in_each() -> None:
    seen = set()
    for seed in range(40):
        plan = protocol(np.random.default_rng(seed), 4200.0)
        seen.add(plan.weighting)
        tumour = one(1500.0), one(140.0), one(0.88)
        after = relaxed(tumour[0], plan.r1, one(0.25)), relaxed(tumour[1], plan.r2, one(0.25)), tumour[2]
        assert plan.t1(*after)[0] > 1.1 * plan.t1(*tumour)[0], plan.weighting

    assert seen == set(Weighting)
