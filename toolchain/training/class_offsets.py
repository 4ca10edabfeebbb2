"""What each class gets beside its logit, so that mean F1 is highest.

Losses weigh rare classes up, and what they then find likeliest is not what F1 rewards: mean F1 of
another bound between classes is higher. Moving the bounds after training, by a constant a class, is
post-hoc logit adjustment (Menon et al., ICLR 2021); here the constants are not taken from the
classes' shares but found, on images that nothing was trained on. They go into the bias of the
classifier, so a network with them costs nothing more.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from export.onnx_file.writing import Deployable
from export.system.console import track
from toolchain.datasets.labels import IGNORED
from toolchain.networks.segmenter import Segmenter
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter, save_checkpoint
from toolchain.training.evaluation import framed_samples, network_predictor, score
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import EpochOrder, Samples, batches

log = logging.getLogger(__name__)
BIAS = "decoder.classifier.bias"
FACT, GAIN = "class_offsets", "class_offsets_gain"
"""What a checkpoint's facts call the offsets, and what they were worth where not found."""
SCALES = {1.0: 0.5, 0.5: 0.25, 0.35: 0.25}
"""Sizes of the images in parts of the frame's, and how much mean F1 counts there: what helps faces
that fill the frame alone costs small ones several times as much."""
STEP, STEPS = 0.05, 30
"""An offset moves by so much, so many times at most."""
LARGEST = 1.5
SWEEPS = 2
PRICE = 0.001
"""Mean F1 that an offset of 1 must be worth, and by its square any other; it keeps chance out."""
LEAST_IMAGES = 5
"""A class that fewer have keeps its logit: its offset would be of those few."""
MOST_PIXELS = 1_000_000


@dataclass(frozen=True)
class Pixels:
    """Pixels of some images.

    Attributes:
        logits: float [K, P].
        labels: integers [P].
        images: of which image each is, [P].
        weight: how much their mean F1 counts.
    """

    logits: Tensor
    labels: Tensor
    images: Tensor
    weight: float = 1

    def half(self, number: int) -> "Pixels":
        """Return those of every other image, from image 0 or 1 on."""
        chosen = self.images % 2 == number
        return Pixels(self.logits[:, chosen], self.labels[chosen], self.images[chosen], self.weight)


def shift_classes(
    path: Path, samples: Samples, batch_size: int, device: torch.device
) -> dict[str, Any]:
    """Put class offsets into a checkpoint, unless it has them.

    They are found on half of the images and tried on the other half, both ways; where that gains
    nothing the network stays as it is. Else those of all images are taken.

    Args:
        path: the checkpoint; replaced whole.
        samples: of its input size, not augmented, that its network was not trained on.
        batch_size: images at once.
        device: that computes the logits.

    Returns:
        The figures of the checkpoint's network, as it is then, on the samples.
    """
    network, info = load_segmenter(path)
    found = None if FACT in info.training else _find(network, info, samples, batch_size, device)
    if found:
        network.get_parameter(BIAS).data += found[0].to(device)
    matrix = score(network_predictor(network, device, info.shrink), samples, batch_size)
    if found:
        offsets, gain = found
        facts = info.training | {
            FACT: [round(offset, 2) for offset in offsets.tolist()],
            GAIN: round(gain, 4),
            "mean_f1": matrix.mean_f1,
        }
        state = network.cpu().state_dict()
        save_checkpoint(path, dataclasses.replace(info, training=facts), state)
    return matrix.summary(info.label_set)


def _find(
    network: Segmenter,
    info: CheckpointInfo,
    samples: Samples,
    batch_size: int,
    device: torch.device,
) -> tuple[Tensor, float]:
    """Find a network's offsets, and what those of half of the images are worth on the others."""
    whole = Deployable(network, shrink=info.shrink).eval().to(device)
    sets = [_pixels(whole, samples, scale, batch_size, device) for scale in SCALES]
    pairs = info.label_set.swaps
    halves = [[pixels.half(number) for pixels in sets] for number in range(2)]
    gain = fmean(
        fmean(_gains(find_offsets(found, pairs), tried), [pixels.weight for pixels in tried])
        for found, tried in zip(halves, reversed(halves), strict=True)
    )
    if gain <= 0:
        log.info("class offsets: none, they would gain nothing on images not looked at")
        return torch.zeros(len(info.label_set.classes)), gain
    offsets = find_offsets(sets, pairs)
    log.info(
        "class offsets: %s of mean F1 with images at %s of the frame, %+.4f on average from "
        "either half of the images to the other",
        ", ".join(f"{each:+.4f}" for each in _gains(offsets, sets)),
        ", ".join(f"{scale:g}" for scale in SCALES),
        gain,
    )
    return offsets, gain


