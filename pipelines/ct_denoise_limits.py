"""Limits of the guards of ct-denoise. Written by `python -m tests.bench.guards --calibrate`, not by hand."""

from pipelines.limits import GuardLimits

LIMITS = GuardLimits(
    engine_sha256="f96508ebebadfaf05e892c7aebbf95bea60fda1787857ee3baf8c57f458fe61a",
    residual_is_noise=1.2,
    residual_structure=0.27,
    residual_spectrum=0.36,
    residual_amount=1.1,
    low_frequency_lock=1.3,
    own_slice=0.89,
    structure_support=7.5,
    probe_r3=0.53,
    probe_r6=0.79,
    same_again=2.0,
    hounsfield_scale=14.0,
)
