"""The steps of a training: gradients of some batches, a rate, clipping, the averaged weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from toolchain.networks.segmenter import Segmenter
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.averaging import averaged, decay_of
from toolchain.training.precision import MixedPrecision


def cosine_with_warm_up(step: int, steps: int, warm_up: int) -> float:
    """Factor on the learning rate at ``step`` of ``steps``: a linear rise, then half a cosine to 0.

    Loshchilov & Hutter, "SGDR" (ICLR 2017), equation 5, without restarts. The first step has
    ``1 / (warm_up + 1)``, so that no step is wasted at rate 0.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class Optimisation:
    """AdamW on a network and on what its loss trains beside it.

    A pretrained encoder moves more slowly; norms and biases do not decay.

    Args:
        network: on its device.
        loss: a module, on the same device.
        settings: rates, decay, clipping, averaging.
        batches: of an epoch.

    Attributes:
        precision: in which forward passes run.
        steps: of an epoch.
        average: of the network; its ``module`` has the averaged weights.
    """

    def __init__(
        self, network: Segmenter, loss: nn.Module, settings: TrainingSettings, batches: int
    ):
        self._network, self._loss, self._settings = network, loss, settings
        self.precision = MixedPrecision(next(network.parameters()).device, settings.half)
        self.steps = math.ceil(batches / settings.accumulate)
        self.average = averaged(network, decay_of(settings.average_half_life * self.steps))
        self._optimiser = self._adam()
        self._schedule = self._course()

    @property
    def rate(self) -> float:
        """Learning rate of the decoder in the next step."""
        return float(self._schedule.get_last_lr()[-1])

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a batch's loss to those of its step."""
        self.precision.backward(loss / self._settings.accumulate)

    def step(self) -> None:
        """Take a step."""
        # Auxiliary heads learn too, but their gradients are none of the network's.
        clipped = list(self._network.parameters())
        self.precision.step([self._optimiser], clipped, self._settings.gradient_norm)
        self._schedule.step()
        self.average.update_parameters(self._network)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on exactly, but for the averaged weights."""
        return {
            "network": self._network.state_dict(),
            "loss": self._loss.state_dict(),
            "updates": self.average.n_averaged,
            "optimiser": self._optimiser.state_dict(),
            "scaler": self.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], averaged_weights: dict[str, Tensor]) -> None:
        """Take over the state of another one, which may have been of fewer epochs."""
        self._network.load_state_dict(state["network"])
        self._loss.load_state_dict(state["loss"])
        self.average.module.load_state_dict(averaged_weights)
        self.average.n_averaged.copy_(state["updates"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.precision.load_state_dict(state["scaler"])
        self._schedule = self._course(int(state["updates"]))

    def _adam(self) -> torch.optim.Optimizer:
        settings = self._settings
        slower = settings.encoder_rate if settings.weights else 1.0
        groups = [
            {
                "params": [p for p in module.parameters() if (p.dim() > 1) == decays],
                "lr": factor * settings.learning_rate,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for module, factor in (
                (self._network.encoder, slower),
                (self._loss, 1.0),
                (self._network.decoder, 1.0),
            )
            for decays in (True, False)
        ]
        return torch.optim.AdamW(groups, fused=True)

    def _course(self, done: int = 0) -> LambdaLR:
        """Return the course of the rates from ``done`` steps after its beginning."""
        steps = self._settings.epochs * self.steps
        warm_up = round(self._settings.warm_up * steps)
        return LambdaLR(
            self._optimiser, lambda step: cosine_with_warm_up(done + step, steps, warm_up)
        )
