"""Padding to what a network takes, and back."""

import numpy as np
from numpy.typing import NDArray

Crop = tuple[slice, slice]


def pad_to_multiple(image: NDArray[np.float32], multiple: int) -> tuple[NDArray[np.float32], Crop]:
    """Mirror the lower and right border until both sides are multiples.

    A mirror continues texture; zeros would put an edge there that the network answers.

    image:   (y, x), or slices (n, y, x)
    returns: the padded image and the slices that cut the original out of it
    """
    y, x = image.shape[-2:]
    below, right = -y % multiple, -x % multiple
    crop = (slice(0, y), slice(0, x))
    if not below and not right:
        return image, crop
    along = ((0, 0),) * (image.ndim - 2)
    return np.pad(image, (*along, (0, below), (0, right)), mode="reflect"), crop
