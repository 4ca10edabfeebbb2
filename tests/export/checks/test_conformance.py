"""The checks themselves: each notices a runtime that breaks its promise."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.checks.conformance import CHECKS, Check, Target, run_check
from export.checks.conformance import models as conformance_models
from export.runtimes.base import Array, Session
from export.runtimes.measurement import Timer
from export.system.errors import DataError, UsageError

CPU = Target("onnxruntime", "cpu")
BY_NAME = {check.name: check for check in CHECKS}


def named(words: str) -> Check:
    (name,) = [name for name in BY_NAME if words in name]
    return BY_NAME[name]


class Faulty(Session):
    """A session of ONNX Runtime with a fault."""

    def __init__(self, real: Any, fault: str):
        self.real, self.fault, self.closed, self.kept = real, fault, False, {}
        self.source, self.device, self.settings = real.source, real.device, real.settings
        self.inputs, self.outputs = real.inputs, real.outputs
        self.metadata = {} if fault == "metadata" else real.metadata
        if fault == "names":
            self.inputs = self.inputs[::-1] + self.outputs

    def _checked(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        if self.fault == "feeds":
            return {**dict.fromkeys((s.name for s in self.inputs), np.zeros(1)), **feeds}
        return super()._checked(feeds)

    def run_impl(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self.fault == "feeds":
            return {}
        found = {name: array.copy() for name, array in self.real.run(feeds).items()}
        for array in found.values():
            if self.fault == "numbers":
                array.flat[-1] += 1
            if self.fault == "unsteady":
                array.flat[0] += np.random.default_rng().integers(2, 50)
        if self.fault == "aliases":
            for name, array in found.items():
                self.kept.setdefault(name, array)[...] = array
            return self.kept
        return found

    def timer_impl(self, feeds: dict[str, Array]) -> Timer:
        if self.fault == "feeds":
            return lambda count: []
        timer = self.real.timer(feeds)

        def timed(count: int) -> Sequence[float]:
            times = timer(count)
            faults = {"few times": times[1:], "zero times": [0.0] * count, "long": [1e6] * count}
            return faults.get(self.fault, times)

        return timed

    def layer_times(self, feeds: Mapping[str, Array], runs: int) -> dict[str, float]:
        return {} if self.fault == "layers" else self.real.layer_times(feeds, runs)

    def close_impl(self) -> None:
        if self.fault == "closing" and self.closed:
            raise RuntimeError("double free")
        self.closed = True
        self.real.close()


class FaultyTarget(Target):
    """ONNX Runtime on the CPU, with a fault in every session."""

    fault: str

    def open(self, model: Any, **options: Any) -> Session:
        if self.fault == "any file" and not isinstance(model, bytes):
            model = conformance_models.tiny_model()
        if self.fault == "several lines":
            try:
                return super().open(model, **options)
            except DataError as error:
                raise DataError(error.path, "is\nwrong") from None
        return Faulty(super().open(model, **options), self.fault)


def faulty(fault: str) -> FaultyTarget:
    target = FaultyTarget("onnxruntime", "cpu")
    object.__setattr__(target, "fault", fault)
    return target


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("names", "describes its inputs"),
        ("numbers", "labels of uint8"),
        ("numbers", "convolution in fp32"),
        ("numbers", "convolution in fp16"),
        ("numbers", "convolution in int8"),
        ("numbers", "bilinear resize"),
        ("numbers", "free axes"),
        ("numbers", "not be contiguous"),
        ("numbers", "two sessions"),
        ("feeds", "wrong feeds"),
        ("unsteady", "repeated runs"),
        ("aliases", "outputs belong"),
        ("closing", "closing twice"),
        ("few times", "plausible milliseconds"),
        ("zero times", "plausible milliseconds"),
        ("long", "plausible milliseconds"),
        ("layers", "every layer is timed"),
        ("metadata", "metadata and path"),
        ("any file", "file: not ONNX"),
        ("any file", "file: truncated"),
        ("any file", "file: cut behind its graph"),
        ("any file", "file: an unknown operator"),
        ("any file", "file: a newer opset"),
        ("any file", "file: empty"),
        ("several lines", "file: in memory"),
        ("several lines", "file: missing"),
    ],
)
def test_fault_is_noticed(fault: str, words: str) -> None:
    check = named(words)
    assert run_check(check, CPU).outcome == "passed"
    result = run_check(check, faulty(fault))
    assert result.outcome == "failed"
    assert result.reason


def outcome(function: Callable[[Target, Path], str | None]) -> tuple[str, str | None]:
    result = run_check(Check("a promise", function), CPU)
    assert (result.runtime, result.device, result.check) == ("onnxruntime", "cpu", "a promise")
    assert result.seconds >= 0
    return result.outcome, result.reason


def test_what_a_check_raises_becomes_one_line() -> None:
    def unforeseen(target: Target, folder: Path) -> None:
        raise ValueError("first\nsecond")

    def refused(target: Target, folder: Path) -> None:
        raise UsageError("no such thing")

    assert outcome(lambda target, folder: None) == ("passed", None)
    assert outcome(lambda target, folder: "not here") == ("skipped", "not here")
    assert outcome(refused) == ("failed", "UsageError: no such thing")
    result, reason = outcome(unforeseen)
    assert result == "failed"
    assert reason is not None
    assert reason.startswith("ValueError in test_conformance.py:")
    assert reason.endswith(": first second")


def test_check_gets_an_empty_folder_that_is_gone_afterwards() -> None:
    seen = []

    def look(target: Target, folder: Path) -> None:
        assert not list(folder.iterdir())
        (folder / "file").write_text("x")
        seen.append(folder)

    assert outcome(look) == ("passed", None)
    assert not seen[0].exists()


def test_model_for_the_fallback_runs_on_a_cpu() -> None:
    x = np.array([1, -2, 3, 0], np.float32)
    with CPU.open(conformance_models.text_model()) as session:
        assert np.array_equal(session.run({"x": x})["y"], x)


def test_convolution_and_resize_are_those_of_torch() -> None:
    import torch
    from torch.nn import functional as F

    x = conformance_models.convolution_input(2, 5, 7)
    weights, bias = (torch.from_numpy(a) for a in conformance_models.convolution_weights())
    expected = F.conv2d(torch.from_numpy(x), weights, bias, padding=1).numpy()
    assert np.array_equal(conformance_models.convolve(x), expected)
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 6))
    expected = F.interpolate(torch.from_numpy(x), scale_factor=2.0, mode="bilinear").numpy()
    assert np.allclose(conformance_models.resize(x), expected)


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CHECKS)
