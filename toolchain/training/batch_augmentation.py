"""The changes of `toolchain.datasets.augmentation`, for whole batches on the device that trains.

Chance decides on the CPU what is done to which image, so that the device never has to be waited
for; the device changes the pixels. Both modules follow the same settings, with the same chances of
the same things; the pixels are not the same ones. Backdrops are drawn on the CPU, once,
and shown in parts.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from export.machine.processor import usable_cores
from export.system.console import track
from toolchain.datasets.augmentation import colour_change
from toolchain.datasets.base import Pixels, Sample
from toolchain.datasets.labels import IGNORED, LabelSet
from toolchain.datasets.surroundings import Pictures, backdrop
from toolchain.settings.training_settings import AugmentationSettings
from toolchain.training.batch_pixels import Floats, blurred, looked_up
from toolchain.training.jpeg import Jpeg

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
BACKDROPS = 512
"""Of a whole training."""
_SOFT = 64
"""Pixels a side at which what is out of focus is computed."""


@dataclass(frozen=True)
class _Places:
    """Where pictures come to lie in a frame of as many pixels.

    Attributes:
        scale: factors of their size, ``[N]``.
        centre: of the pictures, in parts of the frame, x and y, ``[N, 2]``.
        angle: degrees against the clock, ``[N]``.
        mirrored: left and right are exchanged before, ``[N]``.
    """

    scale: Floats
    centre: Floats
    angle: Floats
    mirrored: Flags

    def chosen(self, which: Flags) -> Self:
        """Return some of them."""
        return type(self)(*(value[which] for value in vars(self).values()))

    def inward(self, size: int) -> Floats:
        """Return the ways from a frame's pixels to a picture's, ``[N, 2, 3]``; corners are at 0."""
        turn = np.deg2rad(self.angle)
        rotation = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1)
        linear = rotation.reshape(-1, 2, 2) / self.scale[:, None, None]
        offset = size / 2 - (linear @ self.centre[:, :, None] * size)[..., 0]
        ways = np.concatenate([linear, offset[..., None]], 2)
        ways[self.mirrored, 0] = [0, 0, size] - ways[self.mirrored, 0]
        return ways

    def whole(self, size: int) -> Flags:
        """Tell which fill the frame."""
        ends = [0.5, size - 0.5]
        corners = np.asarray([[x, y, 1.0] for x in ends for y in ends]).T
        seen = self.inward(size) @ corners
        return np.asarray(((seen >= 0) & (seen <= size)).all((1, 2)))


class BatchAugmentation:
    """Varies images by chance, many at once.

    Args:
        images: uint8 ``[N, S, S, 3]``, on the device.
        labels: uint8 ``[N, S, S]``, likewise.
        label_set: tells which labels a mirror exchanges.
        settings: how much is changed.
        pictures: see `toolchain.datasets.surroundings.backdrop`.
        seed: of the backdrops.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        label_set: LabelSet,
        settings: AugmentationSettings,
        pictures: Pictures | None = None,
        seed: int = 0,
    ):
        self._images, self._labels, self._settings = images, labels, settings
        self._size, self._device = images.shape[1], images.device
        exchange = torch.arange(IGNORED + 1, dtype=torch.uint8).repeat(2)
        mirrored = torch.tensor(label_set.mirrored, dtype=torch.uint8)
        exchange[IGNORED + 1 :][: len(mirrored)] = mirrored
        self._exchange = exchange.to(self._device)
        self._jpeg = Jpeg(self._device)
        self._backdrops = _backdrops(images, labels, pictures, seed)

    def __call__(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return changed images uint8 ``[N, S, S, 3]`` and labels uint8 ``[N, S, S]``.

        Args:
            indices: of the images, ``[N]``.
            rng: the source of chance.
        """
        settings, count = self._settings, len(indices)
        grain = torch.Generator(self._device).manual_seed(int(rng.integers(2**62)))
        faceless = rng.random(count) < settings.faceless
        framed = ~faceless & (rng.random(count) < settings.framed)
        places = self._draw(framed, rng)
        images, labels, covered = self._placed(self._put(indices), places)

        whole = places.whole(self._size) & ~faceless
        if not whole.all():
            somebody = self._put(~faceless)[:, None, None]
            labels, covered = labels * somebody, covered & somebody
            around = self._surroundings(images, faceless, rng)
            cut_out = self._put(rng.random(count) < 0.5)[:, None, None]
            shown = (covered & (~cut_out | (labels > 0))).float()[:, None]
            share = blurred(shown, max(self._size / 256, 0.5)).minimum(covered.float()[:, None])
            share = share.maximum(self._put(whole)[:, None, None, None].float())
            images = around + share * (images - around)

        beside = framed & (rng.random(count) < settings.neighbours)
        if beside.any():
            self._add_neighbours(images, labels, beside, rng)
        change = self._put(np.stack([colour_change(rng, settings) for _ in range(count)]))
        images = torch.einsum("nij,njhw->nihw", change[..., :3], images) + change[..., 3:, None]
        images = self._degraded(images.clamp(0, 255), rng, grain)
        return images.round().byte().permute(0, 2, 3, 1), labels

    def _draw(self, framed: Flags, rng: np.random.Generator) -> _Places:
        """Draw where pictures lie: those that are framed anywhere in a wider frame."""
        settings, count = self._settings, len(framed)
        small = np.exp(rng.uniform(np.log(settings.smallest), 0, count))
        large = rng.uniform(settings.smallest_crop, settings.largest_crop, count)
        somewhere = rng.uniform(small[:, None] / 4, 1 - small[:, None] / 4, (count, 2))
        middle = 0.5 + rng.uniform(-settings.shift, settings.shift, (count, 2))
        return _Places(
            np.where(framed, small, large),
            np.where(framed[:, None], somewhere, middle),
            rng.uniform(-settings.rotation, settings.rotation, count),
            (rng.random(count) < 0.5) & settings.mirror,
        )

    def _placed(self, indices: Tensor, places: _Places) -> tuple[Tensor, Tensor, Tensor]:
        """Place pictures in frames.

        Returns:
            Images, float ``[N, 3, S, S]``, with their edges drawn out; labels, uint8 ``[N, S, S]``;
            and where the pictures are, bool ``[N, S, S]``.
        """
        size = self._size
        pictures = self._images[indices].permute(0, 3, 1, 2).float()
        labels = self._labels[indices].flatten(1)
        way = self._put(places.inward(size))
        middles = torch.arange(size, device=self._device) + 0.5
        x, y = middles[None, None, :], middles[None, :, None]
        u, v = (
            way[:, axis, 0, None, None] * x
            + way[:, axis, 1, None, None] * y
            + way[:, axis, 2, None, None]
            for axis in (0, 1)
        )
        covered = (u >= 0) & (u < size) & (v >= 0) & (v < size)
        column, row = (t.clamp(0, size - 1).long() for t in (u, v))
        found = labels.gather(1, (row * size + column).flatten(1)).view_as(covered).long()
        found += (IGNORED + 1) * self._put(places.mirrored)[:, None, None]
        return (
            looked_up(pictures, u, v, places.scale, self._put),
            self._exchange[found] * covered,
            covered,
        )

    def _surroundings(self, drawn: Tensor, faceless: Flags, rng: np.random.Generator) -> Tensor:
        """Draw what lies around pictures, as `toolchain.datasets.surroundings` does.

        Args:
            drawn: the pictures with their edges drawn out, ``[N, 3, S, S]``.
            faceless: which of them will not be seen, ``[N]``.
            rng: the source of chance.
        """
        count, size = len(drawn), self._size
        edges = self._put(~faceless & (rng.random(count) < 1 / 3))[:, None, None, None]
        soft = blurred(F.adaptive_avg_pool2d(drawn, _SOFT), _SOFT / 32)
        continued = F.interpolate(soft, (size, size), mode="bilinear")

        chosen = self._put(rng.integers(len(self._backdrops), size=count))
        part = rng.uniform(0.7, 1, count)
        middle = rng.uniform(part - 1, 1 - part, (2, count))
        ways = [part * rng.choice([-1, 1], count), part]
        line = (torch.arange(size, device=self._device) + 0.5) / size * 2 - 1
        x, y = (
            self._put(at)[:, None] + self._put(way)[:, None] * line
            for at, way in zip(middle, ways, strict=True)
        )
        grid = torch.stack(
            [x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1
        )
        whole = self._backdrops[chosen].permute(0, 3, 1, 2).float()
        seen = F.grid_sample(whole, grid, padding_mode="border", align_corners=False)
        return torch.where(edges, continued, seen)

    def _add_neighbours(
        self, images: Tensor, labels: Tensor, beside: Flags, rng: np.random.Generator
    ) -> None:
        """Put another picture's people behind those of some, across the left or the right edge."""
        count = int(beside.sum())
        places = self._draw(np.ones(count, bool), rng)
        side = rng.integers(2, size=count) + rng.uniform(-0.35, 0.35, count) * places.scale
        places.centre[:, 0] = side
        others = self._put(rng.integers(len(self._images), size=count))
        behind, behind_labels, _ = self._placed(others, places)
        which = self._put(np.flatnonzero(beside))
        seen = (behind_labels > 0) & (labels[which] == 0)
        images[which] = torch.where(seen[:, None], behind, images[which])
        labels[which] = torch.where(seen, behind_labels, labels[which])

    def _degraded(self, images: Tensor, rng: np.random.Generator, grain: torch.Generator) -> Tensor:
        settings = self._settings

        def some(chance: float) -> tuple[Tensor, int]:
            which = np.flatnonzero(rng.random(len(images)) < chance)
            return self._put(which), len(which)

        soft, count = some(settings.degraded)
        if count:
            sigma = self._put(rng.uniform(0, settings.blur, count)).clamp(min=0.1)
            images[soft] = blurred(images[soft], sigma, settings.blur)
        noisy, count = some(settings.degraded)
        if count:
            most = self._put(rng.uniform(0, settings.noise, count))[:, None, None, None]
            flat = torch.rand(images[noisy].shape, generator=grain, device=self._device)
            images[noisy] = (images[noisy] + most * (2 * flat - 1)).clamp(0, 255)
        compressed, count = some(settings.degraded)
        if count:
            quality = self._put(rng.integers(settings.jpeg, 96, count))
            images[compressed] = self._jpeg(images[compressed], quality)
        return images

    def _put(self, values: npt.NDArray[np.generic]) -> Tensor:
        """Bring drawn values to the device, where floats have 32 bits, without waiting for it."""
        tensor = torch.from_numpy(values)
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)


def _backdrops(images: Tensor, labels: Tensor, pictures: Pictures | None, seed: int) -> Tensor:
    """Draw frames without anybody, uint8 ``[BACKDROPS, S, S, 3]``."""

    def draw(number: int) -> Pixels:
        rng = np.random.default_rng((seed, number))

        def other() -> Sample:
            index = int(rng.integers(len(images)))
            return Sample("", images[index].cpu().numpy(), labels[index].cpu().numpy())

        return backdrop(rng, images.shape[1], other, pictures)

    with ThreadPoolExecutor(usable_cores()) as pool:
        drawing = pool.map(draw, range(BACKDROPS))
        drawn = np.stack(list(track(drawing, "drawing backdrops", BACKDROPS)))
    return torch.from_numpy(drawn).to(images.device)
