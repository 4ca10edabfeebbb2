"""Where a training starts: weights of an earlier training, or of an encoder for ImageNet."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import DataError, UsageError
from toolchain.networks.encoder_weights import load_encoder_weights
from toolchain.networks.encoders import build_encoder
from toolchain.networks.segmenter import Segmenter
from toolchain.training.checkpoints import is_checkpoint, read_checkpoint


def match_weights(encoders: Sequence[str], files: Sequence[Path]) -> dict[str, Path]:
    """Say which file of weights is for which encoder; the files come in any order.

    A checkpoint of ours names its encoder; other files are tried on each.

    Args:
        encoders: names.
        files: one for each of them, or none at all.

    Returns:
        The file of each encoder; nothing where there are no files.

    Raises:
        UsageError: an encoder gets no file, or two.
        DataError: a file cannot be read, or fits none of the encoders.
    """
    encoders = list(dict.fromkeys(encoders))
    found: dict[str, Path] = {}
    for file in files:
        fitting = [encoder for encoder in encoders if _fits(file, encoder)]
        if not fitting:
            raise DataError(file, f"fits no encoder that is trained ({', '.join(encoders)})")
        encoder = next((name for name in fitting if name not in found), None)
        if encoder is None:
            raise UsageError(
                f"--weights {found[fitting[0]]} and {file} are both for {fitting[0]}; give one"
            )
        found[encoder] = file
    missing = [encoder for encoder in encoders if encoder not in found]
    if files and missing:
        raise UsageError(f"no file of --weights is for {missing[0]}; add one")
    return found


def _fits(path: Path, encoder: str) -> bool:
    if is_checkpoint(path):
        return read_checkpoint(path)[0].encoder == encoder
    network = build_encoder(encoder)
    try:
        load_encoder_weights(network, path)
    except DataError:
        return False
    return True


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
