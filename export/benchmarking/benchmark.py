"""Time ONNX files side by side, ours or anyone's."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export.benchmarking.energy import Energy, energy_per_frame
from export.benchmarking.feeds import sample_feeds
from export.benchmarking.footprint import Footprint, measure_footprint
from export.benchmarking.node_profile import NodeProfile
from export.benchmarking.throughput import Streams, measure_throughput
from export.machine import environment
from export.machine.processor import usable_cores
from export.precision.half import precision_of, size_of
from export.runtimes import Session, get_runtime, open_session
from export.runtimes.base import Array
from export.runtimes.measurement import LatencySamples, Ratio, measure, ratio
from export.system.errors import UsageError
from export.system.files import write_json

Mode = Literal["latency", "throughput"]
ENERGY_SECONDS = 2.0
GPU_STREAMS = 2


@dataclass(frozen=True)
class Expected:
    """What was foretold of a model's latency, or why nothing was.

    Attributes:
        ms: the prediction; None without one.
        interval_ms: where nine of ten networks lie.
        note: why there is no prediction.
    """

    ms: float | None = None
    interval_ms: tuple[float, float] | None = None
    note: str | None = None


@dataclass(frozen=True)
class Timing:
    """One model's time.

    Attributes:
        path: the file.
        size_bytes: of the file.
        precision: fp32, fp16 or int8; None of a file that is not ONNX.
        turns: every run that counts, by turn.
        fps: frames per second; of all streams together in throughput mode.
        ratio: time a frame over that of the first model; see `measurement.ratio`.
        expected: what a latency table says of it.
        footprint: memory and cold start, if asked for.
        energy: of a frame, if asked for.
        profile: time of each node, if asked for.
    """

    path: Path
    size_bytes: int
    precision: str | None
    turns: tuple[LatencySamples, ...]
    fps: float
    ratio: Ratio
    expected: Expected = Expected()
    footprint: Footprint | None = None
    energy: Energy | None = None
    profile: NodeProfile | None = None

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        samples = LatencySamples.pool(self.turns)
        expected = self.expected.ms
        document: dict[str, Any] = {
            "path": str(self.path),
            "precision": self.precision,
            "latency_ms": samples.summary(),
            "samples": len(samples.ms),
            "turns": len(self.turns),
            "fps": round(self.fps, 2),
            "size_bytes": self.size_bytes,
            "predicted_ms": expected,
            "predicted_interval_ms": self.expected.interval_ms,
            "prediction_error_percent": (
                None if expected is None else round(100 * (expected / samples.median - 1), 2)
            ),
            "prediction_note": self.expected.note,
            "ratio_to_first": round(self.ratio.median, 4),
            "ratio_interval": [round(self.ratio.low, 4), round(self.ratio.high, 4)],
        }
        if self.footprint:
            document |= self.footprint.document()
        if self.energy:
            joules = self.energy.joules
            document["energy_per_frame_joules"] = None if joules is None else round(joules, 6)
            document["energy_note"] = self.energy.note
        if self.profile:
            document["profile"] = self.profile.document()
        return document


@dataclass(frozen=True)
class Benchmark:
    """The times of several models, taken in turns, and what they were taken on."""

    environment: dict[str, Any]
    runtime: str
    device: str
    mode: Mode
    streams: int
    settings: dict[str, Any]
    timings: tuple[Timing, ...]

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "environment": self.environment,
            "runtime": self.runtime,
            "device": self.device,
            "mode": self.mode,
            "streams": self.streams,
            "settings": self.settings,
            "models": [timing.document() for timing in self.timings],
        }


def benchmark(
    models: Sequence[str | Path],
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    mode: Mode = "latency",
    streams: int | None = None,
    seconds: float = 5.0,
    input_size: int = 512,
    picture: Array | None = None,
    copies: bool = True,
    cold: bool = False,
    energy: bool = False,
    raw: str | Path | None = None,
) -> Benchmark:
    """Time models in turns, so that their ratio holds on a machine that is not quiet.

    Args:
        models: paths of ONNX files with any inputs.
        runtime: name of the runtime.
        device: to run on.
        threads: CPU threads, of all streams together; None takes every core.
        mode: ``"latency"`` runs one frame after the other; ``"throughput"`` keeps ``streams``
            frames in flight, each in a session and a thread of its own.
        streams: in throughput mode; None makes one of each thread, on a GPU two.
        seconds: to spend on each model, after warm-up.
        input_size: height and width in pixels where a file leaves them free.
        picture: uint8 [H, W, 3], given to inputs that take such; see `sample_feeds`.
        copies: on a GPU, count those from and to the host; False times the network alone, its
            arrays in the GPU's memory.
        cold: also measure memory and cold start, in a fresh process.
        energy: also measure the energy of a frame, for two more seconds a model.
        raw: a JSON file for every sample in milliseconds, by path.

    Raises:
        UsageError: the streams do not fit the mode or the threads, or there are no copies.
        UsageError, DataError, UnavailableError: as `export.runtimes.open_session` does.
    """
    streams = _streams(mode, streams, device, threads)
    each = threads if mode == "latency" or device != "cpu" else _threads(threads) // streams
    if device == "cpu" and not copies:
        raise UsageError("a CPU copies nothing; --no-copies is for GPUs")
    on_gpu: dict[str, Any] = {} if device == "cpu" else {"copies": copies}
    opener: Callable[..., Session] = partial(
        open_session, runtime=runtime, device=device, threads=each, **on_gpu
    )
    with ExitStack() as stack:
        sessions = [stack.enter_context(opener(path)) for path in models]
        feeds = [sample_feeds(session, input_size, picture) for session in sessions]
        pairs = list(zip(sessions, feeds, strict=True))
        settings, device = sessions[0].settings, sessions[0].device
        if mode == "throughput":
            running = [
                stack.enter_context(Streams(partial(opener, path), feed, streams))
                for path, feed in zip(models, feeds, strict=True)
            ]
            taken = measure_throughput(running, seconds=seconds)
            turns = [[turn.samples for turn in each_turn] for each_turn in taken]
            frame_ms = [[1000 / turn.fps for turn in each_turn] for each_turn in taken]
            fps = [1000 / float(np.median(times)) for times in frame_ms]
            work = [partial(streams_of.frames, ENERGY_SECONDS) for streams_of in running]
        else:
            turns = measure([session.timer(feed) for session, feed in pairs], seconds=seconds)
            frame_ms = [[turn.median for turn in each_turn] for each_turn in turns]
            fps = [1000 / LatencySamples.pool(each_turn).median for each_turn in turns]
            work = [partial(_frames, session, feed) for session, feed in pairs]
        energies = [energy_per_frame(run, device) if energy else None for run in work]
    footprints = [
        measure_footprint(path, feed, runtime, device, each) if cold else None
        for path, feed in zip(models, feeds, strict=True)
    ]
    timings = tuple(
        Timing(
            path=Path(path),
            size_bytes=size_of(path),
            precision=_precision(path),
            turns=tuple(turns[i]),
            fps=fps[i],
            ratio=ratio(frame_ms[i], frame_ms[0]),
            footprint=footprints[i],
            energy=energies[i],
        )
        for i, path in enumerate(models)
    )
    if raw:
        write_raw(raw, timings)
    return Benchmark(
        environment=environment.describe(),
        runtime=f"{runtime} {get_runtime(runtime).version()}",
        device=device,
        mode=mode,
        streams=streams,
        settings=settings,
        timings=timings,
    )


def write_raw(path: str | Path, timings: Sequence[Timing]) -> None:
    """Write every sample in milliseconds, by the model's path; one given twice gets a number."""
    document: dict[str, tuple[float, ...]] = {}
    for position, timing in enumerate(timings, 1):
        name = str(timing.path)
        document[f"{name} ({position})" if name in document else name] = LatencySamples.pool(
            timing.turns
        ).ms
    write_json(path, document)


def _threads(threads: int | None) -> int:
    return threads or usable_cores()


def _streams(mode: Mode, streams: int | None, device: str, threads: int | None) -> int:
    if mode == "latency":
        if streams not in (None, 1):
            raise UsageError(f"{streams} streams need --mode throughput; latency is of one frame")
        return 1
    if device != "cpu":
        return streams or GPU_STREAMS
    total = _threads(threads)
    if streams and streams > total:
        raise UsageError(
            f"{streams} streams need a thread each, but there are {total}; give --threads "
            f"{streams} or fewer --streams"
        )
    return streams or total


def _frames(session: Session, feeds: dict[str, Array]) -> int:
    until, frames = time.perf_counter() + ENERGY_SECONDS, 0
    while time.perf_counter() < until:
        session.run(feeds)
        frames += 1
    return frames


def _precision(path: str | Path) -> str | None:
    try:
        return precision_of(path)
    except Exception:  # an engine; its runtime has opened it
        return None
