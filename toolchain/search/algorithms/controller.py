"""The policy-gradient controller: a recurrent policy that writes architectures and learns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


class Controller(nn.Module):
    """A two-layer LSTM of 100 units with an embedding and a head for each decision.

    Source: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017; the
    sizes are those of Nekrasov et al., CVPR 2019.

    Args:
        options: number of options of each decision, in order.
    """

    def __init__(self, options: Sequence[int], hidden: int = 100, layers: int = 2):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(hidden))
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.embeddings = nn.ModuleList(nn.Embedding(count, hidden) for count in options)
        self.heads = nn.ModuleList(nn.Linear(hidden, count) for count in options)
        for head in self.heads:
            # A fresh policy is uniform, so that nothing is preferred before anything is known.
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def sample(self, noise: Tensor, temperature: float = 1.0) -> tuple[list[int], float]:
        """Draw a sequence of decisions.

        Args:
            noise: [decisions, most options], independent draws of the standard Gumbel
                distribution: the largest sum of logit and noise is a sample of the softmax
                (Gumbel, 1954; Maddison et al., "A* Sampling", NeurIPS 2014).
            temperature: divides the logits; the higher, the more even the draw.

        Returns:
            The decisions, and the log-probability with which they were drawn.
        """
        step, state = self.start.expand(1, 1, -1), None
        actions: list[int] = []
        log_probability = 0.0
        for position, (head, embedding) in enumerate(zip(self.heads, self.embeddings, strict=True)):
            hidden, state = self.lstm(step, state)
            logits = (head(hidden[0, 0]) / temperature).log_softmax(0)
            action = int((logits + noise[position, : len(logits)]).argmax())
            actions.append(action)
            log_probability += float(logits[action])
            step = embedding(torch.tensor([[action]]))
        return actions, log_probability

    def evaluate(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probability and mean entropy of sequences.

        Args:
            actions: [N, decisions], integers.

        Returns:
            Two tensors [N]: the summed log-probability, the entropy averaged over the decisions.
        """
        embedded = [
            embedding(actions[:, position]) for position, embedding in enumerate(self.embeddings)
        ]
        start = self.start.expand(len(actions), -1)
        hidden, _ = self.lstm(torch.stack([start, *embedded[:-1]], 1))
        probabilities, entropies = [], []
        for position, head in enumerate(self.heads):
            logits = head(hidden[:, position]).log_softmax(1)
            probabilities.append(logits.gather(1, actions[:, position, None])[:, 0])
            entropies.append(-(logits.exp() * logits).sum(1))
        return torch.stack(probabilities).sum(0), torch.stack(entropies).mean(0)


LEAST_SPREAD = 0.01
"""Of rewards: smaller differences are of no account."""


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
        self._pending: list[tuple[list[int], float, float]] = []
        self._baseline: float | None = None
        self._scale: float | None = None

    def draw(self, number: int, temperature: float = 1.0) -> tuple[list[int], float]:
        """Draw the decisions of trial ``number``; return them and their log-probability.

        One sequence at a time: sums over a batch would differ in the last bit with its size, and
        with it what an interrupted search draws.
        """
        return self.controller.sample(self._noise(number), temperature)

    def _noise(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(trial_seed(self._seed, number))
        shape = (len(self._options), max(self._options))
        return -torch.empty(shape).exponential_(generator=generator).log()

    def learn(self, actions: list[int], reward: float, log_probability: float) -> None:
        """Take one result; the policy is updated when a batch is full.

        Args:
            actions: the decisions.
            reward: what they earned.
            log_probability: with which they were drawn, perhaps by an earlier policy.
        """
        self._pending.append((actions, reward, log_probability))
        if len(self._pending) == self.settings.batch:
            actions_, rewards, drawn = zip(*self._pending, strict=True)
            self._update(
                torch.tensor(actions_), self._advantages(torch.tensor(rewards)), torch.tensor(drawn)
            )
            self._pending.clear()

    def _advantages(self, rewards: Tensor) -> Tensor:
        mean, spread = float(rewards.mean()), float(rewards.std())
        decay = self.settings.baseline_decay
        if self._baseline is None or self._scale is None:
            self._baseline, self._scale = mean, spread
        # A batch of equal rewards (all over a budget, say) must not blow up the next one.
        advantages = (rewards - self._baseline) / max(self._scale, spread, LEAST_SPREAD)
        self._baseline = decay * self._baseline + (1 - decay) * mean
        self._scale = decay * self._scale + (1 - decay) * spread
        return advantages

    def _update(self, sequences: Tensor, advantages: Tensor, drawn: Tensor) -> None:
        s = self.settings
        for _ in range(s.epochs if s.algorithm == "ppo" else 1):
            log_probability, entropy = self.controller.evaluate(sequences)
            if s.algorithm == "ppo":
                ratio = (log_probability - drawn).exp()
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
