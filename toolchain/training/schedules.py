"""How the learning rate moves over a training."""

import math


def cosine_with_warm_up(step: int, steps: int, warm_up: int) -> float:
    """Factor on the learning rate at ``step`` of ``steps``: a linear rise, then half a cosine to 0.

    Loshchilov & Hutter, "SGDR" (ICLR 2017), equation 5, without restarts. The first step has
    ``1 / (warm_up + 1)``, so that no step is wasted at rate 0.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
