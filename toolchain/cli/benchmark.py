"""``nastool benchmark``: time ONNX files side by side."""

from pathlib import Path
from typing import Any

import click

from export.system.command_line import command
from export.system.console import Outcome, lines, table
from export.system.inputs import InputFile, ModelFile
from export.system.numbers import LARGEST_SIDE, LONGEST, MOST_THREADS, THREADS
from export.system.outputs import JSON

PARTS, NODES = 16, 8


@command(
    "benchmark",
    groups={
        "First of all": ("threads", "runtime", "device", "latency_table", "seconds"),
        "What is timed": ("mode", "streams", "input_size", "copies", "peer"),
        "What is told": ("profile", "cold", "energy", "markdown", "raw", "force"),
    },
)
@click.argument("models", nargs=-1, required=True, type=ModelFile())
@click.option("--runtime", default="onnxruntime", show_default=True, help="Name of the runtime.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads, of all streams together. Left out: as many as --latency-table was made "
    "with, or the physical cores that may be used.",
)
@click.option(
    "--mode",
    type=click.Choice(["latency", "throughput"]),
    default="latency",
    show_default=True,
    help="One frame after the other, or as many in flight as there are streams.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, MOST_THREADS),
    help="Frames in flight in throughput mode, each in a session and a thread of its own; they "
    "share --threads. Left out: one for each thread; on a GPU two.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, LONGEST),
    default=5.0,
    show_default=True,
    help="Time to spend on each model, after warm-up, in seconds.",
)
@click.option(
    "--input-size",
    type=click.IntRange(1, LARGEST_SIDE),
    default=512,
    show_default=True,
    help="Height and width in pixels where a file leaves them free.",
)
@click.option(
    "--latency-table",
    type=InputFile(),
    help="Compare with what this table predicts for files of nastool export.",
)
@click.option(
    "--force", is_flag=True, help="Even if --latency-table is of another machine or runtime."
)
@click.option(
    "--profile",
    is_flag=True,
    help="Also the time of every node, added up by module (of ours: by part of the genotype) and "
    "by operator.",
)
@click.option(
    "--copies/--no-copies",
    default=None,
    help="On a GPU: count what a frame takes on its way there and back.  [default: as the "
    "--latency-table does, else yes]",
)
@click.option(
    "--cold", is_flag=True, help="Also memory and cold start, in a fresh process; 1 to 3 s a model."
)
@click.option(
    "--energy",
    is_flag=True,
    help="Also joules a frame, where the machine tells (RAPL, NVML); 2 s a model.",
)
@click.option(
    "--peer",
    type=click.Path(path_type=Path),
    help="Also time BiSeNet with ResNet-18, a published face parser's network, from this file; "
    "it is written there, with random weights, if it is not there.",
)
@click.option("--raw", type=JSON, help="Write every sample (JSON, ms).")
@click.option(
    "--markdown",
    is_flag=True,
    help="Print a Markdown table to paste, nothing else; with --json it is in the document.",
)
def benchmark(
    models: tuple[Path, ...], peer: Path | None, markdown: bool, **settings: Any
) -> Outcome:
    """Time MODELS, any ONNX files, ours or others'.

    One run is one frame: from the input arrays being ready to the output arrays being ready.
    Several models are timed in turns, in random order. The ratio to the first is the median of the
    ratios within the turns, so it holds even on a machine that is not quiet; beside it stands its
    95 % interval. Images are a synthetic face; other inputs are random. Nothing is written but
    --raw and --peer.

    \b
      nastool benchmark model.onnx bisenet.onnx --threads 2
      nastool benchmark model.onnx --peer bisenet.onnx            # how much faster is it?
      nastool benchmark model.onnx --latency-table latency_tables/TABLE.json --raw samples.json
      nastool benchmark model.onnx --profile                      # where does the time go?
      nastool benchmark model.onnx --mode throughput --streams 4  # frames a second of four cameras
      nastool benchmark model.onnx other.onnx --cold --markdown   # rows for a report

    JSON: environment, runtime, device, mode, streams, settings, models: [{path, precision,
    latency_ms, samples, turns, fps, size_bytes, predicted_ms, predicted_interval_ms,
    prediction_error_percent, prediction_note, ratio_to_first, ratio_interval}]; with --markdown
    markdown; with --cold
    memory_bytes, gpu_memory_bytes, cold_start_ms; with --energy energy_per_frame_joules,
    energy_note; with --profile profile: {sum_ms, session_ms, groups,
    parts, operators, nodes}.
    """
    from toolchain.deploy.timed_files import time_models

    if peer:
        if not peer.exists():
            from toolchain.deploy.peer import write_peer

            write_peer(peer, settings["input_size"])
        models = (peer, *models)
    document = time_models(models, **settings).document()
    if markdown:
        document["markdown"] = _markdown(document)
        return Outcome(document, document["markdown"])
    return Outcome(document, _text(document))


def _text(document: dict[str, Any]) -> Any:
    several = len(document["models"]) > 1
    rows = []
    for model in document["models"]:
        row = [model["path"]]
        row += [f"{model['latency_ms'][key]:.2f}" for key in ("median", "p90", "p99", "iqr")]
        row += [f"{model['fps']:.1f}", f"{model['size_bytes'] / 1e6:.2f}"]
        row += [_predicted(model), _ratio(model, several)]
        rows.append(row)
    heads = ("model", "median ms", "p90", "p99", "iqr", "fps", "MB", "predicted ms", "ratio")
    mode = f", {document['streams']} streams" if document["mode"] == "throughput" else ""
    settings = ", ".join(f"{key} {value}" for key, value in document["settings"].items())
    where = f"{document['runtime']} on {document['device']} ({settings}{mode})"
    parts = [table(heads, rows), where]
    for model in document["models"]:
        parts += _notes(model)
    for model in document["models"]:
        if "profile" in model:
            parts += _profile(model)
    return lines(*parts)


