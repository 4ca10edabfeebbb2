"""int8 files: scales from the user's own images, and what stays in float by its measured worth.

Weights have one scale a channel; activations are rounded where ONNX Runtime's QDQ form says. The
ranges of all activations are taken once; after that a file with any parts left in float is a matter
of a second, so that the parts can be chosen by what they do to a score.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import onnx

from export.onnx_file.writing import PRODUCER, Target, part
from export.precision.half import is_constant, quiet, read, write
from export.precision.integer_paths import shorten
from export.precision.saturation import Array, weight_ranges
from export.system.errors import UsageError
from export.system.files import whole_file


@dataclass(frozen=True)
class Int8Recipe:
    """How a target wants its integers.

    Attributes:
        signed_activations: int8 instead of uint8.
        symmetric: every zero point 0.
        saturating: the arithmetic may cut off sums of products; see `export.precision.saturation`.
        float_bias: leave the biases as they are.
    """

    signed_activations: bool
    symmetric: bool
    saturating: bool
    float_bias: bool


RECIPES: dict[Target, Int8Recipe] = {
    "cpu": Int8Recipe(False, False, True, False),
    # TensorRT takes zero points of 0 only, and adds biases in float.
    "gpu": Int8Recipe(True, True, False, True),
}


class Quantiser:
    """Writes int8 files of one exported file; a context manager.

    Args:
        source: a file of `export.onnx_file.writing.export_onnx`.
        images: uint8 [H, W, 3] of the file's size, to take the ranges of activations from; tens
            to hundreds, like those that the model will see.
        target: whose `RECIPES` to follow.

    Raises:
        DataError: ``source`` is not such a file.
        UsageError: there are no images.
    """

    def __init__(self, source: str | Path, images: Iterable[Array], target: Target = "cpu"):
        self.model = read(source)
        self.recipe = RECIPES[target]
        self._images = _Calibration(images)
        if not self._images.left:
            raise UsageError("int8 needs images to take its ranges from; give --calibration DATA")
        self._ranges = _image_range(self.model)
        if self.recipe.saturating:
            self._ranges |= weight_ranges(self.model)
        self._folder = TemporaryDirectory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def parts(self) -> list[str]:
        """The parts that can be left in float, by the first four names of their modules."""
        groups = (_group(n) for n in self.model.graph.node if part(n) == "network")
        return list(dict.fromkeys(filter(None, groups)))

    def write(self, path: str | Path, in_float: Collection[str] = ()) -> Path:
        """Write the file with its convolutions in int8.

        Args:
            path: the file.
            in_float: those of `parts` that stay in float.
        """
        if is_constant(self.model):
            return write(self.model, path)
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        left = [
            n.name for n in self.model.graph.node if part(n) != "network" or _group(n) in in_float
        ]
        with whole_file(path) as temporary:
            with quiet():
                quantize_static(
                    _copy(self.model),
                    temporary,
                    self._images,
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=(
                        QuantType.QInt8 if self.recipe.signed_activations else QuantType.QUInt8
                    ),
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=left,
                    extra_options={
                        "ActivationSymmetric": self.recipe.symmetric,
                        "WeightSymmetric": True,
                        "QuantizeBias": not self.recipe.float_bias,
                        "TensorQuantOverrides": self._ranges,
                    },
                    calibration_cache_path=Path(self._folder.name) / "ranges.json",
                )
            result = onnx.load(temporary)
            shorten(result.graph, zero_points=not self.recipe.symmetric)
            del result.metadata_props[:]
            result.metadata_props.extend(self.model.metadata_props)
            result.metadata_props.add(key="float_parts", value=json.dumps(list(in_float)))
            result.producer_name, result.producer_version = PRODUCER, ""
            onnx.checker.check_model(result)
            onnx.save(result, temporary)
        return Path(path)


@dataclass(frozen=True)
class FloatParts:
    """Which parts of an int8 file stay in float, and why.

    Attributes:
        names: the parts.
        score: of the file with them.
        all_int8: score of the file with none.
        alone: score of the file with each single part in float; empty if all in int8 was enough.
    """

    names: tuple[str, ...]
    score: float
    all_int8: float
    alone: dict[str, float]


def choose_float_parts(
    parts: Sequence[str], score: Callable[[Collection[str]], float], wanted: float
) -> FloatParts:
    """Find few parts to leave in float so that a score is reached.

    Args:
        parts: of `Quantiser.parts`.
        score: of a file with some parts in float; larger is better.
        wanted: the score to reach. If it cannot be, all parts are named.
    """
    reached = all_int8 = score(())
    if reached >= wanted:
        return FloatParts((), reached, all_int8, {})
    alone = {name: score((name,)) for name in parts}
    chosen: list[str] = []
    for name in sorted(parts, key=lambda name: -alone[name]):
        if reached >= wanted:
            break
        chosen.append(name)
        reached = score(tuple(chosen)) if chosen[1:] else alone[name]
    return FloatParts(tuple(chosen), reached, all_int8, alone)


def _group(node: onnx.NodeProto) -> str:
    # "network.decoder.merges.0.cells.1.operations.2/Conv_3" -> "decoder.merges.0.cells"
    names = node.name.partition("/")[0].split(".")[1:5]
    ends = [names.index(name) for name in ("convolutions", "activation") if name in names]
    return ".".join(names[: min(ends, default=None)])


def _image_range(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Return the range of the converted image, of which the images at hand may lack some."""
    made = {name for node in model.graph.node if part(node) == "input" for name in node.output}
    read = (n for node in model.graph.node if part(node) == "network" for n in node.input)
    whole = [{"rmin": np.float32(-1), "rmax": np.float32(1)}]
    return {name: whole for name in read if name in made}


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    # The quantiser writes into what it is given.
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


class _Calibration:
    """Feeds images one by one, as ONNX Runtime's calibrator asks for them."""

    def __init__(self, images: Iterable[Array]):
        self._images = iter(images)
        self._next = next(self._images, None)

    @property
    def left(self) -> bool:
        """Whether there are any more."""
        return self._next is not None

    def get_next(self) -> dict[str, Array] | None:
        image, self._next = self._next, next(self._images, None)
        return None if image is None else {"image": np.ascontiguousarray(image[None])}
