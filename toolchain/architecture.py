"""The architecture: everything that decides what a network computes, as one frozen value."""

from dataclasses import dataclass

from export.system.errors import UsageError
from toolchain.genotype import Genotype

STRIDE = 32
"""Working sizes are multiples of this, the coarsest grid of an encoder."""


@dataclass(frozen=True)
class Architecture:
    """A network as data: cost, table, weights and file are functions of it.

    The network takes images of the input size and gives labels of that size. In between it works at
    the working size: the image is averaged down to it exactly, inside the file.

    Attributes:
        genotype: the decoder.
        encoder: name of the encoder.
        working_size: side of the square that encoder and decoder see, pixels; None: that of the
            input, whatever it is.

    Raises:
        UsageError: the working size is no multiple of `STRIDE`.
    """

    genotype: Genotype
    encoder: str = "mobilenetv2"
    working_size: int | None = None

    def __post_init__(self) -> None:
        size = self.working_size
        if size is not None and (size < STRIDE or size % STRIDE):
            raise UsageError(f"a working size is a multiple of {STRIDE} pixels, not {size}")

    def __str__(self) -> str:
        where = f" at {self.working_size}" if self.working_size else ""
        return f"{self.encoder}{where} {self.genotype}"

    def working_image(self, image: tuple[int, int]) -> tuple[int, int]:
        """Return height and width that encoder and decoder see of an image, pixels.

        Args:
            image: height and width of the input.

        Raises:
            UsageError: the working size is above the input's, or the input is no square.
        """
        return working_image(image, self.working_size)


def working_image(image: tuple[int, int], working_size: int | None) -> tuple[int, int]:
    """Return height and width of an image, at a working size if there is one; see `Architecture`.

    Raises:
        UsageError: the working size is above the input's, or the input is no square.
    """
    if working_size is None:
        return image
    height, width = image
    if height != width:
        raise UsageError(f"a working size is for square images, not for {height}x{width}")
    if working_size > height:
        raise UsageError(f"the working size {working_size} is above the input size {height}")
    return working_size, working_size
