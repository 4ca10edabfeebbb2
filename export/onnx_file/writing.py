"""A network as one complete ONNX file: uint8 image in, uint8 labels out."""

import ast
import contextlib
import io
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.simplify import simplify
from export.onnx_file.tail import DEFAULT_TAIL, TAILS
from export.system.errors import UsageError
from export.system.files import whole_file

OPSETS = (18, 19, 20)
STRIDE = 32
"""Sides that a network sees are multiples of this, the coarsest grid of common encoders."""
Output = Literal["labels", "probabilities"]
Target = Literal["cpu", "gpu"]
"""What a file is for. CPUs move bytes fastest; TensorRT takes them next to a cast only, and so the
bytes of a file for GPUs become floats first and bytes again last."""
INSIDE: dict[Target, torch.dtype] = {"cpu": torch.uint8, "gpu": torch.float32}
"""As what labels are moved inside a file."""
LOGITS = "logits"
PRODUCER = "nastool"
PARTS = ("input", "network", "tail", "probabilities")


def normalise(images: Tensor) -> Tensor:
    """Turn images, uint8 [N, H, W, 3] RGB, into float32 [N, 3, H, W] of -1 to 1."""
    return _scaled(_planes(images, "cpu"))


def _planes(images: Tensor, target: Target) -> Tensor:
    if target == "gpu":
        return images.float().permute(0, 3, 1, 2)
    return images.permute(0, 3, 1, 2).float()


def _scaled(pixels: Tensor) -> Tensor:
    return pixels * (1 / 127.5) - 1


def shrinking(input_size: int, working_size: int | None) -> Fraction:
    """Return the side that a network sees over that of the image, in lowest terms.

    Raises:
        UsageError: the working size is no multiple of `STRIDE`, or above the input size.
    """
    size = input_size if working_size is None else working_size
    if not 0 < size <= input_size or (size != input_size and size % STRIDE):
        raise UsageError(
            f"the working size is {size}, but must be a multiple of {STRIDE} up to the input size "
            f"{input_size}; give another --working-size or --input-size"
        )
    return Fraction(size, input_size)


