"""The end of every exported network: logits at low resolution -> labels at full size.

All tails compute the same: bilinear upsampling (``align_corners=False``), then the class of the
largest logit. They differ in the operators they become, hence in time and in where they run best.

`cells` and `boundaries` see the picture as the cells between four neighbouring logit positions,
(h + 1) x (w + 1) of them with the outer ones. Each pixel of a cell is a weighted mean of its four
corners, with the same scale^2 x 4 weights in every cell. They need an even whole scale and leave
other sizes to `resize`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# (logits [N, K, h, w], height, width) -> labels, uint8 [N, height, width]
Tail = Callable[[Tensor, int, int], Tensor]


def resize(logits: Tensor, height: int, width: int) -> Tensor:
    """Upsample all maps, then take the argmax: three operators, the form for GPUs."""
    h, w = logits.shape[2:]
    if height % h or width % w:
        full = F.interpolate(logits, size=(height, width), mode="bilinear")
    else:
        # A factor is a constant of the graph even where the batch is free; a size is not.
        factors = (float(height // h), float(width // w))
        full = F.interpolate(logits, scale_factor=factors, mode="bilinear")
    return full.argmax(1).to(torch.uint8)


def cells(logits: Tensor, height: int, width: int) -> Tensor:
    """Compute the pixels of all cells by one matrix product; takes the same time always."""
    scale = _scale(logits, height, width)
    if not scale:
        return resize(logits, height, width)
    classes, h, w = logits.shape[1:]
    maps = F.pad(logits, (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
    top, bottom = maps[:, :-1], maps[:, 1:]
    corners = torch.stack([top[:, :, :-1], top[:, :, 1:], bottom[:, :, :-1], bottom[:, :, 1:]])
    labels = _pixel_labels(corners.reshape(4, -1), classes, scale)
    blocks = labels.reshape(scale, scale, -1, h + 1, w + 1).permute(2, 3, 0, 4, 1)
    return _picture(blocks, scale)


def boundaries(logits: Tensor, height: int, width: int) -> Tensor:
    """Compute only the pixels near a boundary between classes; the others follow.

    Where one class is largest at all four corners of a cell, it is largest at every weighted mean
    of them: the cell has that label, without interpolation. The mixed cells, a few per cent of a
    face, are computed as in `cells`. The labels are the same; the time depends on the picture.
    """
    scale = _scale(logits, height, width)
    if not scale:
        return resize(logits, height, width)
    classes, h, w = logits.shape[1:]
    maps = logits.permute(0, 2, 3, 1)
    coarse = maps.argmax(-1).float().reshape(-1, 1, h, w)
    # The largest and smallest label among the corners of each cell.
    highest = F.max_pool2d(coarse, 2, 1, 1)
    lowest = -F.max_pool2d(-coarse, 2, 1, 1)
    mixed = (highest != lowest).nonzero(as_tuple=True)
    image, _, row, column = mixed

    above = torch.tensor([[-1], [-1], [0], [0]], device=logits.device)
    left = torch.tensor([[-1], [0], [-1], [0]], device=logits.device)
    rows = image * h + (row + above).clamp(0, h - 1)
    corners = rows * w + (column + left).clamp(0, w - 1)  # [4, n] of n mixed cells
    values = maps.reshape(-1, classes).index_select(0, corners.reshape(-1))
    computed = _pixel_labels(values.reshape(4, -1), classes, scale)

    plain = torch.arange(classes, dtype=torch.uint8, device=logits.device)
    plain = plain[:, None].repeat(1, scale * scale)
    labels = F.embedding(highest.long(), plain)  # [N, 1, h + 1, w + 1, scale^2]
    labels = labels.index_put(mixed, computed.T)
    blocks = labels.reshape(-1, h + 1, w + 1, scale, scale).transpose(2, 3)
    return _picture(blocks, scale)


def _scale(logits: Tensor, height: int, width: int) -> int:
    """Return the even whole factor from the logits to the picture, or 0."""
    h, w = logits.shape[2:]
    scale = height // h
    return scale if (h * scale, w * scale, scale % 2) == (height, width, 0) else 0


def _pixel_labels(corners: Tensor, classes: int, scale: int) -> Tensor:
    """Turn the corners of n cells, [4, n * K], into their labels, [scale^2, n]."""
    right = (torch.arange(scale, device=corners.device) + 0.5) / scale
    line = torch.stack([1 - right, right])
    weights = torch.einsum("ia,jb->abij", line, line).reshape(scale * scale, 4)
    pixels = weights.to(corners.dtype) @ corners
    return pixels.reshape(scale * scale, -1, classes).argmax(-1).to(torch.uint8)


def _picture(blocks: Tensor, scale: int) -> Tensor:
    """Join blocks [N, h + 1, scale, w + 1, scale], cutting what lies over the border."""
    rows, columns = blocks.shape[1], blocks.shape[3]
    full = blocks.reshape(-1, rows * scale, columns * scale)
    return full[:, scale // 2 : -scale // 2, scale // 2 : -scale // 2]


TAILS: dict[str, Tail] = {"resize": resize, "cells": cells, "boundaries": boundaries}
DEFAULT_TAIL = "boundaries"
