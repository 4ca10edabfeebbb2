"""What runtimes on GPUs promise besides."""

from pathlib import Path

from export.checks.conformance import models
from export.checks.conformance.checks import EXACT
from export.checks.conformance.contract import Target, check, require, require_close, require_error
from export.system.errors import DataError, NastoolError

ON_CPU = "only for GPUs"


@check("GPU: nothing falls back to the CPU unseen")
def no_fallback(target: Target, folder: Path) -> str | None:
    """Open a model with a step through text, which no GPU computes."""
    if not target.on_gpu:
        return ON_CPU
    require_error(lambda: target.open(models.text_model()), DataError)
    return None


@check("GPU: the same numbers with and without counted copies")
def copies(target: Target, folder: Path) -> str | None:
    """Compare with NumPy: what is timed must not change what is computed."""
    if not target.on_gpu:
        return ON_CPU
    if not target.has("copies"):
        return "has no option 'copies'"
    for counted in (True, False):
        with target.open(models.convolution_model(), copies=counted) as session:
            require(session.settings.get("copies") is counted, f"settings {session.settings}")
            x = models.convolution_input(seed=int(counted))
            times = session.time({"x": x}, 5)
            require(len(times) == 5 and min(times) > 0, f"times are {times}")
            require_close(session.run({"x": x})["y"], models.convolve(x), EXACT)
    return None


@check("GPU: a replayed CUDA graph gives the same numbers")
def cuda_graph(target: Target, folder: Path) -> str | None:
    """Compare with NumPy and with a plain session, on fresh arrays each time."""
    if not target.on_gpu:
        return ON_CPU
    if not target.has("cuda_graph"):
        return "has no option 'cuda_graph'"
    model = models.convolution_model()
    with target.open(model) as plain, target.open(model, cuda_graph=True) as recorded:
        for seed in range(4):
            x = models.convolution_input(seed=seed)
            found = recorded.run({"x": x})["y"]
            require_close(found, models.convolve(x), EXACT)
            require_close(found, plain.run({"x": x})["y"], EXACT)
            require(len(recorded.time({"x": x}, 3)) == 3, "does not time")
    return None


@check("GPU: a number beyond the last is refused")
def beyond_the_last(target: Target, folder: Path) -> str | None:
    """Open on GPU 99."""
    if not target.on_gpu:
        return ON_CPU
    beyond = Target(target.runtime, "cuda:99")
    require_error(lambda: beyond.open(models.tiny_model()), NastoolError)
    return None
