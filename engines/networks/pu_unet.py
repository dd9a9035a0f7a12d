"""PU2-UNet: a pixel-unshuffle U-Net that takes noise out of CT slices.

The whole of it is one graph from HU to HU: the noise level is estimated inside with fixed filters, and a fixed output
stage gives the low frequencies of the input back, so that the mean HU of a region does not depend on the weights.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engines.networks.parts import AIR_HU, HU_PER_UNIT, Backbone, LowPass, NoiseLevel


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the exported file needs to be rebuilt."""

    widths: tuple[int, int, int] = (32, 64, 96)
    middle_blocks: int = 2
    lock_sigma_px: float = 6.0

    def to_json(self) -> dict[str, object]:
        """The fields as plain values."""
        return asdict(self)


class PuUnet(Backbone):
    """Noise reduction of one axial slice.

    hu:      (n, 1, y, x) float32 HU, y and x multiples of 8
    returns: (n, 1, y, x) float32 HU; equal to the input before any training (last layer zero)
    """

    def __init__(self, shape: Shape | None = None) -> None:
        self_shape = shape or Shape()
        super().__init__(4 + 2, self_shape.widths, self_shape.middle_blocks)
        self.shape = self_shape
        self.noise = NoiseLevel()
        self.lock = LowPass(self.shape.lock_sigma_px)

    def forward(self, hu: Tensor) -> Tensor:
        level = self.noise(hu)
        made = self.run(torch.cat([F.pixel_unshuffle((hu + AIR_HU) / HU_PER_UNIT, 2), level], dim=1))
        # Scaled by the noise level: a quiet image is changed little, a noisy one more, whatever the dose.
        change = F.pixel_shuffle(made * (level[:, :1] + 0.05), 2) * 50.0
        return hu + change - self.lock(change)
