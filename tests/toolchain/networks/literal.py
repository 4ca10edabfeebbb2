"""The search space word for word, as slow and plain as it is written: an oracle for tests.

Works on node numbers only, shares no code with `toolchain.graph` or `toolchain.networks.decoder`
but the weights of a decoder that was built from the same genotype.
"""

import torch
from torch.nn.functional import interpolate

from toolchain.genotype import OPERATIONS


def cell(genotype, modules, x):
    """Nodes 3k-1 = o1(p1), 3k = o2(p2), 3k+1 = their sum; loose ends are added."""

    def apply(number, operation, value):
        name = OPERATIONS[operation]
        if name == "skip_connect":
            return value
        if name == "none":
            return torch.zeros_like(x)
        return modules[str(number)](value).expand_as(x)

    nodes = {0: x, 1: apply(1, genotype.operation, x)}
    used = set()
    for k, (p1, p2, o1, o2) in enumerate(genotype.entries, 1):
        nodes[3 * k - 1] = apply(3 * k - 1, o1, nodes[p1])
        nodes[3 * k] = apply(3 * k, o2, nodes[p2])
        nodes[3 * k + 1] = nodes[3 * k - 1] + nodes[3 * k]
        used |= {p1, p2}
    ends = [n for n in range(1, 3 * len(genotype.entries) + 2, 3) if n not in used]
    return sum(nodes[n] for n in ends)


def up(x, size):
    return interpolate(x, size=size, mode="bilinear", align_corners=False)


def decoder(genotype, network, features):
    pool = [network.adapt[str(tap)](feature) for tap, feature in enumerate(features)]
    used = set()
    for (a, b), merge in zip(genotype.connections, network.merges, strict=True):
        first = merge.projections[0](cell(genotype, merge.cells[0].operations, pool[a]))
        second = merge.projections[1](cell(genotype, merge.cells[1].operations, pool[b]))
        size = max(first.shape[-2:], second.shape[-2:])
        pool.append(up(first, size) + up(second, size))
        used |= {a, b}
    ends = [pool[n] for n in range(4, len(pool)) if n not in used]
    size = max(end.shape[-2:] for end in ends)
    joined = torch.relu(torch.cat([up(end, size) for end in ends], 1))
    return network.classifier(network.head(joined))
