"""What a model file says about itself, kept as the ONNX file's key-value pairs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from export.system.errors import DataError
from export.system.files import parse_json, validated
from export.system.numbers import LARGEST_SIDE, MOST_CLASSES

Precision = Literal["fp32", "fp16", "int8"]
FORMAT_VERSION = 1
Channel = Annotated[int, Field(ge=0, le=255)]


class ModelMetadata(BaseModel):
    """Everything that a program needs to show a model's labels, and people to judge it.

    Attributes:
        classes: names, in the order of the label values; the first is background.
        palette: a colour for each class, [red, green, blue] of 0 to 255.
        genotype: the published text of the architecture, if it was searched.
        encoder: name of the encoder.
        input_size: height and width in pixels that it was made for.
        working_size: those to which the file averages an image of that size down, for its network;
            None: none, the network sees the image itself.
        tail: how its logits become labels; see `export.onnx_file.tail`.
        float_parts: of an int8 file, the parts of the network that stayed in float.
        training: how it was trained: data, epochs, figures; free in form.
        licence: what the weights may be used for, which follows from their data.
        seen: which images the network was trained on, as a text for programs; None: not known.
        format_version: of this record.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    classes: list[str] = Field(min_length=2, max_length=MOST_CLASSES)
    palette: list[tuple[Channel, Channel, Channel]]
    genotype: str | None = None
    encoder: str | None = None
    input_size: int = Field(gt=0, le=LARGEST_SIDE)
    working_size: int | None = Field(None, gt=0, le=LARGEST_SIDE)
    tail: str | None = None
    float_parts: list[str] | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    licence: str
    seen: str | None = None
    format_version: int = FORMAT_VERSION

    @model_validator(mode="after")
    def _one_colour_each(self) -> "ModelMetadata":
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes")
        return self

    def write(self, model: Any) -> None:
        """Put this record into an ``onnx.ModelProto``, over what it held before.

        Texts are stored as they are, everything else as JSON; what is None is left out.
        """
        del model.metadata_props[:]
        for key, value in self.model_dump(mode="json", exclude_none=True).items():
            text = value if isinstance(value, str) else json.dumps(value)
            model.metadata_props.add(key=key, value=text)

    @classmethod
    def read(
        cls, properties: Mapping[str, str], source: str | Path = "model in memory"
    ) -> "ModelMetadata":
        """Read the key-value pairs of a file, as `Session.metadata` gives them.

        Args:
            properties: the pairs.
            source: the file's path, for messages.

        Raises:
            DataError: a pair is missing or malformed, or the format is newer than this program.
        """
        if "classes" not in properties:
            raise DataError(
                source, "has no metadata 'classes': not exported by nastool; use nastool export"
            )
        texts = {"genotype", "encoder", "tail", "licence", "seen"}
        try:
            values = {
                key: properties[key] if key in texts else parse_json(properties[key])
                for key in cls.model_fields
                if key in properties
            }
        except ValueError as error:
            raise DataError(source, f"metadata is not JSON ({error}); export it again") from None
        metadata = validated(cls, values, source, "export it again", within="metadata")
        if metadata.format_version > FORMAT_VERSION:
            raise DataError(
                source,
                f"metadata has format_version {metadata.format_version}, this program knows "
                f"{FORMAT_VERSION}; update nastool",
            )
        return metadata
