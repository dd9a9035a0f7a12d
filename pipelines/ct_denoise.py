"""Low-dose CT denoise: a CT series in, the same series with less noise out."""

from pipelines.ct_denoise_limits import LIMITS
from pipelines.limits import GuardLimits
from pipelines.pipeline import Check, Images, Pipeline, Requires, Tiles
from pipelines.steps.checks import finite, geometry_equal, mean_shift_below, residual_is_noise, within_range
from pipelines.steps.guards_noise import low_frequency_lock, noise_residual, own_slice, structure_support
from pipelines.steps.guards_probe import probe_lesions
from pipelines.steps.guards_protocol import Envelope, hounsfield_scale, pixel_size_agrees, protocol_gate
from pipelines.steps.intensity import clip

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0  # what 12 bits with intercept -1024 hold, and what the network was trained in

ENVELOPE = Envelope(
    modality="CT",
    kvp=(70.0, 150.0),
    thickness_mm=(0.4, 6.0),
    spacing_mm=(0.3, 1.6),
    # From the smallest crop of the judged scans to what a scanner measures, with a little for rounding.
    fov_mm=(20.0, 510.0),
    # Contrast agent was given in some of the scans it was judged on, and not in others.
    contrast=None,
)


def checks(limits: GuardLimits) -> tuple[Check, ...]:
    """The checks with their limits; what says most of a fault comes first, since it names a hold."""
    return (
        finite(),
        geometry_equal(),
        within_range(lowest_hu=LOWEST_HU, highest_hu=HIGHEST_HU),
        protocol_gate(envelope=ENVELOPE),
        # Rounding of Reconstruction Diameter to whole millimetres is 0.4 % of 231 mm.
        pixel_size_agrees(tolerance=0.03),
        hounsfield_scale(air_hu=limits.hounsfield_scale),
        mean_shift_below(soft_hu=2.0, other_hu=5.0),
        residual_is_noise(limit=limits.residual_is_noise),
        noise_residual(
            caution_c=limits.residual_structure,
            reject_c=2.0 * limits.residual_structure,
            shape_limit=limits.residual_spectrum,
            most_taken=limits.residual_amount,
        ),
        low_frequency_lock(limit_hu=limits.low_frequency_lock),
        own_slice(limit=limits.own_slice),
        structure_support(limit_sd=limits.structure_support),
        probe_lesions(least_small=limits.probe_r3, least_large=limits.probe_r6, again_hu=limits.same_again),
    )


CT_DENOISE = Pipeline(
    name="ct-denoise",
    version="1.1.0",
    takes=Requires(
        modality="CT",
        # Two gaps are the fewest that can show even spacing; two slices prove nothing about a missing third.
        minimum_slices=3,
        # The network knows noise and edges in pixels. 0.3 mm is below the finest head reconstructions; 1.6 mm is just
        # above the coarsest it was judged on (1.5 mm), and beyond it a small vessel is one pixel, as noise is.
        pixel_spacing_mm=(0.3, 1.6),
        # Thinner than 0.4 mm no body scanner reconstructs; thicker than 6 mm slices are no longer noise-limited,
        # and none was seen in training.
        slice_thickness_mm=(0.4, 6.0),
        # The tube voltages of diagnostic body CT. Outside of it (and in virtual energies) contrast and noise
        # follow other laws than the simulated ones.
        kvp=(70.0, 150.0),
        # Half a degree is header rounding. A tilted stack is sheared: its mean is kept, but nothing was checked there.
        tilt_deg_max=0.5,
        # Below 64 pixels the low-frequency lock, 36 wide, sees mostly its own border; above 1024 no test was made.
        rows=(64, 1024),
        columns=(64, 1024),
    ),
    engine="ct_denoise",
    feed="hu",
    output="denoised",
    keep_outside=(LOWEST_HU, HIGHEST_HU),
    before=(clip(LOWEST_HU, HIGHEST_HU),),
    after=(clip(LOWEST_HU, HIGHEST_HU),),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=checks(LIMITS),
    gives=Images(
        kind="DN",
        marker="AI DENOISED",
        operation="Noise reduction by neural network",
    ),
)
