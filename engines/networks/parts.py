"""What the networks are made of: convolutions, and a noise estimate and a low-pass with fixed weights. HU in, HU out.

Only convolution, ReLU, sum, pooling, resizing and depth-to-space: every engine that reads ONNX runs them.

Design after: pixel-unshuffle (Shi et al. 2016), residual U-Net without normalisation layers (linear in HU, no batch
dependence); noise mask after Immerkaer 1996; feature-wise modulation after Perez et al. 2018.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AIR_HU = 1024.0  # added before scaling, so that the zeros of a convolution's padding mean air, not water
HU_PER_UNIT = 500.0
Widths = tuple[int, int, int]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), both 3x3, width kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class NoiseLevel(nn.Module):
    """Local noise SD in two octaves, from fixed filters.

    A second-difference mask removes everything that is locally a plane; what is left is noise and edges. Edges are
    clipped before averaging, so that one bone does not make a region look noisy. Two octaves tell a smooth kernel's
    noise (little in the first) from a sharp one's.
    """

    mask: Tensor
    window: Tensor

    def __init__(self, *, limit_hu: float = 150.0, radius: int = 6) -> None:
        super().__init__()
        self.limit_hu = limit_hu
        mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0  # unit gain for white noise
        self.register_buffer("mask", mask.reshape(1, 1, 3, 3))
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / (radius / 2)) ** 2)
        self.register_buffer("window", taps / taps.sum())

    def forward(self, hu: Tensor) -> Tensor:
        """(n, 1, y, x) HU -> (n, 2, y/2, x/2), noise SD in units of 50 HU."""
        fine = F.avg_pool2d(self._magnitude(hu), 2)
        coarse = self._magnitude(F.avg_pool2d(hu, 2))
        both = torch.cat([fine, coarse], dim=1)
        return F.interpolate(smooth(F.avg_pool2d(both, 2), self.window, 2), scale_factor=2.0, mode="nearest") / 50.0

    def _magnitude(self, hu: Tensor) -> Tensor:
        second = F.conv2d(F.pad(hu, (1, 1, 1, 1), mode="replicate"), self.mask)
        return second.abs().clamp(max=self.limit_hu) * math.sqrt(math.pi / 2)  # mean |n| -> SD of a normal n


def smooth(image: Tensor, taps: Tensor, channels: int) -> Tensor:
    """Separable low-pass per channel; the border repeats. (n, channels, y, x) kept."""
    radius = (taps.numel() - 1) // 2
    flat = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    across = taps.reshape(1, 1, 1, -1).repeat(channels, 1, 1, 1)
    down = taps.reshape(1, 1, -1, 1).repeat(channels, 1, 1, 1)
    return F.conv2d(F.conv2d(flat, across, groups=channels), down, groups=channels)


class LowPass(nn.Module):
    """Gaussian of `sigma_px`, computed at a quarter of the resolution (its spectrum is empty above that)."""

    taps: Tensor

    def __init__(self, sigma_px: float) -> None:
        super().__init__()
        # Variances add: 4x4 box (16 - 1) / 12, the Gaussian at quarter resolution, bilinear upsampling 16 / 6.
        sigma = math.sqrt((sigma_px**2 - 15.0 / 12.0 - 16.0 / 6.0) / 16.0)
        radius = math.ceil(3 * sigma)
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma) ** 2)
        self.register_buffer("taps", taps / taps.sum())

    def forward(self, image: Tensor) -> Tensor:
        low = smooth(F.avg_pool2d(image, 4), self.taps, 1)
        return F.interpolate(low, scale_factor=4.0, mode="bilinear", align_corners=False)


class Backbone(nn.Module):
    """Residual U-Net at half, quarter and eighth of the resolution; the last layer starts at zero.

    channels: of the input, at half the resolution
    told:     length of the vector that modulates every stage, 0 for none
    made:     channels that `run` returns
    """

    def __init__(self, channels: int, widths: Widths, middle_blocks: int, told: int = 0, made: int = 4) -> None:
        super().__init__()
        w1, w2, w3 = widths
        self.widths = widths
        self.head = nn.Conv2d(channels, w1, 3, padding=1)
        self.enc1 = Residual(w1)
        self.down1 = nn.Conv2d(w1, w2, 2, stride=2)
        self.enc2 = Residual(w2)
        self.down2 = nn.Conv2d(w2, w3, 2, stride=2)
        self.middle = nn.Sequential(*(Residual(w3) for _ in range(middle_blocks)))
        self.up2 = nn.Conv2d(w3, 4 * w2, 1)
        self.dec2 = Residual(w2)
        self.up1 = nn.Conv2d(w2, 4 * w1, 1)
        self.dec1 = Residual(w1)
        self.tail = nn.Conv2d(w1, made, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        if self.tail.bias is not None:
            nn.init.zeros_(self.tail.bias)
        if told:
            self.told = nn.Sequential(nn.Linear(told, 64), nn.ReLU(), nn.Linear(64, 2 * (2 * w1 + 2 * w2 + w3)))
            nn.init.zeros_(self.told[2].weight)
            nn.init.zeros_(self.told[2].bias)

    def run(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """(n, channels, y/2, x/2) -> (n, made, y/2, x/2); `told` (n, length)."""
        made: Tensor = self.tail(self.features(x, told))
        return made

    def features(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """(n, channels, y/2, x/2) -> (n, w1, y/2, x/2): what the last layer sees."""
        w1, w2, w3 = self.widths
        if told is None:
            both: list[Tensor | None] = [None] * 5
        else:
            both = list(torch.split(self.told(told)[:, :, None, None], [2 * w for w in (w1, w2, w3, w2, w1)], dim=1))
        one = self.enc1(_modulate(self.head(x), both[0]))
        two = self.enc2(_modulate(self.down1(one), both[1]))
        three = self.middle(_modulate(self.down2(two), both[2]))
        two = self.dec2(_modulate(two + F.pixel_shuffle(self.up2(three), 2), both[3]))
        made: Tensor = self.dec1(_modulate(one + F.pixel_shuffle(self.up1(two), 2), both[4]))
        return made


def _modulate(x: Tensor, both: Tensor | None) -> Tensor:
    if both is None:
        return x
    scale, shift = both.chunk(2, dim=1)
    return x * (1.0 + scale) + shift
