"""Kernel conversion of CT slices in both directions: what the linear filter between two kernels leaves to be done."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engines.networks.parts import AIR_HU, HU_PER_UNIT, Backbone, LowPass, NoiseLevel, Widths

TOLD = 14  # both curves at six frequencies and both shares of noise, see engines.kernel.descriptor
HU_PER_CHANGE = 100.0


class KernelUnet(Backbone):
    """From one reconstruction kernel to another.

    hu:      (n, 1, y, x) float32 HU, the source; y and x multiples of 8
    linear:  (n, 1, y, x) float32 HU, the source through the linear filter between the two kernels
    kernels: (n, 14) float32, `engines.kernel.descriptor`
    returns: (n, 1, y, x) float32 HU; equal to `linear` before any training (last layer zero)
    """

    def __init__(self, widths: Widths = (32, 64, 96), middle_blocks: int = 2, lock_sigma_px: float = 6.0) -> None:
        super().__init__(4 + 4 + 2, widths, middle_blocks, TOLD)
        self.noise = NoiseLevel()
        self.lock = LowPass(lock_sigma_px)

    def forward(self, hu: Tensor, linear: Tensor, kernels: Tensor) -> Tensor:
        level = self.noise(hu)
        anatomy = F.pixel_unshuffle((hu + AIR_HU) / HU_PER_UNIT, 2)
        # What the filter changed, on a scale of its own: edges and noise, next to nothing elsewhere.
        filtered = F.pixel_unshuffle((linear - hu) / HU_PER_CHANGE, 2)
        made = self.run(torch.cat([anatomy, filtered, level], dim=1), kernels)
        change = F.pixel_shuffle(made, 2) * HU_PER_CHANGE
        # The mean of a region is the linear filter's, whatever the weights: both kernels pass frequency 0 with gain 1.
        return linear + change - self.lock(change)
