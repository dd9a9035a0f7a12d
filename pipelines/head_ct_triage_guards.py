"""Limits of the guards of head-ct-triage. Written by `python -m tests.bench.guards_triage --calibrate`, not by hand."""

from pipelines.steps.guards_triage import TriageLimits

LIMITS = TriageLimits(
    engine_sha256="371f5a77d4b864165762ccf180500ad768c12d7abe43b751fb4c5cd31da9e291",
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
    least_rise=0.96,
    most_gain=0.75,
)
