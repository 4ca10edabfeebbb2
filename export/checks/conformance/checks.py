"""What every runtime promises on every device, numbers first."""

import time
from pathlib import Path

import numpy as np

from export.checks.conformance import models
from export.checks.conformance.contract import Target, check, require, require_close, require_error
from export.runtimes import get_runtime
from export.system.errors import UnavailableError, UsageError

# Whole numbers are exact in every precision; Winograd's algorithms round a little within.
EXACT = 1e-3
HALF = 0.5


def random_image(seed: int = 0) -> np.ndarray:
    """Return an image for `models.tiny_model`."""
    return np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 3), np.uint8)


@check("a session describes its inputs and outputs")
def describes_itself(target: Target, folder: Path) -> None:
    """Compare names, shapes, types and the device with what was asked for."""
    with target.open(models.tiny_model()) as session:
        found = [str(spec) for spec in (*session.inputs, *session.outputs)]
        require(
            found == ["image uint8 [1, 8, 8, 3]", "labels uint8 [1, 8, 8]"], f"describes {found}"
        )
        require(session.device == target.device, f"device is {session.device}")
        require(session.settings, "settings are empty; a latency needs them beside it")


@check("numbers: labels of uint8 images")
def labels(target: Target, folder: Path) -> None:
    """Compare labels with NumPy's: bytes in, cast, convolution, argmax, bytes out."""
    with target.open(models.tiny_model()) as session:
        for seed in range(5):
            image = random_image(seed)
            found = session.run({"image": image})["labels"]
            require(found.dtype == np.uint8, f"labels are {found.dtype}")
            require_close(found, models.tiny_labels(image), 0)


def _convolution(target: Target, precision: str, tolerance: float) -> None:
    x = models.convolution_input()
    with target.open(models.convolution_model(precision)) as session:
        found = session.run({"x": x})["y"]
    require_close(found, models.convolve(x, precision), tolerance)


@check("numbers: convolution in fp32")
def convolution(target: Target, folder: Path) -> None:
    """Compare a 3x3 convolution and its bias with NumPy's."""
    _convolution(target, "fp32", EXACT)


@check("numbers: convolution in fp16")
def convolution_fp16(target: Target, folder: Path) -> None:
    """Compare one whose inside is in half precision."""
    _convolution(target, "fp16", HALF)


@check("numbers: convolution in int8 (QDQ)")
def convolution_int8(target: Target, folder: Path) -> None:
    """Compare a quantised one, rounded and clipped as ONNX says."""
    _convolution(target, "int8", EXACT)


@check("numbers: bilinear resize")
def resize(target: Target, folder: Path) -> None:
    """Compare with NumPy: pixel centres at halves, edges repeated."""
    x = np.random.default_rng(0).integers(-8, 9, (1, 2, 5, 6)).astype(np.float32)
    with target.open(models.resize_model()) as session:
        require_close(session.run({"x": x})["y"], models.resize(x), EXACT)


@check("free axes take several sizes")
def free_axes(target: Target, folder: Path) -> None:
    """Run two sizes, and the first again, in one session."""
    axes = ("batch", models.CHANNELS, "height", "width")
    with target.open(models.convolution_model("fp32", axes)) as session:
        shape = session.inputs[0].shape
        require(not isinstance(shape[0], int) and shape[1] == models.CHANNELS, f"shape is {shape}")
        for sizes in ((1, 16, 16), (2, 9, 20), (1, 16, 16)):
            x = models.convolution_input(*sizes)
            require_close(session.run({"x": x})["y"], models.convolve(x), EXACT)


@check("wrong feeds are refused in one line")
def wrong_feeds(target: Target, folder: Path) -> None:
    """Feed what is missing, unknown, of a wrong type or shape, to run and to time."""
    image = random_image()
    cases = [
        ({}, "input 'image' is missing"),
        ({"image": image, "mask": image}, "no input 'mask'; it takes image uint8 [1, 8, 8, 3]"),
        ({"image": image.astype(np.float32)}, "was given image float32 [1, 8, 8, 3]"),
        ({"image": image[:, :4]}, "was given image uint8 [1, 4, 8, 3]"),
        ({"image": image[0]}, "was given image uint8 [8, 8, 3]"),
    ]
    with target.open(models.tiny_model()) as session:
        for feeds, words in cases:
            require_error(lambda feeds=feeds: session.run(feeds), UsageError, words)  # type: ignore[misc]
            require_error(lambda feeds=feeds: session.time(feeds, 1), UsageError, words)  # type: ignore[misc]
        session.run({"image": image})


