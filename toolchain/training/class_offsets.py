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
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from export.onnx_file.writing import Deployable
from export.system.console import track
from toolchain.datasets.labels import IGNORED
from toolchain.training.checkpoints import load_segmenter, save_checkpoint
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import EpochOrder, Samples, batches

log = logging.getLogger(__name__)
BIAS = "decoder.classifier.bias"
FACT, GAIN = "class_offsets", "class_offsets_gain"
"""What a checkpoint's facts call the offsets, and what they were worth where not found."""
STEP, STEPS = 0.05, 30
"""An offset moves by so much, so many times at most."""
LARGEST = 1.5
SWEEPS = 2
PRICE = 0.001
"""Mean F1 that an offset of 1 must be worth, and by its square any other; it keeps chance out."""
LEAST_IMAGES = 5
"""A class that fewer have keeps its logit: its offset would be of those few."""
MOST_PIXELS = 1_000_000


def shift_classes(path: Path, samples: Samples, batch_size: int, device: torch.device) -> None:
    """Put class offsets into a checkpoint, unless it has them.

    They are found on half of the images and tried on the other half, both ways; where that gains
    nothing the network stays as it is. Else those of all images are taken.

    Args:
        path: the checkpoint; replaced whole.
        samples: images, at the checkpoint's input size, that its network was not trained on.
        batch_size: images at once.
        device: that computes the logits.
    """
    network, info = load_segmenter(path)
    if FACT in info.training:
        return
    whole = Deployable(network, shrink=info.shrink).eval().to(device)
    logits, labels = _pixels(whole, samples, batch_size, device)
    pairs = info.label_set.swaps
    halves = [(logits[n::2], labels[n::2]) for n in range(2)]
    gains = [
        _gain(find_offsets(*found, pairs), *tried)
        for found, tried in zip(halves, reversed(halves), strict=True)
    ]
    gain = sum(gains) / len(gains)
    offsets = torch.zeros(logits.shape[1])
    if gain <= 0:
        log.info("class offsets: none, they would gain nothing on images not looked at")
    else:
        offsets = find_offsets(logits, labels, pairs)
        log.info(
            "class offsets: %+.4f of mean F1 where they were found, %+.4f from either half of "
            "the images to the other",
            *(_gain(offsets, logits, labels), gain),
        )
    state = network.cpu().state_dict()
    state[BIAS] += offsets
    facts = info.training | {
        FACT: [round(offset, 2) for offset in offsets.tolist()],
        GAIN: round(gain, 4),
    }
    save_checkpoint(path, dataclasses.replace(info, training=facts), state)


def find_offsets(logits: Tensor, labels: Tensor, pairs: Sequence[tuple[int, int]] = ()) -> Tensor:
    """Find what to add to the logits of each class for the highest mean F1.

    One class after the other gets what is best beside the others' present offsets, twice over. All
    values for it are tried at once: what a pixel becomes depends on nothing but whether the class's
    offset is above a margin of that pixel.

    Args:
        logits: float [N, K, h, w].
        labels: integers [N, h, w]; `IGNORED` counts as nothing.
        pairs: classes, left and right of a part, that get the same offset.

    Returns:
        Offsets, float [K].
    """
    classes = logits.shape[1]
    known = labels != IGNORED
    held = torch.stack([((labels == k) & known).flatten(1).any(1).sum() for k in range(classes)])
    logits, labels = logits.movedim(1, 0)[:, known], labels[known].long()
    present = labels.bincount(minlength=classes)
    scored = (present > 0) & (torch.arange(classes) > 0)  # as mean F1 is: without background
    paired = {k for pair in pairs for k in pair}
    groups = [[k] for k in range(classes) if k not in paired] + [list(pair) for pair in pairs]
    groups = [group for group in groups if held[group].min() >= LEAST_IMAGES]

    offsets = torch.zeros(classes)
    moves = STEP * torch.arange(-STEPS, STEPS + 1)
    for _ in range(SWEEPS):
        for group in groups:
            shifted = logits + offsets[:, None]
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
            moved = offsets[group[0]] + moves
            worth = f1[scored].mean(0)[: len(moves)] - PRICE * moved**2
            worth[moved.abs() > LARGEST] = -torch.inf
            offsets[group] = moved[worth.argmax()]
    return offsets


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


def _gain(offsets: Tensor, logits: Tensor, labels: Tensor) -> float:
    """Say how much mean F1 over the classes that the labels have rises."""
    means = []
    for shift in (torch.zeros_like(offsets), offsets):
        matrix = ConfusionMatrix(len(offsets))
        matrix.update(labels, (logits + shift[:, None, None]).argmax(1))
        means.append(matrix.mean_f1)
    return means[1] - means[0]


@torch.inference_mode()
def _pixels(
    network: Deployable, samples: Samples, batch_size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return logits, float [N, K, h, w], and the labels there, [N, h, w], of a grid of pixels."""
    logits, labels = [], []
    loader = batches(samples, EpochOrder(len(samples), shuffle=False), batch_size)
    for images, truth in track(loader, "class offsets", len(loader)):
        found = network.network(network.input(images.to(device))).float().cpu()
        height, width = found.shape[2:]
        step = ceil((height * width * len(samples) / MOST_PIXELS) ** 0.5)
        rows, columns = (torch.arange(step // 2, side, step) for side in (height, width))
        logits.append(found[:, :, rows][..., columns])
        # Of the label map the pixel in the middle of what a logit stands for.
        rows, columns = (
            ((places + 0.5) * labelled / side).long()
            for places, side, labelled in zip(
                (rows, columns), (height, width), truth.shape[1:], strict=True
            )
        )
        labels.append(truth[:, rows][..., columns])
    return torch.cat(logits), torch.cat(labels)
