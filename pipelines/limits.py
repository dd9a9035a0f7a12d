"""The limits of the calibrated guards, as data of a pipeline."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GuardLimits:
    """Written by `python -m tests.bench.guards --calibrate`; changing one by hand is a new version of the pipeline.

    engine_sha256:     of the network they were calibrated with
    residual_is_noise: SD at edges over SD in flat parts of what was removed, at most
    residual_structure: correlation of what was removed with fine structure, at most; twice as much is a reject
    residual_spectrum: distance of the noise spectra, at most
    residual_amount:   removed over the noise that was there, at most
    low_frequency_lock: largest regional shift, HU
    own_slice:         distance to the own source over that to the neighbour's, at most
    structure_support: largest blob in the residual, SD
    probe_r3, probe_r6: kept contrast of probe disks, at least
    same_again:        difference when the network is run again, HU
    hounsfield_scale:  distance of air from -1000 HU
    """

    engine_sha256: str
    residual_is_noise: float
    residual_structure: float
    residual_spectrum: float
    residual_amount: float
    low_frequency_lock: float
    own_slice: float
    structure_support: float
    probe_r3: float
    probe_r6: float
    same_again: float
    hounsfield_scale: float


@dataclass(frozen=True, kw_only=True)
class SuperresLimits:
    """Written by `python -m tests.bench.guards_tof --calibrate`; changing one by hand is a new version of the pipeline.

    engine_sha256: of the network they were calibrated with
    least_added, most_added: what was put between the slices over what cubic interpolation would put there
    least_order:   correlation of a step along z with that of cubic interpolation, at least
    most_border:   step from slab to slab over the steps within, at most
    most_invented: rise without support, share of arterial signal, at most
    most_removed:  fall of a vessel through three slices, share of arterial signal, at most
    least_probe:   recovered shape along z of probe aneurysms, at least
    most_gain:     noise of the thin slices over that of the slices, at most
    most_bright:   share of the head that is nearly as bright as arteries, at most
    """

    engine_sha256: str
    least_added: float
    most_added: float
    least_order: float
    most_border: float
    most_invented: float
    most_removed: float
    least_probe: float
    most_gain: float
    most_bright: float


@dataclass(frozen=True, kw_only=True)
class ContrastLimits:
    """Written by `python -m tests.bench.guards_mr --calibrate`; changing one by hand is a new version of the pipeline.

    Signals are shares of white matter's in the same series.

    engine_sha256: of the network they were calibrated with
    sinus, choroid, base: enhancement of each positive control, at least
    support_mm2:   edges of enhancement within 16 mm that no series shares, at most
    amplification: noise of the result over the noise in T1, at most
    shift:         what a T1 moved by a pixel changes of the enhancement, over its SD, at most
    flicker:       jumps of the enhancement from slice to slice, over its SD, at most
    spread:        mean of what the network expects as its error, at most
    noise:         of T1, at most
    csf_t1, csf_flair: signal of CSF, at most; csf_t2: at least
    grey_flair:    signal of grey matter in FLAIR, at least
    bright:        share of the brain above 1.3 in T1, at most
    agree_t2, agree_flair: agreement of edges with those of T1, at least
    """

    engine_sha256: str
    sinus: float
    choroid: float
    base: float
    support_mm2: float
    amplification: float
    shift: float
    flicker: float
    spread: float
    noise: float
    csf_t1: float
    csf_t2: float
    csf_flair: float
    grey_flair: float
    bright: float
    agree_t2: float
    agree_flair: float
