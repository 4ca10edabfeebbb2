"""Where the files of a network are to run, and what follows from it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from export.benchmarking.tail_choice import TailChoice, fastest_tail
from export.checks.conformance import Target as Spot
from export.checks.conformance.report import candidates
from export.machine import gpus
from export.onnx_file.writing import Target
from export.runtimes.tensorrt.binding import BINDINGS, Binding
from export.runtimes.tensorrt.engine import CURRENT, named_gpus
from export.system.errors import UnavailableError, UsageError
from toolchain.networks.blueprint import blueprint
from toolchain.profiling.face import face_maps
from toolchain.training.checkpoints import CheckpointInfo


@dataclass(frozen=True)
class Place:
    """Where files are to run.

    Attributes:
        runtime: its name.
        device: ``cpu`` or ``cuda:N``.
        binding: that builds engines of the files, if the runtime takes engines.
        ahead: the engines are for GPUs elsewhere.
    """

    runtime: str
    device: str
    binding: Binding | None
    ahead: bool

    @classmethod
    def of(cls, runtime: str, device: str | None, gpus: Sequence[str]) -> Self:
        """Check that it is here, or need not be.

        Raises:
            UsageError: there is no such runtime, or GPUs are named for one that takes none.
            UnavailableError: the runtime or the device is missing.
        """
        binding = BINDINGS.get(runtime)
        ahead = CURRENT not in gpus
        if ahead and not binding:
            raise UsageError("--gpu names whose engines to build; give --runtime tensorrt-rtx too")
        place = cls(runtime, device or ("cuda:0" if binding else "cpu"), binding, ahead)
        if binding and ahead:
            named_gpus(binding, binding.load(), gpus)
        elif trouble := Spot(runtime, place.device).trouble():
            raise UnavailableError(trouble.reason)
        return place

    @property
    def target(self) -> Target:
        """What files for it are like."""
        return "cpu" if self.device == "cpu" else "gpu"

    @property
    def index(self) -> int:
        """Number of the GPU; 0 for the CPU."""
        return int(self.device.partition(":")[2] or 0)

    def wheres(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """List where ONNX files are compared: first where they are to run, then elsewhere here.

        Args:
            options: with which ONNX Runtime opens them on the CPU.
        """
        here = candidates(len(gpus.describe()))
        spots = [spot for spot in here if spot.runtime == "onnxruntime"]
        spots.sort(key=lambda spot: (spot.runtime, spot.device) != (self.runtime, self.device))
        here = [spot for spot in spots if spot.device == "cpu" or not spot.trouble()]
        return [{**asdict(spot), **(options if spot.device == "cpu" else {})} for spot in here]

    def engine_wheres(self) -> list[dict[str, Any]]:
        """List where engines are compared: nowhere, if they are for GPUs elsewhere."""
        return [] if self.ahead else [{"runtime": self.runtime, "device": self.device}]

    def choose_tail(self, info: CheckpointInfo, target: Target) -> TailChoice:
        """Time the tails there, on logits that show a face at the network's resolution.

        Of files for GPUs elsewhere nothing can be timed; they get the simplest.
        """
        if target == "gpu" and (self.ahead or self.device == "cpu"):
            return TailChoice("resize", {})
        classes, size = len(info.label_set.classes), info.input_size
        (labels,) = blueprint(info.architecture, classes, size).labels
        where = {"runtime": self.runtime, "device": self.device}
        return fastest_tail(face_maps(classes, labels.size), size, size, target, **where)
