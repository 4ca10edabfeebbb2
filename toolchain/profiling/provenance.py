"""What a latency table holds for: the device, how it was measured, and which networks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from export.machine.environment import device_facts
from export.onnx_file.metadata import Precision
from export.runtimes import get_runtime
from toolchain.profiling.backbone import Backbone

MAX_DRIFT = 0.1
MOST_AT_OTHER_SPEEDS = 0.1
"""Share of the measurements, above which a table is rough."""


class Anchor(BaseModel):
    """How a table was brought to the pace of another hour; see `toolchain.profiling.later`.

    Attributes:
        factor: by which its milliseconds were multiplied.
        error: standard error of that, a fraction.
        networks: that were measured.
        seconds: that it took.
        date: ISO 8601.
    """

    factor: Annotated[float, Field(gt=0)]
    error: Annotated[float, Field(ge=0)]
    networks: Annotated[int, Field(ge=1)]
    seconds: float
    date: str


class Provenance(BaseModel):
    """What the figures of a table hold for.

    Attributes:
        environment: of `export.machine.environment.describe`.
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
        max_drift: by how much fixed work beside the measurement might run slower than at its best,
            a fraction; tables made before this field have the default.
        at_other_speeds: share of the measurements beside which a fixed piece of network was faster
            or slower than beside most, by more than `max_drift`.
        sentinel_ms: what that piece took when the machine was quiet.
        anchor: how the milliseconds were brought to another pace than that of the measurement.
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
    encoders: Annotated[list[str], Field(min_length=1)]
    boundary: str = "labels"
    tail: str
    seed: int
    max_drift: float = MAX_DRIFT
    at_other_speeds: float = 0.0
    sentinel_ms: float | None = None
    anchor: Anchor | None = None
    date: str
    seconds: float
    version: str

    @model_validator(mode="after")
    def _work_at_the_input_size(self) -> Self:
        self.working_sizes = self.working_sizes or [self.input_size[0]]
        return self

    @property
    def roughness(self) -> str | None:
        """Why the measurements are rough, if they are."""
        if self.max_drift > 3 * MAX_DRIFT:
            return f"measured while the machine was busy (--max-drift {100 * self.max_drift:g})"
        if self.at_other_speeds > MOST_AT_OTHER_SPEEDS:
            return f"{self.at_other_speeds:.0%} of it measured at another speed of the machine"
        return None

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

    def differences(
        self,
        *,
        threads: int | None = None,
        precision: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Yield in what this differs from this machine and the use at hand.

        Args:
            threads: in use, where that is known.
            precision: in use, where that is known.
            settings: of the runtime, in use, where they are known.

        Yields:
            Each field with its value of then and of now; None is not known, and equals nothing.

        Raises:
            UnavailableError: the runtime is not installed.
        """
        then = device_facts(self.device, self.environment)
        now = device_facts(self.device)
        pairs = {field: (value, now.get(field)) for field, value in then.items()}
        pairs |= {
            "device_name": (self.device_name, device_name(self.device)),
            "runtime_version": (self.runtime_version, get_runtime(self.runtime).version()),
            "threads": (self.threads, threads or self.threads),
            "precision": (self.precision, precision or self.precision),
        }
        for name, value in (settings or {}).items():
            if name in self.settings:
                pairs[f"setting {name}"] = self.settings[name], value
        unknown = pairs["device_name"][1] is None
        for field, (before, here) in pairs.items():
            if before != here or (field == "device_name" and unknown):
                yield field, before, here


def device_name(device: str) -> str | None:
    """Return the model of this machine's CPU or GPU; None where it is not known."""
    return next(iter(device_facts(device).values()), None)
