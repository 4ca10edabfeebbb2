"""The end of every exported network: logits at low resolution -> labels at full size.

All tails compute the same: bilinear upsampling (``align_corners=False``), then the class of the
largest logit. They differ in the operators they become, hence in time and in where they run best.

`cells` and `boundaries` see the picture as the cells between four neighbouring logit positions,
(h + 1) x (w + 1) of them with the outer ones. Each pixel of a cell is a weighted mean of its four
corners, with the same scale^2 x 4 weights in every cell. Where the scale is no whole number but
p/q in lowest terms, what is said here of cells holds for squares of q x q cells, which have p x p
pixels, (q + 1)^2 corners and the same weights everywhere. p must be even and q odd, so that the
picture begins in the middle of a cell; other sizes are left to `resize`.
"""

from math import gcd
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class Tail(Protocol):
    """Turns logits [N, K, h, w] into labels, uint8 [N, height, width].

    ``inside`` is the type as which labels move: CPUs move bytes fastest, TensorRT takes bytes at
    the very end only.
    """

    def __call__(
        self, logits: Tensor, height: int, width: int, inside: torch.dtype = torch.uint8
    ) -> Tensor:
        """Compute the labels."""


def resize(logits: Tensor, height: int, width: int, inside: torch.dtype = torch.uint8) -> Tensor:
    """Upsample all maps, then take the argmax: three operators, the form for GPUs."""
    h, w = logits.shape[2:]
    if height % h or width % w:
        full = F.interpolate(logits, size=(height, width), mode="bilinear")
    else:
        # A factor is a constant of the graph even where the batch is free; a size is not.
        factors = (float(height // h), float(width // w))
        full = F.interpolate(logits, scale_factor=factors, mode="bilinear")
    return full.argmax(1).to(inside).to(torch.uint8)


def cells(logits: Tensor, height: int, width: int, inside: torch.dtype = torch.uint8) -> Tensor:
    """Compute the pixels of all cells by one matrix product; takes the same time always."""
    p, q = _scale(logits, height, width)
    if not p:
        return resize(logits, height, width, inside)
    classes, h, w = logits.shape[1:]
    rows, columns, outside = h // q + 1, w // q + 1, (q + 1) // 2
    maps = F.pad(logits, (outside,) * 4, mode="replicate").permute(0, 2, 3, 1)
    lines = [maps[:, i : h + 1 + i : q] for i in range(q + 1)]
    corners = torch.stack([line[:, :, i : w + 1 + i : q] for line in lines for i in range(q + 1)])
    labels = _pixel_labels(corners.reshape((q + 1) ** 2, -1), classes, p, q).to(inside)
    blocks = labels.reshape(p, p, -1, rows, columns).permute(2, 3, 0, 4, 1)
    return _picture(blocks, p)


def boundaries(
    logits: Tensor, height: int, width: int, inside: torch.dtype = torch.uint8
) -> Tensor:
    """Compute only the pixels near a boundary between classes; the others follow.

    Where one class is largest at all four corners of a cell, it is largest at every weighted mean
    of them: the cell has that label, without interpolation. The mixed cells, a few per cent of a
    face, are computed as in `cells`. The labels are the same; the time depends on the picture.
    """
    p, q = _scale(logits, height, width)
    if not p:
        return resize(logits, height, width, inside)
    classes, h, w = logits.shape[1:]
    maps = logits.permute(0, 2, 3, 1)
    coarse = maps.argmax(-1).float().reshape(-1, 1, h, w)
    # The largest and smallest label among the corners of each cell.
    outside = (q + 1) // 2
    highest = F.max_pool2d(coarse, q + 1, q, outside)
    lowest = -F.max_pool2d(-coarse, q + 1, q, outside)
    mixed = (highest != lowest).nonzero(as_tuple=True)
    image, _, row, column = mixed

    steps = torch.arange(-outside, q + 1 - outside, device=logits.device)
    above = steps[:, None].expand(-1, q + 1).reshape(-1, 1)
    left = steps.expand(q + 1, -1).reshape(-1, 1)
    rows = image * h + (row * q + above).clamp(0, h - 1)
    corners = rows * w + (column * q + left).clamp(0, w - 1)  # [(q + 1)^2, n] of n mixed cells
    values = maps.reshape(-1, classes).index_select(0, corners.reshape(-1))
    computed = _pixel_labels(values.reshape((q + 1) ** 2, -1), classes, p, q).to(inside)

    plain = torch.arange(classes, dtype=inside, device=logits.device)
    plain = plain[:, None].repeat(1, p * p)
    labels = F.embedding(highest.long(), plain)  # [N, 1, rows, columns, p^2]
    labels = labels.index_put(mixed, computed.T)
    blocks = labels.reshape(-1, h // q + 1, w // q + 1, p, p).transpose(2, 3)
    return _picture(blocks, p)


def _scale(logits: Tensor, height: int, width: int) -> tuple[int, int]:
    """Return the factor from the logits to the picture: p even over q odd, or (0, 0)."""
    h, w = logits.shape[2:]
    p, q = height // h, 1
    if isinstance(height, int) and isinstance(h, int):  # else they are free in the file
        p, q = height // gcd(height, h), h // gcd(height, h)
    fits = (h * p, w * p, p % 2, q % 2) == (height * q, width * q, 0, 1)
    return (p, q) if fits else (0, 0)


def _pixel_labels(corners: Tensor, classes: int, p: int, q: int) -> Tensor:
    """Turn the corners of n squares of q x q cells, [(q + 1)^2, n * K], into labels [p^2, n]."""
    place = (torch.arange(p, device=corners.device) + 0.5) * q / p
    corner = torch.arange(q + 1, device=corners.device)
    line = (1 - (place - corner[:, None]).abs()).clamp(min=0)
    weights = torch.einsum("ia,jb->abij", line, line).reshape(p * p, (q + 1) ** 2)
    pixels = weights.to(corners.dtype) @ corners
    # Of nothing, ONNX Runtime before 1.32 keeps the axis of an argmax: the shape is said again.
    return pixels.reshape(p * p, -1, classes).argmax(-1).reshape(p * p, -1)


def _picture(blocks: Tensor, p: int) -> Tensor:
    """Join blocks [N, rows, p, columns, p], cutting what lies over the border."""
    rows, columns = blocks.shape[1], blocks.shape[3]
    full = blocks.reshape(-1, rows * p, columns * p)
    return full[:, p // 2 : -p // 2, p // 2 : -p // 2].to(torch.uint8)


TAILS: dict[str, Tail] = {"resize": resize, "cells": cells, "boundaries": boundaries}
DEFAULT_TAIL = "boundaries"
