"""Time model files, with what latency tables and genotypes say of those of ours beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.benchmarking.benchmark import Benchmark, Expected, Timing, benchmark
from export.benchmarking.feeds import sample_feeds
from export.benchmarking.node_profile import NodeProfile, profile_nodes
from export.onnx_file.metadata import ModelMetadata
from export.precision.half import precision_of
from export.runtimes import open_session
from export.system.errors import DataError, UsageError
from toolchain.architecture import Architecture
from toolchain.deploy.part_names import part_label
from toolchain.genotype import Genotype
from toolchain.profiling.face import face_image
from toolchain.profiling.table import LatencyTable, in_words


def time_models(
    models: Sequence[Path],
    *,
    runtime: str = "onnxruntime",
    device: str = "cpu",
    threads: int | None = None,
    input_size: int = 512,
    latency_table: Path | None = None,
    copies: bool | None = None,
    force: bool = False,
    profile: bool = False,
    **settings: Any,
) -> Benchmark:
    """Time model files on a synthetic face; see `export.benchmarking.benchmark.benchmark`.

    Args:
        models: paths of ONNX files.
        runtime: name of the runtime.
        device: to run on.
        threads: CPU threads; None takes as many as the table was made with, or every core.
        input_size: height and width in pixels where a file leaves them free.
        latency_table: predicts files of `nastool export` that have the table's precision,
            input size and number of classes, and whose encoder and working size it has; the others
            get a note that says why not.
        copies: see `benchmark`; None counts them as the table does, or yes.
        force: even if the table was made for another machine, runtime version or threads.
        profile: also time every node, and add the times up by the parts of the genotype.
        settings: the further arguments of `export.benchmarking.benchmark.benchmark`.

    Raises:
        DataError: the table cannot be read, or was made for another machine.
        UsageError, UnavailableError: as `export.benchmarking.benchmark.benchmark` does.
    """
    expected = [Expected() for _ in models]
    if latency_table:
        table = LatencyTable.load(latency_table)
        threads = threads or table.provenance.threads
        table.check_matches(threads=threads, force=force)
        if copies is None:
            copies = bool(table.provenance.settings.get("copies", True))
        in_use = {"runtime": runtime, "device": device, "mode": settings.get("mode", "latency")}
        expected = [_expect(path, table, in_use) for path in models]
    picture = face_image((input_size, input_size))[0]
    where: dict[str, Any] = {"runtime": runtime, "device": device, "threads": threads}
    settings["copies"] = True if copies is None else copies
    result = benchmark(models, input_size=input_size, picture=picture, **where, **settings)
    if latency_table and not force:
        for field, then, now in table.provenance.differences(settings=result.settings):
            note = f"{field} is {in_words(now)}, the table's {in_words(then)}"
            expected = [Expected(note=f"{path}: {note}") for path in models]

    def completed(timing: Timing, foretold: Expected) -> Timing:
        found = None
        if profile:
            with open_session(timing.path, **where) as session:
                feeds = sample_feeds(session, input_size, picture)
                found = _in_words(profile_nodes(session, feeds), session.metadata)
        return replace(timing, expected=foretold, profile=found)

    return replace(result, timings=tuple(map(completed, result.timings, expected)))


def _in_words(profile: NodeProfile, metadata: dict[str, str]) -> NodeProfile:
    try:
        genotype = Genotype.parse(metadata["genotype"])
    except (KeyError, UsageError, DataError):
        return profile
    return replace(profile, label=part_label(genotype, profile.nodes))


def _expect(path: Path, table: LatencyTable, in_use: dict[str, str]) -> Expected:
    made = table.provenance
    in_table: dict[str, Any] = {"mode": "latency", **made.model_dump()}

    def differs(here: dict[str, Any]) -> Expected | None:
        for field, value in here.items():
            if in_table[field] != value:
                return Expected(note=f"{path}: {field} is {value}, the table's {in_table[field]}")
        return None

    if other := differs(in_use):
        return other
    with open_session(path) as session:
        try:
            metadata = ModelMetadata.read(session.metadata, path)
        except DataError as error:
            return Expected(note=str(error))
    if metadata.genotype is None or metadata.encoder is None:
        return Expected(note=f"{path}: its metadata names no genotype and encoder")
    of_file = {
        "precision": precision_of(path),
        "input_size": (metadata.input_size, metadata.input_size),
        "classes": len(metadata.classes),
        "tail": metadata.tail,
    }
    if other := differs(of_file):
        return other
    if metadata.float_parts:
        return Expected(
            note=f"{path}: leaves {', '.join(metadata.float_parts)} in float, the table's networks "
            "nothing"
        )
    genotype = Genotype.parse(metadata.genotype)
    architecture = Architecture(genotype, metadata.encoder, metadata.working_size)
    try:
        prediction = table.predict(table.plan(architecture))
    except DataError as error:
        return Expected(note=str(error))
    return Expected(
        round(prediction.median, 4), (round(prediction.low, 4), round(prediction.high, 4))
    )