def find_offsets(sets: Sequence[Pixels], pairs: Sequence[tuple[int, int]] = ()) -> Tensor:
    """Find what to add to the logits of each class for the highest mean F1 of sets on average.

    One class after the other gets what is best beside the others' present offsets, twice over. All
    values for it are tried at once: what a pixel becomes depends on nothing but whether the class's
    offset is above a margin of that pixel.

    Args:
        sets: each has a mean F1 and a weight of its own.
        pairs: classes, left and right of a part, that get the same offset.

    Returns:
        Offsets, float [K].
    """
    classes = len(sets[0].logits)
    paired = {k for pair in pairs for k in pair}
    groups = [[k] for k in range(classes) if k not in paired] + [list(pair) for pair in pairs]
    held = [_images_with(k, sets) for k in range(classes)]
    groups = [group for group in groups if min(held[k] for k in group) >= LEAST_IMAGES]

    offsets = torch.zeros(classes)
    weights = torch.tensor([pixels.weight for pixels in sets]).double()
    moves = STEP * torch.arange(-STEPS, STEPS + 1)
    for _ in range(SWEEPS):
        for group in groups:
            moved = offsets[group[0]] + moves
            means = torch.stack([_means(pixels, offsets, group) for pixels in sets])
            worth = weights @ means / weights.sum() - PRICE * moved**2
            worth[moved.abs() > LARGEST] = -torch.inf
            offsets[group] = moved[worth.argmax()]
    return offsets


def _images_with(k: int, sets: Sequence[Pixels]) -> int:
    """Count the images that show a class in every set."""
    return min(len(pixels.images[pixels.labels == k].unique()) for pixels in sets)


def _means(pixels: Pixels, offsets: Tensor, group: list[int]) -> Tensor:
    """Return mean F1 for each move of a group's offset, [2 * STEPS + 1]."""
    classes, labels = len(offsets), pixels.labels
    present = labels.bincount(minlength=classes)
    scored = (present > 0) & (torch.arange(classes) > 0)  # as mean F1 is: without background
    shifted = pixels.logits + offsets[:, None]
    own, to = shifted[group].max(0)
    to = torch.tensor(group)[to]
    shifted[group] = -torch.inf
    rest, of = shifted.max(0)
    # With this many steps more, and all above, a pixel goes over to the group.
    margin = ((rest - own) / STEP).floor().add(STEPS + 1).clamp(0, 2 * STEPS + 1).long()
    gone, lost = _by_step(of, margin, labels, classes)
    come, won = _by_step(to, margin, labels, classes)
    predicted = gone.sum(1, keepdim=True) - gone.cumsum(1) + come.cumsum(1)
    right = lost.sum(1, keepdim=True) - lost.cumsum(1) + won.cumsum(1)
    f1 = 2 * right / (predicted + present[:, None]).clamp(min=1)
    return f1[scored].mean(0)[:-1]


def _by_step(
    predicted: Tensor, margin: Tensor, labels: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Count pixels, and those that are right, by predicted class and margin: [K, steps] each."""
    steps = 2 * STEPS + 2
    cells = predicted * steps + margin
    every, right = (
        chosen.bincount(minlength=classes * steps).view(classes, steps).double()
        for chosen in (cells, cells[predicted == labels])
    )
    return every, right


def _gains(offsets: Tensor, sets: Sequence[Pixels]) -> list[float]:
    """Say how much mean F1 over the classes that the labels have rises in each set."""
    gains = []
    for pixels in sets:
        before, after = ConfusionMatrix(len(offsets)), ConfusionMatrix(len(offsets))
        before.update(pixels.labels, pixels.logits.argmax(0))
        after.update(pixels.labels, (pixels.logits + offsets[:, None]).argmax(0))
        gains.append(after.mean_f1 - before.mean_f1)
    return gains


@torch.inference_mode()
def _pixels(
    network: Deployable, samples: Samples, scale: float, batch_size: int, device: torch.device
) -> Pixels:
    """Return a grid of the pixels of images at a part of the frame's size.

    Logits are of the labels' pixels, between those of the network, as a tail has them.
    """
    parts: list[Pixels] = []
    samples = framed_samples(samples.dataset, samples.size, scale)
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), batch_size)
    side = samples.size
    needed = ceil((len(samples) / MOST_PIXELS) ** 0.5 * scale * side)
    # Odd, so that they lie anywhere between the logits, as all pixels do.
    places = torch.arange(side)[needed // 2 :: needed + 1 - needed % 2]
    at = (2 * places + 1) / side - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)[None]
    for inputs, truth in track(loader, f"class offsets at {scale:g}", len(loader)):
        found = network.network(network.input(inputs.to(device))).float().cpu()
        points = grid.expand(len(found), -1, -1, -1)
        found = grid_sample(found, points, padding_mode="border", align_corners=False)
        logits, labels = found.movedim(1, 0), truth[:, places][..., places]
        known = labels != IGNORED
        first = len(parts) * batch_size
        numbers = torch.arange(first, first + len(labels))[:, None, None].expand_as(labels)
        parts.append(Pixels(logits[:, known], labels[known].long(), numbers[known]))
    return Pixels(
        torch.cat([part.logits for part in parts], 1),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.images for part in parts]),
        SCALES[scale],
    )
