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