def _predicted(model: dict[str, Any]) -> str:
    if model["predicted_ms"] is None:
        return "-"
    return f"{model['predicted_ms']:.2f} ({model['prediction_error_percent']:+.1f} %)"


def _ratio(model: dict[str, Any], several: bool) -> str:
    low, high = model["ratio_interval"]
    interval = f" ({low:.3f} to {high:.3f})" if several and low < high else ""
    return f"{model['ratio_to_first']:.3f}{interval}"


def _notes(model: dict[str, Any]) -> list[str]:
    notes = []
    if model["prediction_note"]:
        notes.append(f"no prediction: {model['prediction_note']}")
    if "memory_bytes" in model:
        cold = model["cold_start_ms"]
        gpu = model["gpu_memory_bytes"]
        notes.append(
            f"{model['path']}: {model['memory_bytes'] / 1e6:.1f} MB of memory"
            + ("" if gpu is None else f", {gpu / 1e6:.1f} MB on the GPU")
            + f"; cold start: open {cold['open']:.1f} ms, first run {cold['first_run']:.1f} ms "
            f"(import of the runtime: {cold['import']:.0f} ms)"
        )
    if "energy_note" in model:
        joules = model["energy_per_frame_joules"]
        figure = "no figure" if joules is None else f"{joules:.3f} J a frame"
        notes.append(f"{model['path']}: energy: {figure} ({model['energy_note']})")
    return notes


def _profile(model: dict[str, Any]) -> list[Any]:
    profile = model["profile"]
    heads = ("ms", "%", "nodes")

    def row(part: dict[str, Any]) -> tuple[str, ...]:
        return part["name"], f"{part['ms']:.3f}", f"{100 * part['share']:.1f}", str(part["nodes"])

    shown, rest = profile["parts"][:PARTS], profile["parts"][PARTS:]
    rows = [row(part) for part in shown]
    if rest:
        other = {key: sum(part[key] for part in rest) for key in ("ms", "share", "nodes")}
        rows.append(row({"name": f"{len(rest)} more parts (--json lists all)", **other}))
    # Of nodes the medians leave out what disturbs one here and one there; of runs they do not.
    quiet = profile["sum_ms"] > 0.9 * profile["session_ms"]
    noisy = "" if quiet else " (on a machine at rest the two are closer)"
    nodes = sorted(profile["nodes"], key=lambda node: -node["ms"])[:NODES]
    return [
        "",
        f"{model['path']}: {profile['sum_ms']:.2f} ms in nodes, {profile['session_ms']:.2f} ms a "
        f"run without profiling{noisy}",
        ", ".join(
            f"{group['name']} {group['ms']:.2f} ms ({100 * group['share']:.0f} %)"
            for group in profile["groups"][:NODES]
        ),
        table(("part", *heads), rows),
        table(("operator", *heads), [row(part) for part in profile["operators"][:NODES]]),
        table(
            ("slowest nodes", "ms", "%", "part"),
            [
                (
                    node["node"] or node["name"],
                    f"{node['ms']:.3f}",
                    f"{100 * node['ms'] / profile['sum_ms']:.1f}",
                    node["part"],
                )
                for node in nodes
            ],
        ),
    ]


def _markdown(document: dict[str, Any]) -> str:
    heads = ["model", "precision", "MB", "median ms", "p90 ms", "fps", "ratio"]
    cold = "memory_bytes" in document["models"][0]
    heads += ["memory MB", "open + first run ms"] if cold else []
    predicted = any(model["predicted_ms"] is not None for model in document["models"])
    heads += ["predicted ms"] if predicted else []
    heads += ["machine", "runtime", "threads"]
    machine = document["environment"]["cpu"]["model"]
    index = document["device"].partition(":")[2]
    if index and int(index) < len(document["environment"]["gpus"]):
        machine = document["environment"]["gpus"][int(index)]["name"]
    threads = document["settings"].get("threads", "-")
    if document["mode"] == "throughput":
        threads = f"{document['streams']} streams of {threads}"
    rows = []
    for model in document["models"]:
        latency, start = model["latency_ms"], model.get("cold_start_ms", {})
        row = [Path(model["path"]).name, model["precision"] or "-"]
        row += [f"{model['size_bytes'] / 1e6:.2f}"]
        row += [f"{latency['median']:.2f}", f"{latency['p90']:.2f}", f"{model['fps']:.1f}"]
        row += [_ratio(model, len(document["models"]) > 1)]
        if cold:
            row += [f"{model['memory_bytes'] / 1e6:.1f}"]
            row += [f"{start['open'] + start['first_run']:.0f}"]
        row += [_predicted(model)] if predicted else []
        rows.append([*row, machine, document["runtime"], str(threads)])
    rule = ["---", "---"] + ["---:"] * (len(heads) - 5) + ["---"] * 3
    escaped = [[str(cell).replace("|", r"\|") for cell in row] for row in (heads, rule, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)
