"""The recurrent policy that writes architectures, one decision after the other."""

from collections.abc import Sequence

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
    def sample(self, noise: Tensor) -> list[list[int]]:
        """Draw sequences of decisions.

        Args:
            noise: [N, decisions, most options], independent draws of the standard Gumbel
                distribution: the largest sum of logit and noise is a sample of the softmax
                (Gumbel, 1954; Maddison et al., "A* Sampling", NeurIPS 2014).

        Returns:
            N sequences.
        """
        step, state, actions = self.start.expand(len(noise), 1, -1), None, []
        for position, (head, embedding) in enumerate(zip(self.heads, self.embeddings, strict=True)):
            hidden, state = self.lstm(step, state)
            logits = head(hidden[:, 0])
            actions.append((logits + noise[:, position, : logits.shape[1]]).argmax(1))
            step = embedding(actions[-1])[:, None]
        return torch.stack(actions, 1).tolist()

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
