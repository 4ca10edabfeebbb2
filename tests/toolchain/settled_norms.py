"""Untrained networks whose batch norms do something."""

import torch
from torch import nn


@torch.no_grad()
def settle_norms(network, inputs):
    """Give batch norms statistics of their own, near those of what they see of some inputs."""

    def settle(norm, seen):
        variance, mean = torch.var_mean(seen[0], (0, 2, 3), correction=0)
        spread = variance + 0.3  # that of a pooled map is next to nothing
        nn.init.uniform_(norm.bias, -0.2, 0.6)
        norm.running_var.copy_(spread * torch.empty_like(mean).uniform_(0.5, 2))
        norm.running_mean.copy_(mean + 0.3 * spread.sqrt() * torch.randn_like(mean))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
    network.eval()(inputs)
    for hook in hooks:
        hook.remove()
    return network
