"""Time ONNX files side by side, ours or anyone's."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from export import environment
from export.files import write_json
from export.measurement import LatencySamples, measure
from export.runtimes import Session, TensorSpec, get_runtime, open_session
from export.runtimes.base import Array


@dataclass(frozen=True)
class Timing:
    """One model's time.

    Attributes:
        path: the file.
        size_bytes: of the file.
        samples: every run that counts.
        ratio_to_first: its median over that of the first model.
        predicted_ms: what a latency table says of it, or None.
    """

    path: Path
    size_bytes: int
    samples: LatencySamples
    ratio_to_first: float
    predicted_ms: float | None

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "path": str(self.path),
            "latency_ms": self.samples.summary(),
            "samples": len(self.samples.ms),
            "fps": round(1000 / self.samples.median, 2),
            "size_bytes": self.size_bytes,
            "predicted_ms": self.predicted_ms,
            "ratio_to_first": round(self.ratio_to_first, 4),
        }


@dataclass(frozen=True)
class Benchmark:
    """The times of several models, taken in turns, and what they were taken on."""

    environment: dict[str, Any]
    runtime: str
    device: str
    settings: dict[str, Any]
    timings: tuple[Timing, ...]

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "environment": self.environment,
            "runtime": self.runtime,
            "device": self.device,
            "settings": self.settings,
            "models": [timing.document() for timing in self.timings],
        }


def benchmark(
    models: Sequence[str | Path],
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    seconds: float = 5.0,
    input_size: int = 512,
    picture: Array | None = None,
    predicted: Mapping[str, float] | None = None,
    raw: str | Path | None = None,
) -> Benchmark:
    """Time models in turns, so that their ratio holds on a machine that is not quiet.

    Args:
        models: paths of ONNX files with any inputs.
        runtime: name of the runtime.
        device: to run on.
        threads: of one operator on the CPU; None takes every core.
        seconds: to spend on each model, after warm-up.
        input_size: height and width in pixels where a file leaves them free.
        picture: uint8 [H, W, 3], given to inputs that take such; see `sample_feeds`.
        predicted: milliseconds that a latency table gives for a path.
        raw: a JSON file for every sample in milliseconds, by path.

    Raises:
        UsageError, DataError, UnavailableError: as `export.runtimes.open_session` does.
    """
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(open_session(path, runtime, device, threads)) for path in models
        ]
        timers = [
            partial(session.time, sample_feeds(session, input_size, picture))
            for session in sessions
        ]
        samples = measure(timers, seconds=seconds)
        settings = sessions[0].settings
        device = sessions[0].device
    if raw:
        write_json(raw, {str(path): taken.ms for path, taken in zip(models, samples, strict=True)})
    return Benchmark(
        environment=environment.describe(),
        runtime=f"{runtime} {get_runtime(runtime).version()}",
        device=device,
        settings=settings,
        timings=tuple(
            Timing(
                path=Path(path),
                size_bytes=Path(path).stat().st_size,
                samples=taken,
                ratio_to_first=taken.median / samples[0].median,
                predicted_ms=(predicted or {}).get(str(path)),
            )
            for path, taken in zip(models, samples, strict=True)
        ),
    )


def sample_feeds(
    session: Session, input_size: int = 512, picture: Array | None = None, seed: int = 0
) -> dict[str, Array]:
    """Make an array for every input of a model.

    Inputs of bytes [N, H, W, 3] get a picture, because the time of a tail may depend on what is to
    be seen; noise, which no camera shows, would mislead. Everything else is random. Of the free
    axes the first is 1, the others are ``input_size``.

    Args:
        session: the opened model.
        input_size: in pixels.
        picture: uint8 [H, W, 3] of any size; None makes a smooth one of random colours.
        seed: of all that is random.
    """
    generator = np.random.default_rng(seed)
    if picture is None:
        picture = generator.integers(0, 256, (6, 6, 3), np.uint8)
    return {spec.name: _sample(spec, input_size, picture, generator) for spec in session.inputs}


def _sample(
    spec: TensorSpec, input_size: int, picture: Array, generator: np.random.Generator
) -> Array:
    shape = tuple(
        axis if isinstance(axis, int) else input_size if position else 1
        for position, axis in enumerate(spec.shape)
    )
    if spec.dtype == np.uint8 and len(shape) == 4 and shape[3] == 3:
        fitted = cv2.resize(picture, (shape[2], shape[1]), interpolation=cv2.INTER_CUBIC)
        return np.repeat(fitted[None], shape[0], axis=0)
    if np.issubdtype(spec.dtype, np.floating):
        return generator.standard_normal(shape).astype(spec.dtype)
    return generator.integers(0, 2, shape).astype(spec.dtype)
