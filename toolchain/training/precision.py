"""Training in 16 bits where the device gains from it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class MixedPrecision:
    """Runs forward passes in 16 bits and takes steps in 32.

    bfloat16 where the device has it. Elsewhere on CUDA float16, whose gradients are scaled so that
    small ones do not vanish (Micikevicius et al., "Mixed Precision Training", ICLR 2018).

    Args:
        device: that trains.
        half: None: on CUDA only, since few CPUs have units for it.
    """

    def __init__(self, device: torch.device, half: bool | None = None):
        self._device = device.type
        self.enabled = device.type == "cuda" if half is None else half
        brain = device.type == "cpu" or _has_bfloat16(device)
        self._kind = torch.bfloat16 if brain else torch.float16
        self._scaler = torch.amp.GradScaler(self._device, enabled=self.enabled and not brain)

    def forward(self) -> AbstractContextManager[object]:
        """Return the context for forward passes and losses."""
        return torch.autocast(self._device, self._kind, enabled=self.enabled)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on exactly."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another one."""
        self._scaler.load_state_dict(state)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those that are there."""
        self._scaler.scale(loss).backward()

    def step(
        self,
        optimisers: Sequence[Optimizer],
        parameters: Sequence[nn.Parameter],
        gradient_norm: float,
    ) -> None:
        """Take one step by the gradients, and forget them.

        Args:
            optimisers: each steps.
            parameters: all that they change.
            gradient_norm: to which the gradient is clipped.
        """
        for optimiser in optimisers:
            self._scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(parameters, gradient_norm)
        for optimiser in optimisers:
            self._scaler.step(optimiser)
            optimiser.zero_grad()
        self._scaler.update()


def _has_bfloat16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        # Emulation, which torch counts as support, is slower than 32 bits.
        return torch.cuda.is_bf16_supported(including_emulation=False)
