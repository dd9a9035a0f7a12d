"""Low-dose CT denoise: a CT series in, the same series with less noise out."""

from pipelines.pipeline import Images, Pipeline, Requires, Tiles
from pipelines.steps.checks import finite, geometry_equal, mean_shift_below, residual_is_noise, within_range
from pipelines.steps.intensity import clip

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0  # what 12 bits with intercept -1024 hold, and what the network was trained in

CT_DENOISE = Pipeline(
    name="ct-denoise",
    version="1.0.0",
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
    checks=(
        finite(),
        geometry_equal(),
        within_range(lowest_hu=LOWEST_HU, highest_hu=HIGHEST_HU),
        mean_shift_below(soft_hu=2.0, other_hu=5.0),
        residual_is_noise(limit=1.15),
    ),
    gives=Images(
        kind="DN",
        marker="AI DENOISED",
        operation="Noise reduction by neural network",
    ),
)
