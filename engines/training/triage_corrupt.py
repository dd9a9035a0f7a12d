"""What the anomaly network has to take out again: coarse noise, soft ellipses, lost contrast, pushed tissue. torch.

Coarse noise after Kascenas et al. 2022 (MIDL): drawn on a coarse grid, made large bilinearly, rolled. The blobs are
ellipses with a smooth edge, of one value or added, none of them shaped as the lesions that judge the network
(thresholded noise, shells along the skull, vessel territories, cisterns).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SLICE_PX = 5.0  # a slice away is as far as five pixels: 5 mm and 1 mm
SIGMA_HU = 16.0  # 0.2 of the range of the brain window
LOWEST, HIGHEST = -100.0, 200.0


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A batch as the network sees it.

    slices:  (n, 3, y, x) HU
    touched: (n, 1, y, x), 1 where a blob changed the slice in the middle
    """

    slices: Tensor
    touched: Tensor


def _uniform(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count)


def coarse_noise(count: int, shape: tuple[int, int], *, sigma: float = SIGMA_HU) -> Tensor:
    """(n, 3, y, x) HU, SD about two thirds of `sigma` after interpolation; mostly the same in neighbouring slices.

    Instead of rolling what was made large, a window at a random place is cut out of something larger: no seam.
    """
    rows, columns = shape
    side = int(torch.randint(8, 25, ()))
    cell = rows / side
    grid = (side + 2, int(columns / cell) + 3)
    drawn = math.sqrt(0.8) * torch.randn(count, 1, *grid) + math.sqrt(0.2) * torch.randn(count, 3, *grid)
    size = (int(grid[0] * cell), int(grid[1] * cell))
    large = F.interpolate(drawn * sigma, size=size, mode="bilinear", align_corners=False)
    top, left = int(torch.randint(size[0] - rows + 1, ())), int(torch.randint(size[1] - columns + 1, ()))
    return large[:, :, top : top + rows, left : left + columns]


def soft_ellipses(count: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """One ellipsoid for each sample: (n, 3, y, x) share 0 to 1, and its centre (n, 2) in pixels.

    Half-axes of 3 to 40 pixels on average, up to five times as long as wide, turned, the edge 1 to 5 pixels wide.
    """
    rows, columns = shape
    y, x = torch.arange(float(rows))[None, :, None], torch.arange(float(columns))[None, None, :]
    centre = torch.stack([_uniform(count, 0.08, 0.92) * rows, _uniform(count, 0.08, 0.92) * columns], dim=1)
    radius = torch.exp(_uniform(count, math.log(3.0), math.log(40.0)))
    stretch = torch.exp(_uniform(count, 0.0, 0.8))
    angle = _uniform(count, 0.0, math.pi)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    down, right = y - centre[:, 0, None, None], x - centre[:, 1, None, None]
    along, across = cos * down + sin * right, cos * right - sin * down
    off = ((along / (radius * stretch)[:, None, None]) ** 2 + (across / (radius / stretch)[:, None, None]) ** 2)[
        :, None
    ]
    height = radius * _uniform(count, 0.4, 1.2)
    level = _uniform(count, -0.8, 0.8) * height
    away = (level[:, None] + SLICE_PX * torch.tensor([-1.0, 0.0, 1.0])) / height[:, None]
    inside = 1.0 - (off + (away**2)[:, :, None, None]).sqrt()
    edge = (_uniform(count, 1.0, 5.0) / radius)[:, None, None, None]
    return torch.sigmoid(4.0 * inside / edge), centre


def pushed(share: Tensor, centre: Tensor) -> Tensor:
    """Displacement away from each centre, (n, y, x, 2) pixels (right, down): up to 8 around the blob, none far off."""
    count, _, rows, columns = share.shape
    down = torch.arange(float(rows))[None, :, None] - centre[:, 0, None, None]
    right = torch.arange(float(columns))[None, None, :] - centre[:, 1, None, None]
    far = (down**2 + right**2).sqrt() + 1e-3
    reach = _uniform(count, 12.0, 40.0)[:, None, None]
    most = _uniform(count, -4.0, 8.0)[:, None, None]
    size = most * (far / reach) * torch.exp(1.0 - far / reach)
    return torch.stack([size * right / far, size * down / far], dim=-1)


def corrupt(slices: Tensor, mask: Tensor) -> Wrong:
    """Coarse noise in three samples of four, up to three blobs in each; only in the brain.

    slices: (n, 3, y, x) HU; mask: (n, 3, y, x), 1 in the brain
    """
    count, _, rows, columns = slices.shape
    shape = (rows, columns)
    blank = torch.zeros(count, 1, 1, 1)
    amount = torch.exp(_uniform(count, math.log(0.2), math.log(1.6)))
    there = (torch.rand(count) < 0.75).float()
    made = slices + (amount * there)[:, None, None, None] * coarse_noise(count, shape)
    touched = blank.expand(count, 1, rows, columns).clone()
    for chance in (0.75, 0.4, 0.2):
        share, _ = soft_ellipses(count, shape)
        share = share * (torch.rand(count) < chance).float()[:, None, None, None]
        kind = torch.rand(count)[:, None, None, None]
        # Added, brighter or darker; a value of its own, blood or oedema, with little of the anatomy left; or the
        # contrast of what lies there lost and a little darker.
        amplitude = torch.exp(_uniform(count, math.log(4.0), math.log(60.0)))[:, None, None, None]
        sign = torch.where(torch.rand(count) < 0.5, 1.0, -1.0)[:, None, None, None]
        added = made + share * sign * torch.where(sign > 0.0, amplitude, amplitude.clamp(max=25.0))
        value = torch.where(torch.rand(count) < 0.65, _uniform(count, 45.0, 90.0), _uniform(count, 2.0, 26.0))
        own = torch.lerp(
            made, value[:, None, None, None].expand_as(made), share * _uniform(count, 0.5, 1.0)[:, None, None, None]
        )
        blurred = _blurred(made * mask) / _blurred(mask).clamp(min=0.05)
        flat = torch.lerp(made, blurred - _uniform(count, 1.0, 14.0)[:, None, None, None], share)
        made = torch.where(kind < 0.45, added, torch.where(kind < 0.75, own, flat))
        touched = torch.maximum(touched, share[:, 1:2])
    return Wrong(slices=made.clamp(LOWEST, HIGHEST) * mask, touched=touched * mask[:, 1:2])


def _blurred(image: Tensor) -> Tensor:
    """Mean over 12 x 12 pixels, twice."""
    small = F.avg_pool2d(F.avg_pool2d(image, 4), 3, stride=1, padding=1)
    return F.interpolate(small, size=image.shape[2:], mode="bilinear", align_corners=False)
