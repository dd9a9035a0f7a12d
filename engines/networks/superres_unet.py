"""Thin slices from thick ones: a slab and its neighbours in, eight thin slices of the slab out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engines.networks.parts import Backbone, Widths
from engines.slabs import FINE, SUPPORT, cubic_weights

SLICES = 2 * SUPPORT + 1


class SuperresUnet(Backbone):
    """Through-plane super-resolution of one slab.

    slices:  (n, 5, y, x) float32 ART (`engines.slabs.tof_unit` = 1), lowest z first, the slab in the middle; y and x
             multiples of 8
    returns: (n, 8, y, x) float32 ART, thin slices of the slab, lowest z first. Their mean is the slab whatever the
             weights; before any training they are cubic interpolation with that mean (last layer zero)
    """

    weights: Tensor

    def __init__(self, widths: Widths = (32, 64, 128), middle_blocks: int = 2) -> None:
        super().__init__(4 * SLICES, widths, middle_blocks, made=4 * FINE)
        cubic = torch.tensor(cubic_weights(FINE), dtype=torch.float32)
        self.register_buffer("weights", cubic.reshape(FINE, SLICES, 1, 1))

    def forward(self, slices: Tensor) -> Tensor:
        thin = F.conv2d(slices, self.weights) + F.pixel_shuffle(self.run(F.pixel_unshuffle(slices, 2)), 2)
        slab = slices[:, SUPPORT : SUPPORT + 1]
        return thin + (slab - thin.mean(dim=1, keepdim=True))
