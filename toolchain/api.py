"""nastool from Python: one call a command, from the device to the files that run on it.

Each function does what the command of its name does, and returns what that command prints with
``--json`` as a value. What decides an outcome is named as in ``config.json`` and in TOML files of
``--config`` (docs/reference/configuration.md); whatever is left out has the command's default. What
is wrong is raised as a `NastoolError` (`export.system.errors`), in one line with the remedy.

Nothing heavy is imported before it is called.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.benchmarking.benchmark import Benchmark
    from toolchain.deploy.exported import Deployment
    from toolchain.profiling.certificate import Certificate
    from toolchain.profiling.device import Profile
    from toolchain.search.launch import SearchResult
    from toolchain.search.trial import Trial
    from toolchain.training.trainer import TrainingResult

File = str | Path


def profile_device(output: File | None = None, **settings: Any) -> "Profile":
    """Measure a device and write its latency table; `toolchain.profiling.device.profile_device`."""
    from toolchain.profiling import device

    return device.profile_device(output, **settings)


def certify(table: File, **settings: Any) -> "Certificate":
    """Hold a table against fresh networks; `toolchain.profiling.later.certify_table`."""
    from toolchain.profiling import later

    return later.certify_table(table, **settings)


def cost(
    genotypes: str | Iterable[str],
    encoder: str = "mobilenetv2",
    *,
    working_size: int | None = None,
    input_size: int = 512,
    classes: int = 19,
    latency_tables: Sequence[File] = (),
) -> list[dict[str, Any]]:
    """Say what architectures cost; nothing is trained or measured.

    Args:
        genotypes: one or more texts.
        encoder: name, see ``nastool encoders``.
        working_size: width and height in pixels at which the network works; None: the input's.
        input_size: width and height of the image in pixels.
        classes: of the labels.
        latency_tables: files that predict milliseconds.

    Returns:
        Of each its parameters, FLOPs and milliseconds by table, as `cost_documents` says.

    Raises:
        NastoolError: a genotype, a name, a size or a table cannot be used.
    """
    from toolchain.architecture import Architecture
    from toolchain.genotype import Genotype
    from toolchain.profiling.costing import cost_documents, load_tables

    texts = [genotypes] if isinstance(genotypes, str) else genotypes
    chosen = [Architecture(Genotype.parse(text), encoder, working_size) for text in texts]
    for architecture in chosen:
        architecture.working_image((input_size, input_size))
    sizes = [working_size] if working_size else []
    tables = load_tables([Path(t) for t in latency_tables], classes, input_size, [encoder], sizes)
    return cost_documents(chosen, classes, input_size, tables)


def pretrain(output: File, *, resume: bool = False, **settings: Any) -> "TrainingResult":
    """Train an encoder, or a teacher, under a plain decoder; settings are `TrainingSettings`."""
    from toolchain.training import plan

    return plan.pretrain(Path(output), resume, **settings)


def search(
    run: File, *, resume: bool = False, tensorboard: bool = False, **settings: Any
) -> "SearchResult":
    """Search architectures; settings are `SearchSettings`, see `toolchain.search.launch`."""
    from toolchain.search.launch import run_search
    from toolchain.settings.search_settings import SearchSettings

    return run_search(SearchSettings.of(**settings), Path(run), resume, tensorboard)


def rank(run: File, *, resume: bool = False, **settings: Any) -> dict[str, Any]:
    """Train some candidates longer: were the scores right? Settings are `RankSettings`."""
    from toolchain.search.rank import rank_run
    from toolchain.settings.search_settings import RankSettings

    return rank_run(Path(run), RankSettings.of(**settings), resume)


def pick(run: File, which: str = "best") -> "list[Trial]":
    """Return candidates of a run: the ``best``, the ``knee``, the ``pareto`` front, or a number."""
    from toolchain.search.run import pick as pick_trials

    return pick_trials(run, which)


def report(runs: Sequence[File], output: File, objectives: Sequence[str] = ()) -> dict[str, Any]:
    """Write the page of some runs; `toolchain.reporting.report.write_report`."""
    from toolchain.reporting.report import write_report

    return write_report([Path(run) for run in runs], Path(output), list(objectives) or None)


def train(
    output: File, *, genotype: str, resume: bool = False, **settings: Any
) -> "TrainingResult":
    """Train an architecture; settings are `TrainingSettings`, see `toolchain.training.trainer`.

    A candidate of a search is trained with what `pick` says of it: its genotype, encoder and
    working size.
    """
    from toolchain.settings.training_settings import TrainingSettings
    from toolchain.training import trainer

    chosen = TrainingSettings.of(genotype=genotype, **settings)
    return trainer.train(chosen, Path(output), resume)


def evaluate(model: File, data: str, **settings: Any) -> dict[str, Any]:
    """Score a checkpoint or a model file; `toolchain.training.evaluation.evaluate`."""
    from toolchain.training import evaluation

    return evaluation.evaluate(model, data, **settings)


def export(checkpoint: File, output: File, **settings: Any) -> "Deployment":
    """Write a checkpoint as files and check them; `toolchain.deploy.deployment.deploy`.

    The result's ``failure`` says which gate a file did not pass, and is None where all did.
    """
    from toolchain.deploy.deployment import deploy
    from toolchain.training.checkpoints import load_segmenter

    return deploy(*load_segmenter(checkpoint), output, **settings)


def benchmark(models: Sequence[File], **settings: Any) -> "Benchmark":
    """Time model files side by side; `toolchain.deploy.timed_files.time_models`."""
    from toolchain.deploy.timed_files import time_models

    return time_models([Path(model) for model in models], **settings)
