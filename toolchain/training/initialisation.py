"""Where a training starts: weights of an earlier training, or of an encoder for ImageNet."""

from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import DataError
from toolchain.networks.segmenter import Segmenter, load_encoder_weights
from toolchain.training.checkpoints import is_checkpoint, read_checkpoint


def load_initial_weights(network: Segmenter, path: str | Path, images: Tensor) -> str:
    """Start a network from a checkpoint of ours or from an encoder file.

    A checkpoint of the same genotype and width gives every tensor that has the same name and shape
    (a classifier for other classes stays new); of another genotype only the encoder's. Any other
    file goes to `load_encoder_weights`, and its batch norms through `rebase_batch_norms`.

    Args:
        network: on the CPU; changed in place.
        path: the file.
        images: some training images, normalised, float ``[N, 3, H, W]``.

    Returns:
        One line that says what was taken.

    Raises:
        DataError: the file cannot be read or does not fit the network.
    """
    if not is_checkpoint(path):
        load_encoder_weights(network.encoder, path)
        rebase_batch_norms(network.encoder, images)
        return f"encoder from {path}"
    info, document = read_checkpoint(path)
    if info.encoder != network.encoder_name:
        raise DataError(path, f"has the encoder {info.encoder}, not {network.encoder_name}")
    same = (info.genotype, info.aggregation) == (str(network.genotype), network.aggregation)
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in document["model"].items()
        if (same or name.startswith("encoder.")) and own[name].shape == value.shape
    }
    network.load_state_dict(fitting, strict=False)
    part = "network" if same else "encoder"
    return f"{part} from {path}: {len(fitting)} of {len(own)} tensors"


@torch.no_grad()
def rebase_batch_norms(network: nn.Module, images: Tensor) -> None:
    """Give folded batch norms their statistics back, leaving the network's function as it is.

    An encoder whose batch norms were folded into its convolutions has norms with mean 0 and
    variance 1, which are not those of what the convolutions give: the first training step, which
    normalises by the batch's own statistics, would destroy the function. Here each norm takes the
    statistics that it sees in ``images``, and the scale and shift that undo the change.

    Args:
        network: changed in place, and left in evaluation mode.
        images: what it takes, float ``[N, 3, H, W]``, normalised.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        seen[norm] = (mean, variance)

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    network.eval()(images)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, variance = seen[norm]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        slope = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_((mean - norm.running_mean) * slope)
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
