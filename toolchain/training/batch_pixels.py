"""Pixels of whole batches on any device: looked up where they lie, and blurred."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Floats = npt.NDArray[np.float64]
_LEVELS = 3


def looked_up(
    pictures: Tensor, u: Tensor, v: Tensor, scale: Floats, put: Callable[..., Tensor]
) -> Tensor:
    """Return the colours at pixels ``u``, ``v`` of pictures; outside, those of the nearest edge.

    Where pictures shrink, those of a half or a quarter of the size are looked at, so that pixels
    are averaged and not picked. All three lie in one canvas::

        0 0 1
        0 0 2
    """
    size = pictures.shape[-1]
    level = np.clip(np.rint(-np.log2(scale)), 0, _LEVELS - 1)
    of_level = np.stack([size / 2**level, size * (level > 0), size / 2 * (level > 1)])
    side, left, top = put(of_level)[:, :, None, None]
    half = F.avg_pool2d(pictures, 2)
    quarter = F.pad(F.avg_pool2d(half, 2), (0, size // 4, 0, size // 4))
    canvas = torch.cat([pictures, torch.cat([half, quarter], 2)], 3)
    x, y = (
        (t * (side / size)).clamp(min=0.5).minimum(side - 0.5) + start
        for t, start in ((u, left), (v, top))
    )
    grid = torch.stack([x / (0.75 * size) - 1, y / (0.5 * size) - 1], -1)
    return F.grid_sample(canvas, grid, align_corners=False)


def blurred(images: Tensor, sigma: float | Tensor, most: float | None = None) -> Tensor:
    """Blur ``[N, C, H, W]`` by a Gaussian, edges drawn out.

    Args:
        images: any.
        sigma: its standard deviation in pixels, or one for each image.
        most: the largest; left out for a single one.
    """
    count, channels, height, width = images.shape
    largest = float(sigma) if most is None else most
    reach = min(int(3 * largest) + 1, height - 1, width - 1)
    places = torch.arange(-reach, reach + 1, device=images.device)
    if not isinstance(sigma, Tensor):
        sigma = images.new_full((1,), sigma)  # made there: a copy would wait for the device
    deviations = sigma.expand(count)[:, None]
    kernel = torch.exp(-((places / deviations) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    planes = F.pad(images, (reach,) * 4, "replicate").flatten(0, 1)[None]
    planes = F.conv2d(planes, kernel[..., None], groups=count * channels)
    return F.conv2d(planes, kernel[..., None, :], groups=count * channels)[0].view_as(images)