class InputConversion(nn.Module):
    """Images as a network takes them: averaged down to its working size, and normalised.

    Each pixel becomes the mean of the area that it covers, each pixel below in proportion to its
    share of that, as ``cv2.INTER_AREA`` has it: nothing is lost between two samples, as it is in
    bilinear resizing. It is a pooling for 1/p. For q/p, on CPUs, p columns after p columns become q
    by a product with their shares, and then p rows after p rows: a third to a seventh of the time
    of a convolution that makes q x q pixels of p x p. That is for GPUs: TensorRT for RTX has no
    products of float32 on Turing. So it costs little, is the same everywhere (a Resize is not),
    and takes only operators that every runtime has.

    Args:
        shrink: side of the result over that of the image, at most 1; sides of images are multiples
            of its denominator.
        target: where it is to run.
    """

    columns: Tensor
    rows: Tensor
    blocks: Tensor

    def __init__(self, shrink: Fraction = Fraction(1), target: Target = "cpu"):
        super().__init__()
        self.shrink = shrink
        self.target = target
        shares = torch.tensor(_area_shares(shrink))
        # Whole numbers, so that a file in int8 can add up bytes; the rest is left to the rows.
        whole = (shares * shrink.denominator).round()
        blocks = torch.einsum("ai,bj->abij", shares, shares).flatten(0, 1)[:, None]
        for name, value in (
            ("columns", torch.kron(whole, torch.eye(3)).T.contiguous()),  # colours lie together
            ("rows", shares / shrink.denominator),
            ("blocks", blocks.repeat(3, 1, 1, 1)),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 [N, H, W, 3] RGB into float32 [N, 3, H x shrink, W x shrink] of -1 to 1."""
        made, given = self.shrink.numerator, self.shrink.denominator
        # What is averaged is scaled last, being smaller.
        if made == given:
            pixels = _planes(images, self.target)
        elif made == 1:
            pixels = F.avg_pool2d(_planes(images, self.target), given)
        elif self.target == "cpu":
            narrow = images.float().unflatten(2, (-1, given)).flatten(3) @ self.columns
            small = self.rows @ narrow.flatten(2).unflatten(1, (-1, given))
            pixels = small.flatten(1, 2).unflatten(2, (-1, 3)).permute(0, 3, 1, 2)
        else:
            pixels = F.conv2d(_planes(images, "gpu"), self.blocks, stride=given, groups=3)
            pixels = F.pixel_shuffle(pixels, made)
        return _scaled(pixels)


def _area_shares(shrink: Fraction) -> list[list[float]]:
    """Return the share of each of p pixels of a line in each of the q that they become, [q, p]."""
    q, p = shrink.numerator, shrink.denominator
    # Of q x p equal pieces of the line, a pixel given covers q, and one made covers p.
    return [
        [
            max(0, min(p * made + p, q * given + q) - max(p * made, q * given)) / p
            for given in range(p)
        ]
        for made in range(q)
    ]


class Step(nn.Module):
    """A function as a module, so that its operators can be told from the network's in the file."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any) -> Tensor:
        """Call the function."""
        return self.function(*arguments)


def _probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over classes of ``[N, K, h, w]``, in steps.

    ONNX Runtime's own over an axis that is not the last one copies planes to and fro: of 19 x 64 x
    64 on two threads it takes 1.4 ms, these steps 0.5 ms.
    """
    shares = (logits - logits.amax(1, keepdim=True)).exp()
    return shares / shares.sum(1, keepdim=True)


class Deployable(nn.Module):
    """A network with its input conversion and its tail: what the file computes.

    Args:
        network: images, float32 [N, 3, H, W] as `InputConversion` makes them -> logits
            [N, K, h, w] at any lower resolution.
        output: ``"labels"``, or ``"probabilities"`` to have both.
        tail: which of `export.onnx_file.tail.TAILS` turns logits into labels.
        shrink: side of the images that the network sees, over that of those that are given.
        target: where it is to run.
    """

    def __init__(
        self,
        network: nn.Module,
        output: Output = "labels",
        tail: str = DEFAULT_TAIL,
        shrink: Fraction = Fraction(1),
        target: Target = "cpu",
    ):
        super().__init__()
        self.input = InputConversion(shrink, target)
        self.network = network
        self.tail = Step(partial(TAILS[tail], inside=INSIDE[target]))
        self.probabilities = Step(_probabilities)
        self.output = output

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute labels, uint8 [N, H, W], and if asked probabilities, float32 [N, K, h, w].

        Probabilities stay at the resolution of the network's logits; upsampling them is the
        caller's choice, because 19 full-size maps cost more than most networks.
        """
        logits = self.network(self.input(image))
        labels = self.tail(logits, image.shape[1], image.shape[2])
        if self.output == "labels":
            return labels
        return labels, self.probabilities(logits)


def export_onnx(
    network: nn.Module,
    path: str | Path,
    *,
    metadata: ModelMetadata,
    input_size: int = 512,
    working_size: int | None = None,
    batch: int | None = 1,
    any_size: bool = False,
    opset: int = 18,
    output: Output = "labels",
    tail: str = DEFAULT_TAIL,
    target: Target = "cpu",
) -> Path:
    """Write a network as a complete ONNX file.

    The file has the input ``image``, uint8 [N, H, W, 3] RGB, and the output ``labels``, uint8
    [N, H, W]; with ``output="probabilities"`` also ``probabilities``, float32 [N, K, h, w].

    Args:
        network: see `Deployable`. Pruned and folded by the caller; put into evaluation mode here.
        path: where to write; the file appears whole or not at all.
        metadata: written into the file.
        input_size: height and width, in pixels.
        working_size: to which the file averages images down before the network, a multiple of
            `STRIDE`; None is the input size.
        batch: images at once, or None for any number.
        any_size: leave height and width free: any multiples of `STRIDE`, or, with a working size
            that is q/p of the input size in lowest terms, of p x `STRIDE`.
        opset: 18, 19 or 20: older ones cannot be written, newer ones cannot be quantised.
        output: what the file gives.
        tail: name of the tail; see `export.onnx_file.tail`.
        target: what the file is for; both run everywhere but in TensorRT, which takes one for GPUs.

    Raises:
        UsageError: a number or a name is out of range.
    """
    if opset not in OPSETS:
        raise UsageError(f"opset must be one of {', '.join(map(str, OPSETS))}, not {opset}")
    if tail not in TAILS:
        raise UsageError(f"tail {tail!r} is not known; known: {', '.join(TAILS)}")
    shrink = shrinking(input_size, working_size)
    free: dict[int, Any] = {} if batch else {0: torch.export.Dim("batch")}
    size = input_size
    if any_size:
        step = STRIDE * shrink.denominator
        sides = [torch.export.Dim(f"{side}_{step}", min=2) for side in ("height", "width")]
        free |= {axis: step * side for axis, side in enumerate(sides, 1)}
        # The exporter takes a smallest size for fixed.
        size = max(size, 2 * step)
    model = to_onnx(
        Deployable(network, output, tail, shrink, target).eval(),
        # Two images for any number, because the exporter takes an axis of size 1 for fixed.
        torch.zeros(batch or 2, size, size, 3, dtype=torch.uint8),
        ["image"],
        ["labels"] if output == "labels" else ["labels", "probabilities"],
        opset=opset,
        dynamic_shapes={"image": free} if free else None,
    )
    _name_parts(model)
    if any_size or not batch:
        _copy_shape(model.graph.input[0], model.graph.output[0])
    _strip(model)
    metadata.model_copy(update={"tail": tail}).write(model)
    onnx.checker.check_model(model, full_check=True)
    path = Path(path)
    with whole_file(path) as temporary:
        onnx.save(model, temporary)
    return path


def to_onnx(
    module: nn.Module,
    example: Tensor,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    opset: int = 18,
    dynamic_shapes: Any = None,
) -> onnx.ModelProto:
    """Convert a module with torch's exporter, without the exporter's chatter.

    The nodes keep the notes by which they can be traced to modules; see `_name_parts`.
    """
    tempfile.gettempdir()  # torch needs it too, and says so in a hundred lines
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=True,
                external_data=False,
                opset_version=opset,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=dynamic_shapes,
                verbose=False,
            )
    finally:
        logging.disable(level)
    assert program is not None
    model = program.model_proto
    # Asked for less than it can write, the exporter silently writes more.
    written = {entry.domain: entry.version for entry in model.opset_import}
    assert written == {"": opset}, f"the exporter wrote opsets {written}, not {opset}"
    simplify(model)
    return model


