"""Synthetic post-contrast T1 from T1, T2 and FLAIR: a factor on T1 that is never below one, and how sure it is."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.networks.parts import Backbone, Residual, Widths

SHARPNESS = 8.0  # softplus(8 g) / 8 bends within an eighth: steps of the size of grey matter's 10 % stay learnable
START = -0.5  # g before training: the factor is 1.002, and its gradient has not died as it would at softplus(-6)
SPREAD_START = 0.05  # WM


class ContrastUnet(Backbone):
    """post = t1 · (1 + enhancement), enhancement = softplus(8 g) / 8 > 0: nothing can darken, and air stays air.

    t1, t2, flair: (n, 3, y, x) float32, white matter of that series = 1, 0 where there is no signal; the slice in the
                   middle, its neighbours below and above it; y and x multiples of 8; zeros where the series is missing
    present:       (n, 3) float32, 1 where t1, t2, flair are there
    returns:       post (n, 1, y, x) WM, at least t1, 1.002 times it before any training;
                   spread (n, 1, y, x) WM, the SD expected of the error of post, from a log-variance head that sees the
                   features of the mean but cannot change them (Kendall & Gal 2017; detached after Stirn et al. 2023)
    """

    def __init__(self, widths: Widths = (32, 64, 128), middle_blocks: int = 2) -> None:
        super().__init__(4 * 9 + 3, widths, middle_blocks)
        self.unsure = nn.Sequential(Residual(widths[0]), nn.ReLU(), nn.Conv2d(widths[0], 4, 3, padding=1))
        nn.init.zeros_(self.unsure[2].weight)
        nn.init.zeros_(self.unsure[2].bias)

    def forward(self, t1: Tensor, t2: Tensor, flair: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        images = F.pixel_unshuffle(torch.cat([t1, t2, flair], dim=1), 2)
        there = present[:, :, None, None] + torch.zeros_like(images[:, :3])
        features = self.features(torch.cat([images, there], dim=1))
        g = START + F.pixel_shuffle(self.tail(features), 2)
        post = t1[:, 1:2] * (1.0 + F.softplus(SHARPNESS * g) / SHARPNESS)
        half_log_variance = F.pixel_shuffle(self.unsure(features.detach()), 2)
        # Bounded: an exponent must not overflow on an image like none in training.
        return post, SPREAD_START * torch.exp(half_log_variance.clamp(-5.0, 5.0))
