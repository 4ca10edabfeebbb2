"""Which of the exact tails is the fastest, by measurement on the device that will run it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import median
from typing import Any

import onnx
import torch

from export.onnx_file.tail import TAILS
from export.onnx_file.writing import INSIDE, Step, Target, to_onnx
from export.runtimes import Session, open_session
from export.runtimes.base import Array
from export.runtimes.measurement import measure
from export.system.errors import DataError

SECONDS = 0.3


@dataclass(frozen=True)
class TailChoice:
    """The fastest tail.

    Attributes:
        name: one of `export.onnx_file.tail.TAILS`.
        latency_ms: the median of each, None for one that the runtime refuses.
    """

    name: str
    latency_ms: dict[str, float | None]


@lru_cache
def tail_model(
    name: str, shape: tuple[int, ...], height: int, width: int, target: Target
) -> onnx.ModelProto:
    """Export a tail alone: ``logits``, float32 of a shape [N, K, h, w] -> ``labels``, uint8."""
    tail = partial(TAILS[name], height=height, width=width, inside=INSIDE[target])
    return to_onnx(Step(tail), torch.zeros(shape), ["logits"], ["labels"])


def fastest_tail(
    logits: Array, height: int, width: int, target: Target = "cpu", **where: Any
) -> TailChoice:
    """Time every tail in turns.

    Args:
        logits: float32 [N, K, h, w] of a picture like those to come: the time of `boundaries`
            depends on it.
        height: of the labels, pixels.
        width: of the labels, pixels.
        target: what files it is for.
        where: runtime, device and threads, as for `export.runtimes.open_session`.

    Raises:
        UsageError, UnavailableError: as `export.runtimes.open_session` does.
    """
    open_tail: Callable[..., Session] = partial(open_session, **where)
    sessions = {}
    for name in TAILS:
        try:
            model = tail_model(name, logits.shape, height, width, target)
            sessions[name] = open_tail(model.SerializeToString())
        except DataError:
            continue
    try:
        timers = [session.timer({"logits": logits}) for session in sessions.values()]
        medians = [
            median(samples.median for samples in turns)
            for turns in measure(timers, seconds=SECONDS)
        ]
    finally:
        for session in sessions.values():
            session.close()
    latency: dict[str, float | None] = dict.fromkeys(TAILS)
    latency.update((name, round(ms, 4)) for name, ms in zip(sessions, medians, strict=True))
    return TailChoice(min(zip(medians, sessions, strict=True))[1], latency)
