"""``nastool benchmark``: time ONNX files side by side."""

from pathlib import Path

import click

from export.console import Outcome, command, lines, table


@command("benchmark")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--runtime", default="onnxruntime", show_default=True, help="Name of the runtime.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; every core if left out.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=5.0,
    show_default=True,
    help="Time to spend on each model, after warm-up, in seconds.",
)
@click.option(
    "--input-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Height and width in pixels where a file leaves them free.",
)
@click.option(
    "--latency-table",
    type=click.Path(path_type=Path),
    help="Compare with what this table predicts for files of nastool export.",
)
@click.option("--raw", type=click.Path(path_type=Path), help="Write every sample (JSON, ms).")
def benchmark(
    models: tuple[Path, ...],
    runtime: str,
    device: str,
    threads: int | None,
    seconds: float,
    input_size: int,
    latency_table: Path | None,
    raw: Path | None,
) -> Outcome:
    """Time MODELS, any ONNX files, ours or others'.

    One run is one frame: from the input arrays being ready to the output arrays being ready.
    Several models are timed in turns, in random order, so that the ratio to the first holds even
    on a machine that is not quiet. Images are a synthetic face; other inputs are random.

    \b
      nastool benchmark model.onnx bisenet.onnx --threads 2
      nastool benchmark model.onnx --latency-table latency_tables/TABLE.json --raw samples.json
    """
    from toolchain.timing import time_models

    result = time_models(
        models,
        runtime=runtime,
        device=device,
        threads=threads,
        seconds=seconds,
        input_size=input_size,
        latency_table=latency_table,
        raw=raw,
    )
    document = result.document()
    rows = [
        (
            model["path"],
            *(f"{model['latency_ms'][key]:.2f}" for key in ("median", "p90", "p99", "iqr")),
            f"{model['fps']:.1f}",
            f"{model['size_bytes'] / 1e6:.2f}",
            "-" if model["predicted_ms"] is None else f"{model['predicted_ms']:.2f}",
            f"{model['ratio_to_first']:.3f}",
        )
        for model in document["models"]
    ]
    heads = ("model", "median ms", "p90", "p99", "iqr", "fps", "MB", "predicted ms", "ratio")
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items())
    where = f"{result.runtime} on {result.device} ({settings})"
    return Outcome(document, lines(table(heads, rows), where))
