"""The pieces of the exported file that only torch knows: encoders and the tail, as ONNX models."""

import ast
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import update_wrapper
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from export.benchmarking.tail_choice import tail_model
from export.onnx_file.tail import DEFAULT_TAIL
from export.onnx_file.writing import InputConversion, Target, shrinking, to_onnx
from export.system.files import whole_file
from toolchain.networks.encoders import build_encoder
from toolchain.networks.units import fold_batch_norms


class _Taps(nn.Module):
    def __init__(self, encoder: str, shrink: Fraction, target: Target):
        super().__init__()
        self.input = InputConversion(shrink, target)
        self.encoder = build_encoder(encoder)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                # A trained network's biases are not 0, and the exporter drops those that are.
                nn.init.normal_(module.bias, std=0.1)
        fold_batch_norms(self.eval())

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.encoder(self.input(image))


class Part:
    """A function that exports a piece, each once; what it has exported can be kept in a folder."""

    def __init__(self, export: Callable[..., onnx.ModelProto]):
        update_wrapper(self, export)
        self._name, self._export = export.__name__, export
        self._exported: dict[tuple[Any, ...], onnx.ModelProto] = {}

    def __call__(self, *arguments: Any) -> onnx.ModelProto:
        """Export the piece, or return what has been exported."""
        if arguments not in self._exported:
            self._exported[arguments] = self._export(*arguments)
        return self._exported[arguments]

    def ready(self, folder: Path | None, *arguments: Any) -> None:
        """Export the piece, or read what an earlier process has exported into the folder."""
        path = None
        if folder:
            words = re.findall(r"[\w.]+", f"{self._name} {arguments}")
            path = folder / f"{'-'.join(words)}.onnx"
        if path and path.is_file():
            self._exported[arguments] = onnx.load(path)
        elif path:
            with whole_file(path) as temporary:
                temporary.write_bytes(self(*arguments).SerializeToString())
        else:
            self(*arguments)


@Part
def encoder_part(
    name: str,
    image: tuple[int, int],
    working_size: int | None = None,
    target: Target = "cpu",
) -> onnx.ModelProto:
    """Export an encoder: ``image``, uint8 [1, H, W, 3] -> its four taps at a working size.

    Its nodes are named by the parts of an exported file, ``input/`` and others.
    """
    shrink = shrinking(image[0], working_size)
    example = torch.zeros(1, *image, 3, dtype=torch.uint8)
    taps = [f"tap{tap}" for tap in range(1, 5)]
    model = to_onnx(_Taps(name, shrink, target), example, ["image"], taps)
    _name([node for node in model.graph.node if _module(node) == "input"], "input")
    return model


def _module(node: onnx.NodeProto) -> str:
    """Return which of `_Taps`' modules made a node, as the exporter has noted it."""
    noted = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(noted.get("pkg.torch.onnx.name_scopes", "['', '']"))
    return str(scopes[1]).partition(".")[0]


@Part
def tail_part(
    classes: int,
    size: tuple[int, int],
    image: tuple[int, int],
    tail: str = DEFAULT_TAIL,
    target: Target = "cpu",
) -> onnx.ModelProto:
    """Export a tail: ``logits`` [1, classes, h, w] -> ``labels``, uint8 [1, H, W].

    Its nodes are named ``tail/``.
    """
    model = onnx.ModelProto()
    model.CopyFrom(tail_model(tail, (1, classes, *size), *image, target))
    _name(model.graph.node, "tail")
    return model


def _name(nodes: Iterable[onnx.NodeProto], part: str) -> None:
    for node in nodes:
        node.name = f"{part}/{node.name}"
