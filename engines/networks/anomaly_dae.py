"""A denoising auto-encoder of head CT: what a slice of a brain might look like without what is unusual in it.

Trained to take coarse noise and soft blobs out of normal brains (Kascenas et al. 2022, 2023), it takes out of another
brain what normal brains have not. What normal residuals look like at each place, and how far the features of the
encoder lie from normal ones (Mahalanobis), is computed in the same graph from tables that training leaves behind.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.networks.parts import Residual

PLACES, ROWS, COLUMNS = 32, 224, 192  # the grid of engines/head.py: slices of 5 mm, pixels of 1 mm
CELL = 4  # pixels of a cell of the tables
WINDOWS = ((40.0, 80.0), (75.0, 215.0), (35.0, 40.0))  # centre and width, HU: brain, subdural, stroke
LOWEST, HIGHEST = -100.0, 200.0  # HU of the input
HU_PER_UNIT = 40.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Channels at a half, a quarter, an eighth and a sixteenth of the resolution."""

    widths: tuple[int, int, int, int] = (32, 64, 128, 128)
    middle_blocks: int = 2

    def to_json(self) -> dict[str, object]:
        """The fields as plain values."""
        return asdict(self)


class AnomalyDae(nn.Module):
    """Pseudo-healthy slice, normal residual at that place, and distance of the slice to normal ones.

    slices: (n, 3, 224, 192) float32 HU, the slice with the one below and above it; 0 outside of the brain
    mask:   (n, 1, 224, 192) float32, 1 in the brain
    place:  (n,) int64, the slice's index on the grid, 0 to 31
    returns: healthy (n, 1, 224, 192) HU, equal to the slice before any training; mean and sd of normal residuals,
             shaped alike, HU, all 0 outside of the brain; distance (n,), root mean square of the whitened features of
             the encoder, near 1 in normal slices, 0 without brain
    """

    atlas: Tensor
    mean: Tensor
    sd: Tensor
    centre: Tensor
    white: Tensor
    where: Tensor

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape or Shape()
        w1, w2, w3, w4 = self.shape.widths
        self.head = nn.Conv2d(4 * 3 * len(WINDOWS) + 4, w1, 3, padding=1)
        self.enc1, self.enc2, self.enc3 = Residual(w1), Residual(w2), Residual(w3)
        self.down1 = nn.Conv2d(w1, w2, 2, stride=2)
        self.down2 = nn.Conv2d(w2, w3, 2, stride=2)
        self.down3 = nn.Conv2d(w3, w4, 2, stride=2)
        self.middle = nn.Sequential(*(Residual(w4) for _ in range(self.shape.middle_blocks)))
        self.up3 = nn.Conv2d(w4, 4 * w3, 1)
        self.up2 = nn.Conv2d(w3, 4 * w2, 1)
        self.up1 = nn.Conv2d(w2, 4 * w1, 1)
        self.dec3, self.dec2, self.dec1 = Residual(w3), Residual(w2), Residual(w1)
        self.tail = nn.Conv2d(w1, 4, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        if self.tail.bias is not None:
            nn.init.zeros_(self.tail.bias)
        cells = (PLACES, ROWS // CELL, COLUMNS // CELL)
        self.register_buffer("atlas", torch.zeros(cells))  # mean HU of normal brains: what the network is told of place
        self.register_buffer("mean", torch.zeros(cells))
        self.register_buffer("sd", torch.ones(cells))
        self.register_buffer("centre", torch.zeros(PLACES, w4))
        self.register_buffer("white", torch.eye(w4))
        rows, columns = torch.meshgrid(
            torch.linspace(-1.0, 1.0, ROWS // 2), torch.linspace(-1.0, 1.0, COLUMNS // 2), indexing="ij"
        )
        self.register_buffer("where", torch.stack([rows, columns.abs()])[None], persistent=False)

    def forward(self, slices: Tensor, mask: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        change, features = self.change(slices, mask, self.told(place))
        healthy = (slices[:, 1:2] + change) * mask
        mean, sd = (self.table(cells, place) * mask for cells in (self.mean, self.sd))
        return healthy, mean, sd, self.distance(features, mask, place)

    def told(self, place: Tensor) -> Tensor:
        """What the network is told of the place: normal mean and coordinates; (n, 3, y/2, x/2)."""
        normal = F.interpolate(self.atlas[place][:, None], scale_factor=CELL / 2.0, mode="bilinear") / HU_PER_UNIT
        return torch.cat([normal, self.where + torch.zeros_like(normal)], dim=1)

    def change(self, slices: Tensor, mask: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """HU to add to the slice in the middle, (n, 1, y, x), and the features at a sixteenth; any multiple of 16."""
        inside = slices.clamp(LOWEST, HIGHEST)
        shown = [((inside - centre) / width + 0.5).clamp(0.0, 1.0) * mask for centre, width in WINDOWS]
        x = F.pixel_unshuffle(torch.cat(shown, dim=1), 2)
        one = self.enc1(self.head(torch.cat([x, F.avg_pool2d(mask, 2), told], dim=1)))
        two = self.enc2(self.down1(one))
        three = self.enc3(self.down2(two))
        four = self.middle(self.down3(three))
        three = self.dec3(three + F.pixel_shuffle(self.up3(four), 2))
        two = self.dec2(two + F.pixel_shuffle(self.up2(three), 2))
        one = self.dec1(one + F.pixel_shuffle(self.up1(two), 2))
        return HU_PER_UNIT * F.pixel_shuffle(self.tail(one), 2), four

    def table(self, cells: Tensor, place: Tensor) -> Tensor:
        """The slice of a table at full resolution; (n, 1, y, x)."""
        return F.interpolate(cells[place][:, None], scale_factor=float(CELL), mode="bilinear")

    def pooled(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the features in the brain (n, channels), and how many cells that is (n, 1)."""
        share = F.avg_pool2d(mask, 16)
        cells = share.sum(dim=(2, 3))
        return (features * share).sum(dim=(2, 3)) / cells.clamp(min=1.0), cells

    def distance(self, features: Tensor, mask: Tensor, place: Tensor) -> Tensor:
        """Root mean square of the whitened difference to the normal features of the place; (n,)."""
        pooled, cells = self.pooled(features, mask)
        off = torch.matmul(pooled - self.centre[place], self.white)
        return (off.pow(2).mean(dim=1) + 1e-12).sqrt() * (cells[:, 0] > 0.0).to(off.dtype)
