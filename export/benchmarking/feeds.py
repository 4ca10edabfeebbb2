"""Arrays for the inputs of any model, to time it on."""

from collections.abc import Sequence
from math import prod

import cv2
import numpy as np

from export.runtimes.base import Array, Session, TensorSpec
from export.system.errors import DataError

MOST_ELEMENTS = 2**28
"""Of an input that is tried: more than those of an image of 8192 x 8192 pixels."""
MOST_SIDE = 2**15 - 1
"""Pixels, of pictures that OpenCV resizes."""


def sample_feeds(
    session: Session, input_size: int = 512, picture: Array | None = None, seed: int = 0
) -> dict[str, Array]:
    """Make an array for every input of a model, and try them.

    Inputs of bytes [N, H, W, 3] get a picture, because the time of a tail may depend on what is to
    be seen; noise, which no camera shows, would mislead. Everything else is random. Of the free
    axes the first is 1, the others are ``input_size``.

    Args:
        session: the opened model.
        input_size: in pixels.
        picture: uint8 [H, W, 3] of any size; None makes a smooth one of random colours.
        seed: of all that is random.

    Raises:
        DataError: the model does not run on them, or an input has no element, or too many to try.
    """
    generator = np.random.default_rng(seed)
    if picture is None:
        picture = generator.integers(0, 256, (6, 6, 3), np.uint8)
    for spec in session.inputs:
        if not 0 < prod(_shape(spec, input_size)) <= MOST_ELEMENTS:
            raise DataError(
                session.source, f"takes {spec}, of which no sample can be made; give another model"
            )
    feeds = {spec.name: _sample(spec, input_size, picture, generator) for spec in session.inputs}
    try:
        session.run(feeds)
    except DataError as error:
        if all(isinstance(axis, int) for spec in session.inputs for axis in spec.shape):
            raise
        raise DataError(
            session.source,
            f"{str(error).removeprefix(f'{session.source}: ')}; its free axes were set to 1 and "
            f"{input_size} ({_listed(session.inputs)}): try another --input-size",
        ) from None
    return feeds


def _listed(inputs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, inputs))


def _shape(spec: TensorSpec, input_size: int) -> tuple[int, ...]:
    return tuple(
        axis if isinstance(axis, int) else input_size if position else 1
        for position, axis in enumerate(spec.shape)
    )


def _sample(
    spec: TensorSpec, input_size: int, picture: Array, generator: np.random.Generator
) -> Array:
    shape = _shape(spec, input_size)
    if spec.dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and max(shape) <= MOST_SIDE:
        fitted = cv2.resize(picture, (shape[2], shape[1]), interpolation=cv2.INTER_CUBIC)
        return np.repeat(fitted[None], shape[0], axis=0)
    if np.issubdtype(spec.dtype, np.floating):
        return np.asarray(generator.standard_normal(shape)).astype(spec.dtype)
    return np.asarray(generator.integers(0, 2, shape)).astype(spec.dtype)
