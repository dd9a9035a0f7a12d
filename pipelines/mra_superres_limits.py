"""Limits of the guards of mra-superres. Written by `python -m tests.bench.guards_tof --calibrate`, not by hand."""

from pipelines.limits import SuperresLimits

LIMITS = SuperresLimits(
    engine_sha256="0a77b8b7426e207242f0aee931b8e9ab1cc9ecd27cca49625e7f1030e43a4e6c",
    least_added=1.2,
    most_added=2.8,
    least_order=0.08,
    most_border=2.6,
    most_invented=0.33,
    most_removed=0.46,
    least_probe=0.25,
    most_gain=1.2,
    most_bright=0.016,
)
