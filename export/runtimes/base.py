"""What every runtime offers, whatever runs underneath.

A backend subclasses `Runtime` (what is installed, how a model is opened) and `Session` (one opened
model) and fills in the ``*_impl`` hooks; the public methods check their arguments once, here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from export.runtimes.measurement import Timer
from export.system.errors import DataError, UnavailableError, UsageError
from export.system.inputs import checkpoint_problem
from export.system.numbers import MOST_THREADS

Array = np.ndarray[Any, np.dtype[Any]]
IN_MEMORY = "model in memory"
MAYBE_TRUNCATED = "it may be truncated: copy it again, or export it again"


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of an input or output.

    Attributes:
        name: as in the file.
        shape: an int for each fixed axis, a str (or None, when unnamed) for each free one.
        dtype: the NumPy type of its elements.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]

    def accepts(self, array: Array) -> bool:
        """Say whether ``array`` has this type and agrees with every fixed axis."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(
                size == axis
                for size, axis in zip(array.shape, self.shape, strict=True)
                if isinstance(axis, int)
            )
        )

    def __str__(self) -> str:
        axes = ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} {self.dtype} [{axes}]"


class Session(ABC):
    """One model, opened on one device; a context manager.

    A session belongs to the thread that opened it: two threads open two sessions.

    Attributes:
        source: the file's path, for messages.
        device: ``"cpu"`` or ``"cuda:0"``.
        inputs: what the model takes.
        outputs: what it gives.
        metadata: the file's own key-value pairs.
        settings: what a latency depends on (threads, algorithms, where copies are counted), to be
            recorded beside each figure.
    """

    source: str
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]
    settings: dict[str, Any]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once.

        Args:
            feeds: an array for every input, of its type and shape.

        Returns:
            Every output by name.

        Raises:
            UsageError: an input is missing, unknown, or of another type or shape.
            DataError: the runtime fails on this model.
        """
        return self.run_impl(self._checked(feeds))

    def timer(self, feeds: Mapping[str, Array]) -> Timer:
        """Prepare to time runs on the same feeds: what a run allocates is there afterwards.

        Returns:
            Takes a number of runs and gives the milliseconds of each, from the arrays being ready
            to the outputs being ready.

        Raises:
            UsageError, DataError: as for `run`.
        """
        return self.timer_impl(self._checked(feeds))

    def time(self, feeds: Mapping[str, Array], count: int) -> Sequence[float]:
        """Time ``count`` runs; see `timer`."""
        return self.timer(feeds)(count)

    def layer_times(self, feeds: Mapping[str, Array], runs: int) -> dict[str, float]:
        """Time every node as the runtime runs it; not every runtime can.

        Args:
            feeds: as for `run`.
            runs: how many runs the medians are of.

        Returns:
            Median milliseconds by the runtime's name of the node, in the order of execution. A
            node that runs several times in a run counts with the sum.

        Raises:
            UnavailableError: the runtime does not tell on this device.
        """
        raise UnavailableError(
            f"{self.source}: this runtime does not time single nodes on {self.device}; leave out "
            "--profile, or take --runtime onnxruntime --device cpu"
        )

    def close(self) -> None:
        """Free the model and its device memory; closing twice is harmless."""
        self.close_impl()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Run once; the feeds are complete, contiguous and of the right types."""

    @abstractmethod
    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        """Do everything that can be done before a run, and return what times runs."""

    @abstractmethod
    def close_impl(self) -> None:
        """Free everything."""

    def _checked(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        if unknown := sorted(feeds.keys() - {spec.name for spec in self.inputs}):
            known = ", ".join(str(spec) for spec in self.inputs)
            raise UsageError(f"{self.source}: no input {unknown[0]!r}; it takes {known}")
        checked = {}
        for spec in self.inputs:
            if spec.name not in feeds:
                raise UsageError(f"{self.source}: input {spec.name!r} is missing")
            array = np.asarray(feeds[spec.name], order="C")
            if not spec.accepts(array):
                given = TensorSpec(spec.name, array.shape, array.dtype)
                raise UsageError(f"{self.source}: takes {spec}, but was given {given}")
            checked[spec.name] = array
        return checked


def parse_device(device: str) -> tuple[str, int]:
    """Return the kind and the number of a device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: it is none.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdecimal())):
        raise UsageError(f"device {device!r} is not known; give cpu, cuda or cuda:N")
    return kind, int(index or 0)


class Runtime(ABC):
    """A library that runs models; used as a class, never made into an object.

    Attributes:
        name: as users write it.
        kinds: of devices that it may use where they exist; `devices` says which do here.
        options_type: a frozen dataclass of what `open` takes besides.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    options_type: ClassVar[type]

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the library's version."""

    @classmethod
    @abstractmethod
    def devices(cls) -> tuple[str, ...]:
        """Return the devices that the installed library says it can use."""

    @classmethod
    def open(
        cls,
        model: str | Path | bytes,
        device: str = "cpu",
        threads: int | None = None,
        **options: Any,
    ) -> Session:
        """Open a model.

        Args:
            model: path of a file, or the file's contents.
            device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
            threads: threads of one operator on the CPU; None: `processor.usable_cores`.
            options: the fields of the runtime's ``options_type``.

        Raises:
            UsageError: the device's name or a number is wrong.
            DataError: the file is missing, broken or not a model that this runtime knows.
            UnavailableError: the device or its libraries are not there.
        """
        kind, index = parse_device(device)
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise UsageError(
                f"threads must be at least 1 and at most {MOST_THREADS}, not {threads}"
            )
        if kind not in cls.devices():
            raise UnavailableError(cls.remedy(kind))
        if not isinstance(model, bytes):
            path = Path(model)
            if not path.is_file():
                problem = "is a folder, not a model" if path.is_dir() else "does not exist"
                raise DataError(path, problem)
            if not path.stat().st_size:
                raise DataError(path, "is empty; write it again")
            if no_model := checkpoint_problem(path):
                raise DataError(path, no_model)
        return cls.open_impl(model, kind, index, threads, cls.options_type(**options))

    @classmethod
    @abstractmethod
    def open_impl(
        cls,
        model: str | Path | bytes,
        kind: str,
        index: int,
        threads: int | None,
        options: Any,
    ) -> Session:
        """Open a model whose file exists on a device of a kind that `devices` lists."""

    @classmethod
    @abstractmethod
    def remedy(cls, kind: str) -> str:
        """Return one line that says what is missing for a device and how to get it."""
