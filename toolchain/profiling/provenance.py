"""What a latency table holds for: the device, how it was measured, and which networks."""

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from export.metadata import Precision
from toolchain.profiling.backbone import Backbone


class Provenance(BaseModel):
    """What the figures of a table hold for.

    Attributes:
        environment: of `export.environment.describe`.
        runtime: its name.
        runtime_version: as installed when the table was made.
        device: ``"cpu"`` or ``"cuda:N"``.
        device_name: model of the CPU or GPU.
        precision: of weights and computation.
        threads: of one operator; None on a GPU.
        settings: other settings of the runtime that a latency depends on.
        input_size: height and width of the image, pixels.
        working_sizes: those that have entries, pixels; see `Architecture`. Tables made before this
            field have that of the input.
        classes: number of classes.
        aggregation: channels of the decoder's maps.
        encoders: those that have entries.
        boundary: where a network ends; ``labels`` is the complete exported file.
        tail: the form of the last step in the exported file.
        seed: that drew the fitted networks.
        sentinel_ms: what a fixed piece of network took when the machine was quiet.
        date: of the measurement, ISO 8601.
        seconds: that it took.
        version: of this program.
    """

    environment: dict[str, Any]
    runtime: str
    runtime_version: str
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:[0-9]{1,3})?)$")]
    device_name: str
    precision: Precision
    threads: int | None
    settings: dict[str, Any]
    input_size: tuple[int, int]
    working_sizes: list[int] = []
    classes: int
    aggregation: int
    encoders: list[str]
    boundary: str = "labels"
    tail: str
    seed: int
    sentinel_ms: float | None = None
    date: str
    seconds: float
    version: str

    @model_validator(mode="after")
    def _work_at_the_input_size(self) -> Self:
        self.working_sizes = self.working_sizes or [self.input_size[0]]
        return self

    @property
    def backbones(self) -> list[Backbone]:
        """All encoders at all working sizes, the encoders in turns."""
        return [self.backbone(name, size) for size in self.working_sizes for name in self.encoders]

    def backbone(self, encoder: str, working_size: int) -> Backbone:
        """Return an encoder at a working size, of which that of the input goes without saying."""
        return Backbone(encoder, None if working_size == self.input_size[0] else working_size)

    def flags_with(self, encoders: Iterable[str] = (), working_sizes: Iterable[int] = ()) -> str:
        """Return the flags of a profiling that has these encoders and working sizes as well."""
        sizes = dict.fromkeys([*self.working_sizes, *working_sizes])
        flags = [f"--working-size {size}" for size in sizes]
        if len(sizes) == 1 and self.input_size[0] in sizes:
            flags = []
        flags += [f"--encoder {name}" for name in dict.fromkeys([*self.encoders, *encoders])]
        return " ".join(flags)


def device_name(device: str) -> str:
    """Return the model of this machine's CPU or GPU."""
    from export import environment

    if device == "cpu":
        return str(environment.cpu()["model"])
    found = environment.gpus()
    index = int(device.partition(":")[2] or 0)
    return found[index]["name"] if index < len(found) else "none"
