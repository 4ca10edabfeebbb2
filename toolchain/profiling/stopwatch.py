"""The protocol of `export.kit`, on a device of this machine and through nastool's own runtimes."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar

from export.kit.protocol import BusyError, DisturbedError, Opened, Protocol
from export.machine.processor import usable_cores
from export.runtimes import Session, open_session
from export.runtimes.tensorrt.binding import BINDINGS
from export.system.errors import GateError
from toolchain.profiling.entry_graphs import GraphBuilder
from toolchain.profiling.face import feeds

__all__ = ["DisturbedError", "Stopwatch", "sentinel"]

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")


class Stopwatch(Protocol):
    """Opens and times graphs on one device; a context manager.

    Args:
        runtime: name of the runtime.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: threads of one operator on the CPU.
        seconds, max_drift, seed: see `Protocol`.

    Attributes:
        settings: what the runtime says a latency depends on.
    """

    settings: dict[str, Any]

    def __init__(
        self,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        seconds: float = 0.1,
        max_drift: float = 0.1,
        seed: int = 0,
    ):
        self._session: Callable[[bytes], Session] = partial(
            open_session, runtime=runtime, device=device, threads=threads
        )
        if device != "cpu":
            # What an image takes on its way to the GPU and back says nothing of a network.
            self._session = partial(self._session, copies=False)
        self._kernels: TemporaryDirectory[str] | None = None
        if runtime in BINDINGS:
            # Hundreds of graphs of a few kinds of layers: what was measured for one serves all.
            self._kernels = TemporaryDirectory()
            cache = Path(self._kernels.name) / "timing.cache"
            self._session = partial(self._session, timing_cache=cache)
        # On a GPU one thread of the host keeps it busy.
        busy = 1 if device != "cpu" else threads or usable_cores()
        super().__init__(self._opened, sentinel(), busy, seconds, max_drift, seed, say=log.info)

    def _opened(self, model: bytes) -> Opened:
        session = self._session(model)
        self.settings = session.settings
        return Opened(session.timer(feeds(session.inputs)), session.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._kernels:
            self._kernels.cleanup()
        if self.kept or self.lost:
            log.info(
                "%d turns of measurement were quiet; %.0f s went by in others", self.kept, self.lost
            )

    def each(self, items: Sequence[T], measure: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """Apply ``measure`` to every item; see `Protocol.each`.

        Raises:
            GateError: nothing could be measured any more, in spite of waiting.
        """
        try:
            yield from super().each(items, measure)
        except BusyError as error:
            raise GateError(str(error)) from None


def sentinel() -> bytes:
    """Make a piece of what networks consist of: it must feel what they feel, caches included."""
    builder = GraphBuilder()
    x = builder.input(48, (128, 128))
    for kind in ("conv1x1", "sep_conv_3x3", "conv1x1", "sep_conv_5x5"):
        x = builder.operation(kind, x)
    small = builder.project(builder.input(48, (64, 64)))
    return builder.model(builder.add(x, builder.upsample(small, (128, 128))))
