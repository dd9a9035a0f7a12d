"""Limits of the guards of ct-denoise. Written by `python -m tests.bench.guards --calibrate`, not by hand."""

from pipelines.limits import GuardLimits

LIMITS = GuardLimits(
    engine_sha256="e1de0a9837aeefbf62ef65accdb3e086e1926f318ed05db76994d5ce149ad258",
    residual_is_noise=1.15,
    residual_structure=0.37,
    residual_spectrum=0.4,
    residual_amount=1.15,
    low_frequency_lock=3.5,
    own_slice=0.7,
    structure_support=6.5,
    probe_r3=0.45,
    probe_r6=0.74,
    same_again=2.0,
    hounsfield_scale=12.0,
)
