"""Limits of the guards of mr-postcontrast. Written by `python -m tests.bench.guards_mr --calibrate`, not by hand."""

from pipelines.limits import ContrastLimits

LIMITS = ContrastLimits(
    engine_sha256="a37e1997d464400f424a079926e7de44442f5c6274885a819993ae95ba35f2f6",
    sinus=0.33,
    choroid=0.23,
    base=0.59,
    support_mm2=210.0,
    amplification=2.4,
    shift=2.3,
    flicker=1.3,
    spread=0.5,
    noise=0.094,
    csf_t1=0.7,
    csf_t2=1.4,
    csf_flair=1.1,
    grey_flair=0.68,
    bright=0.0015,
    agree_t2=0.51,
    agree_flair=0.45,
)
