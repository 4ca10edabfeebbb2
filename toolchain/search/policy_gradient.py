"""PPO and REINFORCE on the controller; the whole state follows from the seed and the history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolchain.search.controller import Controller

BLOCK = 32
"""Sequences that are drawn at once."""


@dataclass(frozen=True)
class PolicySettings:
    """How the policy learns.

    Attributes:
        algorithm: "ppo" (Schulman et al., 2017, clipped objective) or "reinforce" (Williams, 1992).
        batch: trials between two updates.
        epochs: passes of PPO over a batch; REINFORCE makes one.
        baseline_decay: of the running mean of rewards.
        entropy: weight of the entropy bonus.
    """

    algorithm: str = "ppo"
    batch: int = 10
    epochs: int = 2
    learning_rate: float = 3e-3
    clip: float = 0.2
    baseline_decay: float = 0.9
    entropy: float = 0.1


class PolicyGradient:
    """Draws sequences of decisions and learns from their rewards.

    Two objects with the same options, settings and seed that were told the same are equal: the
    chance in a draw follows from the trial's number, so nothing has to be saved to continue a
    search but the trials themselves.
    """

    def __init__(
        self, options: Sequence[int], settings: PolicySettings | None = None, seed: int = 0
    ):
        self.settings = settings or PolicySettings()
        self._seed, self._options = seed, options
        # Its own random stream: building a controller does not disturb anybody's.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.controller = Controller(options)
        self._optimiser = torch.optim.Adam(
            self.controller.parameters(), self.settings.learning_rate
        )
        self._pending: list[tuple[list[int], float]] = []
        self._drawn: dict[int, list[int]] = {}
        self._baseline: float | None = None
        self._scale: float | None = None

    def draw(self, number: int) -> list[int]:
        """Draw the decisions of trial ``number`` from the present policy."""
        if number not in self._drawn:
            # Whole blocks with fixed borders: the sums of a batch come out the same to the last
            # bit, wherever an interrupted search goes on.
            first = number - number % BLOCK
            numbers = range(first, first + BLOCK)
            noise = torch.stack([self._noise(each) for each in numbers])
            self._drawn = dict(zip(numbers, self.controller.sample(noise), strict=True))
        return self._drawn[number]

    def _noise(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(trial_seed(self._seed, number))
        shape = (len(self._options), max(self._options))
        return -torch.empty(shape).exponential_(generator=generator).log()

    def learn(self, actions: list[int], reward: float) -> None:
        """Take one result; the policy is updated when a batch is full."""
        self._pending.append((actions, reward))
        if len(self._pending) == self.settings.batch:
            sequences = torch.tensor([pair[0] for pair in self._pending])
            rewards = torch.tensor([pair[1] for pair in self._pending])
            self._update(sequences, self._advantages(rewards))
            self._pending.clear()
            self._drawn.clear()

    def _advantages(self, rewards: Tensor) -> Tensor:
        mean, spread = float(rewards.mean()), float(rewards.std())
        decay = self.settings.baseline_decay
        if self._baseline is None or self._scale is None:
            self._baseline, self._scale = mean, spread
        advantages = (rewards - self._baseline) / max(self._scale, 1e-6)
        self._baseline = decay * self._baseline + (1 - decay) * mean
        self._scale = decay * self._scale + (1 - decay) * spread
        return advantages

    def _update(self, sequences: Tensor, advantages: Tensor) -> None:
        s = self.settings
        with torch.no_grad():
            old, _ = self.controller.evaluate(sequences)
        for _ in range(s.epochs if s.algorithm == "ppo" else 1):
            log_probability, entropy = self.controller.evaluate(sequences)
            if s.algorithm == "ppo":
                ratio = (log_probability - old).exp()
                clipped = ratio.clamp(1 - s.clip, 1 + s.clip)
                gain = torch.minimum(ratio * advantages, clipped * advantages)
            else:
                gain = log_probability * advantages
            loss = -(gain + s.entropy * entropy).mean()
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.controller.parameters(), 1.0)
            self._optimiser.step()


def trial_seed(seed: int, number: int) -> int:
    """Return a seed for what is random in one trial, below 2 ^ 32."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