@check("arrays need not be contiguous or writable")
def not_contiguous(target: Target, folder: Path) -> None:
    """Run a mirrored view and a read-only array."""
    mirrored = random_image()[:, :, ::-1]
    frozen = random_image(1)
    frozen.flags.writeable = False
    with target.open(models.tiny_model()) as session:
        for image in (mirrored, frozen):
            require_close(session.run({"image": image})["labels"], models.tiny_labels(image), 0)


@check("repeated runs are equal")
def repeated_runs(target: Target, folder: Path) -> None:
    """Run ten times on one array."""
    x = models.convolution_input()
    with target.open(models.convolution_model()) as session:
        first = session.run({"x": x})["y"]
        for _ in range(9):
            require(np.array_equal(session.run({"x": x})["y"], first), "a run differs")


@check("outputs belong to the caller")
def outputs_stay(target: Target, folder: Path) -> None:
    """Run and time again; the arrays of the first run must stay."""
    x, other = models.convolution_input(), models.convolution_input(seed=7)
    with target.open(models.convolution_model()) as session:
        kept = session.run({"x": x})["y"]
        session.run({"x": other})
        session.time({"x": other}, 3)
        require_close(kept, models.convolve(x), EXACT)


@check("two sessions at once do not disturb each other")
def two_sessions(target: Target, folder: Path) -> None:
    """Run in turns; close one and go on with the other."""
    x, image = models.convolution_input(), random_image()
    with target.open(models.tiny_model()) as second:
        with target.open(models.convolution_model()) as first:
            for _ in range(3):
                require_close(first.run({"x": x})["y"], models.convolve(x), EXACT)
                found = second.run({"image": image})["labels"]
                require_close(found, models.tiny_labels(image), 0)
        require_close(second.run({"image": image})["labels"], models.tiny_labels(image), 0)


@check("closing twice is harmless")
def closing_twice(target: Target, folder: Path) -> None:
    """Close with a run before, and without."""
    unused = target.open(models.tiny_model())
    unused.close()
    unused.close()
    used = target.open(models.tiny_model())
    used.run({"image": random_image()})
    used.close()
    used.close()


@check("time gives plausible milliseconds, one a run")
def timing(target: Target, folder: Path) -> None:
    """Count them: as many as asked for, none zero, together no longer than the call took."""
    x = models.convolution_input()
    with target.open(models.convolution_model()) as session:
        session.run({"x": x})
        start = time.perf_counter()
        times = session.time({"x": x}, 20)
        wall = (time.perf_counter() - start) * 1000
    require(len(times) == 20, f"{len(times)} times for 20 runs")
    require(min(times) > 0, f"a run of {min(times)} ms")
    require(sum(times) <= wall, f"{sum(times):.3f} ms of runs in {wall:.3f} ms")


@check("every layer is timed, where the runtime tells")
def layers_timed(target: Target, folder: Path) -> str | None:
    """Look at names and times, and run on afterwards."""
    x = models.convolution_input()
    with target.open(models.convolution_model("fp16")) as session:
        try:
            times = session.layer_times({"x": x}, 5)
        except UnavailableError as error:
            return str(error)
        require(times and sum(times.values()) > 0, f"times are {times}")
        require(min(times.values()) >= 0, f"times are {times}")
        require(not any(name.isdecimal() for name in times), f"layers without names: {times}")
        require_close(session.run({"x": x})["y"], models.convolve(x), HALF)
    return None


@check("metadata and path reach the session")
def metadata(target: Target, folder: Path) -> None:
    """Read the file's key-value pairs, whatever letters they are of."""
    pairs = {"classes": '["background", "skin"]', "licence": "frei für Forschung"}
    path = folder / "model.onnx"
    path.write_bytes(models.tiny_model(pairs))
    with target.open(path) as session:
        found = {name: session.metadata.get(name) for name in pairs}
        require(found == pairs, f"metadata is {session.metadata}")
        require(session.source == str(path), f"source is {session.source}")


@check("unknown devices, missing devices and numbers of threads are refused")
def devices(target: Target, folder: Path) -> None:
    """Ask for what there is not."""
    runtime = get_runtime(target.runtime)
    model = models.tiny_model()
    for device in ("gpu", "cuda:x", "cuda:-1", "cpu:0", ""):
        require_error(
            lambda device=device: runtime.open(model, device),  # type: ignore[misc]
            UsageError,
            "give cpu, cuda or cuda:N",
        )
    require_error(
        lambda: runtime.open(model, target.device, threads=0), UsageError, "must be at least 1"
    )
    for kind in {"cpu", "cuda"} - set(runtime.devices()):
        require_error(lambda kind=kind: runtime.open(model, kind), UnavailableError)  # type: ignore[misc]
