"""Limits of the guards of mra-superres. Written by `python -m tests.bench.guards_tof --calibrate`, not by hand."""

from pipelines.limits import SuperresLimits

LIMITS = SuperresLimits(
    engine_sha256="af57f5689f7bcffa10280061a8733bac83b5063c1a3a4451bade143bccf6d95b",
    least_added=1.1,
    most_added=2.6,
    least_order=0.16,
    most_border=2.2,
    most_invented=0.44,
    most_removed=0.35,
    least_probe=0.49,
    most_gain=1.2,
    most_bright=0.015,
)
