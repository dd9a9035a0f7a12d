"""Limits of the guards of head-ct-triage. Written by `python -m tests.bench.guards_triage --calibrate`, not by hand."""

from pipelines.steps.guards_triage import TriageLimits

LIMITS = TriageLimits(
    engine_sha256="b77dc39b155ae499dd0dad6fddbb395e59d844a3963a1b6bbe40ad1e06171b02",
    known={
        "air_hu": (-14.0, 14.0),
        "brain_hu": (20.0, 41.0),
        "grey_white": (3.0, 21.0),
        "holes": (0.0, 0.01),
        "brain_ml": (960.0, 2000.0),
        "stretch": (1.0, 1.22),
        "tilt_deg": (0.0, 42.0),
        "quality": (0.26, 1.0),
        "covered": (0.95, 1.0),
        "open_vault": (0.0, 0.5),
        "air_inside": (0.0, 0.005),
        "bone_hu": (800.0, 2300.0),
        "vessels_ml": (0.0, 0.25),
        "noise_hu": (0.5, 4.2),
        "smeared": (0.0, 0.13),
        "sinus_mm": (0.0, 3.4),
        "order": (0.0, 1.7),
        "jump": (0.0, 2.5),
        "rings_hu": (0.0, 2.1),
        "waves_hu": (0.0, 7.7),
    },
    least_rise=0.84,
    most_gain=0.72,
)
