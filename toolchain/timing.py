"""Time model files, with what a latency table predicts for those of ours beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.benchmark import Benchmark, benchmark
from export.errors import DataError
from export.metadata import ModelMetadata
from export.precision import precision_of
from export.runtimes import open_session
from toolchain.genotype import Genotype
from toolchain.profiling.face import face_image
from toolchain.profiling.table import LatencyTable


def time_models(
    models: Sequence[Path],
    *,
    input_size: int = 512,
    latency_table: Path | None = None,
    **settings: Any,
) -> Benchmark:
    """Time model files on a synthetic face; see `export.benchmark.benchmark`.

    Args:
        models: paths of ONNX files.
        input_size: height and width in pixels where a file leaves them free.
        latency_table: predicts files of `nastool export` that have the table's precision,
            input size and number of classes; others have no prediction.
        settings: the further arguments of `export.benchmark.benchmark`.

    Raises:
        DataError: the table cannot be read, or was made for another machine, or lacks an entry.
        UsageError, UnavailableError: as `export.benchmark.benchmark` does.
    """
    predicted = {}
    if latency_table:
        table = LatencyTable.load(latency_table)
        table.check_matches(threads=settings.get("threads"))
        for path in models:
            prediction = _predict(path, table)
            if prediction is not None:
                predicted[str(path)] = prediction
    picture = face_image((input_size, input_size))[0]
    return benchmark(
        models, input_size=input_size, picture=picture, predicted=predicted, **settings
    )


def _predict(path: Path, table: LatencyTable) -> float | None:
    with open_session(path) as session:
        try:
            metadata = ModelMetadata.read(session.metadata, path)
        except DataError:
            return None
    made = table.provenance
    here = (precision_of(path), (metadata.input_size, metadata.input_size), len(metadata.classes))
    if here != (made.precision, made.input_size, made.classes):
        return None
    if metadata.genotype is None or metadata.encoder is None:
        return None
    plan = table.plan(Genotype.parse(metadata.genotype), metadata.encoder)
    return round(table.predict(plan).median, 4)
