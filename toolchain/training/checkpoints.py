"""Checkpoints: a network's weights with all that is needed to build, judge and export it."""

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, TypeAdapter, ValidationError

from export.onnx_file.metadata import ModelMetadata
from export.onnx_file.writing import shrinking
from export.system.errors import DataError, UsageError
from export.system.files import whole_file
from export.system.numbers import LARGEST_SIDE
from toolchain.architecture import Architecture
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.seen import SeenImages
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import Segmenter, build_segmenter
from toolchain.networks.torch_file import read_torch

FORMAT = "nastool checkpoint"
FORMAT_VERSION = 3
"""Version 1 did not say which images the network has seen, version 2 had no working size."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of its network.

    Attributes:
        genotype: the decoder's published text.
        encoder: the encoder's name.
        aggregation: channels of the decoder.
        label_set: the classes that it tells apart.
        input_size: width and height in pixels of the images that it was trained for.
        licence: the terms under which the weights may be used, which follow the training data.
        training: facts of the training (data, images, epochs, losses, scores), plain values.
        seen: text of `SeenImages.encode`: the images that it, its teacher and the weights that it
            started from were trained on; None where that is not known.
        working_size: those to which the images are averaged down for it; None: they are not.

    Raises:
        ValueError: ``seen`` is another text.
        UsageError: the working size does not fit the input size.
    """

    genotype: str
    encoder: str
    aggregation: Annotated[int, Field(ge=1, le=1024)]
    label_set: LabelSet
    input_size: Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
    licence: str
    training: dict[str, Any] = field(default_factory=dict)
    seen: str | None = None
    working_size: int | None = None

    def __post_init__(self) -> None:
        shrinking(self.input_size, self.working_size)
        if self.seen is not None:
            SeenImages.decode(self.seen)

    @property
    def seen_images(self) -> SeenImages | None:
        """The images that ``seen`` tells of."""
        return None if self.seen is None else SeenImages.decode(self.seen)

    @property
    def architecture(self) -> Architecture:
        """What the network computes."""
        return Architecture(Genotype.parse(self.genotype), self.encoder, self.working_size)

    @property
    def network_size(self) -> int:
        """Width and height in pixels of the images as the network itself sees them."""
        return self.working_size or self.input_size

    @property
    def shrink(self) -> Fraction:
        """The network's size over that of its input; see `InputConversion`."""
        return shrinking(self.input_size, self.working_size)

    def at(self, input_size: int | None = None, working_size: int | None = None) -> Self:
        """Say the same of the network at other sizes; None keeps one.

        Raises:
            UsageError: they do not fit each other.
        """
        size, working = input_size or self.input_size, working_size or self.working_size
        working = None if working == size else working
        return dataclasses.replace(self, input_size=size, working_size=working)

    def difference(self, earlier: Self) -> str | None:
        """Say in which field an earlier checkpoint's network was another one; None: in none."""
        for name in (each.name for each in dataclasses.fields(self) if each.name != "training"):
            then, now = getattr(earlier, name), getattr(self, name)
            if name == "label_set" and then.classes != now.classes:
                then, now = ", ".join(then.classes), ", ".join(now.classes)
                return f"its classes were {then}; those of the data are {now} now"
            if then != now:
                brief = isinstance(then, str | int) and name != "seen"
                return f"its {name} was {then}, now it is {now}" if brief else f"its {name} changed"
        return None

    def build(self) -> Segmenter:
        """Build the network, untrained."""
        return build_segmenter(
            Genotype.parse(self.genotype),
            encoder=self.encoder,
            classes=len(self.label_set.classes),
            aggregation=self.aggregation,
        )

    def metadata(self) -> ModelMetadata:
        """Return what an exported file says of itself."""
        return ModelMetadata(
            classes=list(self.label_set.classes),
            palette=list(self.label_set.palette),
            genotype=self.genotype,
            encoder=self.encoder,
            input_size=self.input_size,
            working_size=self.working_size,
            training=self.training,
            licence=self.licence,
            seen=self.seen,
        )


_INFO = TypeAdapter(CheckpointInfo)


