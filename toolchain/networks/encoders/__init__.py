"""Encoders by name: their description (without torch) and the torch module built from it."""

from typing import TYPE_CHECKING

from export.system.errors import UsageError
from toolchain.networks.encoders.description import EncoderDescription
from toolchain.networks.encoders.ghostnet import describe_ghostnet
from toolchain.networks.encoders.mobilenetv2 import describe_mobilenetv2

if TYPE_CHECKING:
    from toolchain.networks.encoders.modules import Encoder

_DESCRIPTIONS: dict[str, EncoderDescription] = {}


def register(description: EncoderDescription) -> None:
    """Make an encoder known by its name; a second one of the same name is an error."""
    if description.name in _DESCRIPTIONS:
        raise ValueError(f"an encoder named {description.name!r} is registered already")
    _DESCRIPTIONS[description.name] = description


def encoder_names() -> list[str]:
    """Return the names of all encoders."""
    return list(_DESCRIPTIONS)


def describe_encoder(name: str) -> EncoderDescription:
    """Return an encoder's description.

    Raises:
        UsageError: there is no encoder of that name.
    """
    if name not in _DESCRIPTIONS:
        raise UsageError(f"no encoder is named {name!r}; there are {', '.join(_DESCRIPTIONS)}")
    return _DESCRIPTIONS[name]


def build_encoder(name: str) -> "Encoder":
    """Build an encoder with random weights; see `describe_encoder`."""
    from toolchain.networks.encoders.modules import Encoder

    return Encoder(describe_encoder(name))


for _width in (1.0, 0.75, 0.5, 0.35):
    register(describe_mobilenetv2(_width))
for _width in (1.0, 0.5, 0.35, 0.25, 0.1):
    register(describe_ghostnet(_width))
