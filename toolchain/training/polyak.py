"""Averages of weights over the steps of a training."""

import copy
from typing import Any

import torch
from torch import nn


class PolyakAverage:
    """An exponential moving average of a network's weights and batch-norm statistics.

    Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992). The decay
    rises with the steps done, so that the random start soon leaves the average.

    Attributes:
        network: a copy with the averaged weights, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of ``network``."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        averaged, current = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [averaged[name] for name in floats], [current[name] for name in floats], 1 - decay
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on exactly."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another average of the same network."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