def save_checkpoint(
    path: str | Path,
    info: CheckpointInfo,
    model: dict[str, torch.Tensor],
    resume: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        info: what the network is.
        model: the network's state.
        resume: further state (tensors, plain values) from which a training goes on.
    """
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **dataclasses.asdict(info),
        "model": model,
        "resume": resume,
        "checksum": _checksum(model, resume),
    }
    # Of a full disk torch itself says something that nobody understands.
    content = io.BytesIO()
    torch.save(document, content)
    with whole_file(path) as temporary:
        # CPython 3.12.1 crashes over the view of getbuffer() once a disk was full.
        temporary.write_bytes(content.getvalue())


def is_checkpoint(path: str | Path) -> bool:
    """Tell whether a file that torch can read is one of our checkpoints.

    Raises:
        DataError: it is missing or not a file of torch.
    """
    return _is_checkpoint(read_torch(path))


def read_checkpoint(path: str | Path) -> tuple[CheckpointInfo, dict[str, Any]]:
    """Read a checkpoint: what it says, and the whole document with ``model`` and ``resume``.

    Raises:
        DataError: the file is missing, broken, of a newer format or no checkpoint.
    """
    document = read_torch(path)
    if not _is_checkpoint(document):
        raise DataError(path, "is not a checkpoint of nastool train or pretrain")
    version = document.get("format_version")
    if not isinstance(version, int):
        raise DataError(path, "is a damaged checkpoint (no format_version); write it again")
    if version > FORMAT_VERSION:
        raise DataError(
            path,
            f"has format_version {version}; this nastool reads up to {FORMAT_VERSION}: update it",
        )
    # Files of earlier nastools have none.
    checksum = document.get("checksum")
    if checksum and checksum != _checksum(document.get("model"), document.get("resume")):
        raise DataError(
            path, "is damaged (its checksum is another); copy it again, or train it again"
        )
    if version < 2:
        document["seen"] = None
    if version < 3:
        document["working_size"] = None
    try:
        fields = {item.name: document[item.name] for item in dataclasses.fields(CheckpointInfo)}
        return _INFO.validate_python(fields), document
    except (KeyError, ValueError, UsageError) as error:
        raise DataError(path, f"is a damaged checkpoint ({_line(error)}); write it again") from None


def load_segmenter(path: str | Path) -> tuple[Segmenter, CheckpointInfo]:
    """Load a trained network, in evaluation mode, on the CPU.

    Raises:
        DataError: the file is missing, broken, of a newer format or no checkpoint.
    """
    info, document = read_checkpoint(path)
    try:
        network = info.build()
        # torch would drop the imaginary part of complex numbers with a warning.
        odd = [name for name, value in document["model"].items() if value.is_complex()]
        if not odd:
            network.load_state_dict(document["model"])
            state = network.state_dict().items()
            odd = [name for name, value in state if not torch.isfinite(value).all()]
        if odd:
            raise UsageError(f"{odd[0]} is no tensor of finite real numbers")
    except Exception as error:  # what a file holds for weights may be anything
        raise DataError(path, f"does not hold its network's weights ({_line(error)})") from None
    return network.eval(), info


def _checksum(*states: Any) -> str:
    """Return the SHA-256 of all that networks and optimisers hold."""
    digest = sha256()
    for part in _parts(states):
        digest.update(part)
    return digest.hexdigest()


def _parts(state: Any) -> Iterator[bytes | memoryview]:
    """Yield the bytes of nested tensors and plain values."""
    if isinstance(state, torch.Tensor):
        yield f"{state.dtype} {list(state.shape)} ".encode()
        # A stranger's may be sparse, or of a trillion elements that are one number.
        whole = state.numel() * state.element_size()
        if state.layout == torch.strided and whole <= state.untyped_storage().nbytes():
            yield state.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _parts(key)
            yield from _parts(value)
    elif isinstance(state, Sequence) and not isinstance(state, str):
        yield f"{len(state)} ".encode()
        for value in state:
            yield from _parts(value)
    else:
        yield f"{state!r} ".encode()


def _is_checkpoint(document: Any) -> bool:
    return isinstance(document, dict) and document.get("format") == FORMAT


def _line(error: Exception) -> str:
    """Say in a line what is wrong; where pydantic says it, the field too."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