def _name_parts(model: onnx.ModelProto) -> None:
    """Name each node after its module, ``network.decoder.head/Conv_1``, and the logits ``logits``.

    Reduced precision and profiles go by these names, through `part`.
    """
    graph = model.graph
    count: Counter[str] = Counter()
    makers = {}
    for node in graph.node:
        noted = {entry.key: entry.value for entry in node.metadata_props}
        scope = ast.literal_eval(noted.get("pkg.torch.onnx.name_scopes", "['', '']"))[-2]
        # What optimisation made, or torch added, has no module; it is always the network's.
        stem = f"{scope if scope.partition('.')[0] in PARTS else 'network'}/{node.op_type}"
        node.name = f"{stem}_{count[stem]}"
        count[stem] += 1
        makers.update(dict.fromkeys(node.output, node))
    # Of a network of any size the tail also reads sizes, which are whole numbers.
    floats = {
        value.name
        for value in graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    logits = [
        name
        for node in graph.node
        if part(node) == "tail"
        for name in node.input
        if name in floats and name in makers and part(makers[name]) == "network"
    ]
    # There are none where the network ignores its image and its logits have become constants.
    for node in graph.node if logits else ():
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == logits[0]:
                    names[i] = LOGITS


def part(node: onnx.NodeProto) -> str:
    """Return which of `Deployable`'s modules a node of an exported file belongs to."""
    first = node.name.partition("/")[0].partition(".")[0]
    return first if first in PARTS else "network"


def _copy_shape(image: onnx.ValueInfoProto, labels: onnx.ValueInfoProto) -> None:
    """Name the axes of the labels like the image's; the exporter writes formulas."""
    axes = labels.type.tensor_type.shape.dim
    for axis, like in zip(axes, image.type.tensor_type.shape.dim, strict=False):
        axis.CopyFrom(like)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes for debugging (stack traces, with paths of this machine)."""
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", ""
    model.graph.doc_string = ""
    del model.graph.value_info[:]
    for entry in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]
        entry.doc_string = ""
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
