"""Limits of the guards of mra-superres. Written by `python -m tests.bench.guards_tof --calibrate`, not by hand."""

from pipelines.limits import SuperresLimits

LIMITS = SuperresLimits(
    engine_sha256="6a263cef823343a160aea7405ca88cb4ddc633e698afbed98863c9fd256ac9e6",
    least_added=0.7,
    most_added=1.5,
    least_order=0.5,
    most_border=4.0,
    most_invented=0.1,
    most_removed=0.15,
    least_probe=0.1,
    most_gain=1.3,
    most_bright=0.1,
)
