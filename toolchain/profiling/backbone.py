"""Encoders at working sizes: what the networks of a latency table are built on."""

from typing import NamedTuple

from toolchain.networks.blueprint import Unit


class Backbone(NamedTuple):
    """An encoder at a working size; a genotype on it is an `Architecture`.

    Attributes:
        encoder: its name.
        working_size: pixels; None: that of the input.
    """

    encoder: str
    working_size: int | None = None

    def __str__(self) -> str:
        return f"{self.encoder} at {self.working_size}" if self.working_size else self.encoder


def working_size_of(stage: Unit) -> int:
    """Return the working size, in pixels, of a network that a stage of an encoder is from."""
    # Stage n ends at stride 2 << n.
    return stage.to[0] * (2 << int(stage.kind[-1]))
