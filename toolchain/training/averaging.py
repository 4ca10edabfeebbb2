"""Averages of weights: over the steps of a training, and of its start with its end."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a network's weights and batch-norm statistics.

    Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992). The decay
    rises with the updates done, so that the random start soon leaves the average.

    Args:
        network: its ``update_parameters`` takes it after each step.
        decay: the share of the average that an update leaves as it is.

    Returns:
        The average; its ``module``, in evaluation mode, is the network with averaged weights.
    """

    def move(averages: Tensors, current: Tensors, updates: Tensor | int) -> None:
        if averages[0].is_floating_point():
            done = int(updates) + 1
            torch._foreach_lerp_(averages, current, 1 - min(decay, done / (done + 9)))
        else:  # counts
            torch._foreach_copy_(averages, current)

    average = AveragedModel(network, multi_avg_fn=torch.no_grad()(move), use_buffers=True)
    return average.eval().requires_grad_(False)


def decay_of(half_life: float) -> float:
    """Return the decay by which what an average took in counts half after so many updates."""
    return 0.5 ** (1 / half_life) if half_life else 0.0


def between(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return the weights between those that a training began and ended with.

    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022: where a trained network is
    trained on other images, weights in between can be better on old and new ones than either.

    Args:
        start: the state of a network.
        end: that of the same one later.
        share: of the start.
    """
    return {
        name: value.lerp(start[name].to(value), share) if value.is_floating_point() else value
        for name, value in end.items()
    }
