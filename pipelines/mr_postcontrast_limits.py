"""Limits of the guards of mr-postcontrast. Written by `python -m tests.bench.guards_mr --calibrate`, not by hand."""

from pipelines.limits import ContrastLimits

LIMITS = ContrastLimits(
    engine_sha256="117f17fcbb6f85247ce21b7acda2dec186ac3a2bfa224e56112726154fe1642e",
    sinus=0.073,
    choroid=0.065,
    base=0.19,
    support_mm2=160.0,
    amplification=2.4,
    shift=1.3,
    flicker=1.1,
    spread=0.24,
    noise=0.08,
    csf_t1=0.64,
    csf_t2=1.4,
    csf_flair=0.92,
    grey_flair=0.75,
    bright=0.0015,
    agree_t2=0.55,
    agree_flair=0.45,
)
