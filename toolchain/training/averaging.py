"""Averages of weights over the steps of a training."""

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
