"""Limits of the guards of ct-denoise. Written by `python -m tests.bench.guards --calibrate`, not by hand."""

from pipelines.limits import GuardLimits

LIMITS = GuardLimits(
    engine_sha256="e1de0a9837aeefbf62ef65accdb3e086e1926f318ed05db76994d5ce149ad258",
    residual_is_noise=1.2,
    residual_structure=0.41,
    residual_spectrum=0.3,
    residual_amount=1.1,
    low_frequency_lock=3.4,
    own_slice=0.83,
    structure_support=6.6,
    probe_r3=0.4,
    probe_r6=0.73,
    same_again=2.0,
    hounsfield_scale=14.0,
)
