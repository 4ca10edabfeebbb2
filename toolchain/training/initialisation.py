"""Where a training starts: weights of an earlier training, or of an encoder for ImageNet."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from export.system.errors import DataError, UsageError
from toolchain.networks.encoder_weights import load_encoder_weights
from toolchain.networks.encoders import build_encoder, describe_encoder, encoder_names
from toolchain.networks.narrowing import can_narrow, narrow_encoder
from toolchain.networks.segmenter import Segmenter
from toolchain.training.checkpoints import (
    CheckpointInfo,
    is_checkpoint,
    load_segmenter,
    read_checkpoint,
)


def match_weights(encoders: Sequence[str], files: Sequence[Path]) -> dict[str, Path]:
    """Say which file of weights is for which encoder; the files come in any order.

    A checkpoint of ours names its encoder; other files are tried on each. An encoder that no file
    is for takes that of a wider one, see `toolchain.networks.narrowing`.

    Args:
        encoders: names.
        files: one for each of them, or none at all; none is needed for one that is narrowed.

    Returns:
        The file of each encoder; nothing where there are no files.

    Raises:
        UsageError: an encoder gets no file, or two.
        DataError: a file cannot be read, or fits none of the encoders.
    """
    encoders = list(dict.fromkeys(encoders))
    held = [(file, _encoder_in(file, encoders)) for file in files]
    found: dict[str, Path] = {}
    for file, name in held:
        if name in found:
            raise UsageError(f"--weights {found[name]} and {file} are both for {name}; give one")
        if name in encoders:
            found[name] = file
        elif not any(_narrows(name, encoder) for encoder in encoders):
            raise DataError(file, f"fits no encoder that is trained ({', '.join(encoders)})")
    for encoder in encoders if files else ():
        if encoder not in found:
            source = next((file for file, name in held if _narrows(name, encoder)), None)
            if source is None:
                raise UsageError(f"no file of --weights is for {encoder}; add one")
            found[encoder] = source
    return found


def _encoder_in(path: Path, wanted: Sequence[str]) -> str:
    """Return the encoder whose weights a file holds; "" where it is none of use.

    A checkpoint says it. Other files are tried on the wanted encoders, and on wider ones.
    """
    if is_checkpoint(path):
        return read_checkpoint(path)[0].encoder
    wider = [name for name in encoder_names() if any(_narrows(name, own) for own in wanted)]
    for name in dict.fromkeys([*wanted, *wider]):
        with suppress(DataError):
            load_encoder_weights(build_encoder(name), path)
            return name
    return ""


def _narrows(wide: str, encoder: str) -> bool:
    """Say whether an encoder can start from a wider one."""
    own = describe_encoder(encoder)
    return wide in encoder_names() and can_narrow(describe_encoder(wide), own)


def load_initial_weights(network: Segmenter, path: str | Path, images: Tensor) -> str:
    """Start a network from a checkpoint of ours or from an encoder file.

    A checkpoint of the same genotype and width gives every tensor that has the same name and shape
    (a classifier for other classes stays new); of another genotype only the encoder's. Any other
    file goes to `load_encoder_weights`, and its batch norms through `rebase_batch_norms`. A wider
    encoder is narrowed, see `toolchain.networks.narrowing`.

    Args:
        network: on the CPU; changed in place.
        path: the file.
        images: some training images, normalised, float ``[N, 3, H, W]``.

    Returns:
        One line that says what was taken.

    Raises:
        DataError: the file cannot be read or does not fit the network.
    """
    path, own = Path(path), network.encoder_name
    held = _encoder_in(path, [own])
    if _narrows(held, own):
        return _start_narrow(network, path, held, images)
    if not is_checkpoint(path):
        load_encoder_weights(network.encoder, path)
        rebase_batch_norms(network.encoder, images)
        return f"encoder from {path}"
    info, document = read_checkpoint(path)
    if info.encoder != own:
        raise DataError(path, f"has the encoder {info.encoder}, not {own}")
    return _take(network, path, info, document["model"])


def _take(network: Segmenter, path: Path, info: CheckpointInfo, state: Mapping[str, Tensor]) -> str:
    """Take over what fits of a checkpoint; say how much that is."""
    same = (info.genotype, info.aggregation) == (str(network.genotype), network.aggregation)
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in state.items()
        if (same or name.startswith("encoder.")) and name in own and own[name].shape == value.shape
    }
    network.load_state_dict(fitting, strict=False)
    part = "network" if same else "encoder"
    return f"{part} from {path}: {len(fitting)} of {len(own)} tensors"


def _start_narrow(network: Segmenter, path: Path, wider: str, images: Tensor) -> str:
    """Start a network from a file of a wider encoder."""
    if not is_checkpoint(path):
        encoder = build_encoder(wider)
        load_encoder_weights(encoder, path)
        narrow_encoder(encoder, network.encoder, images)
        said = f"encoder from {path}"
    else:
        wide, info = load_segmenter(path)
        directions = narrow_encoder(wide.encoder, network.encoder, images)
        decoder = {f"decoder.{name}": value for name, value in wide.decoder.state_dict().items()}
        for tap, basis in enumerate(directions):
            name = f"decoder.adapt.{tap}.convolutions.0.weight"
            if name in decoder:
                decoder[name] = torch.einsum("oc...,cd->od...", decoder[name], basis)
        said = _take(network, path, info, decoder | network.encoder.state_dict(prefix="encoder."))
    rebase_batch_norms(network.encoder, images)
    return f"{said}, narrowed from {wider}"


@torch.no_grad()
def settle_batch_norms(network: nn.Module, images: Tensor) -> None:
    """Give the batch norms of an untrained network the statistics of what they see in images.

    Norms that have seen nothing pass on what they get, which grows from layer to layer, in a
    hundred of them beyond what 16 bits hold.

    Args:
        network: changed in place, and left in evaluation mode.
        images: what it takes, float ``[N, 3, H, W]``, normalised.
    """

    def settle(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    _before_norms(network, images, settle)


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
    seen: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
        seen[norm] = (mean, variance)

    _before_norms(network, images, look)
    for norm, (mean, variance) in seen.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        slope = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_((mean - norm.running_mean) * slope)
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _before_norms(
    network: nn.Module, images: Tensor, look: Callable[[nn.BatchNorm2d, Tensor, Tensor], None]
) -> None:
    """Run images through a network; call with each batch norm, mean and variance of its input."""

    def hook(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        look(norm, mean, variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(hook) for norm in norms]
    network.eval()(images)
    for handle in hooks:
        handle.remove()
