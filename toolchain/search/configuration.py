"""What a search was asked to do; saved beside its results."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from export.errors import DataError, UsageError
from export.files import read_json, write_json
from toolchain.search.run import CONFIGURATION
from toolchain.search.settings import EvaluationSettings
from toolchain.search.storage import holds_search, shown
from toolchain.training.losses import (
    AUXILIARY_WEIGHT,
    DISTILLATION_WEIGHT,
    PRESENCE_WEIGHT,
)


class SearchConfiguration(BaseModel):
    """Every setting of a search, by the name of its flag.

    Attributes:
        data: folder or ``synthetic:COUNT[:SEED]``.
        dataset: kind of the data; None: recognised.
        latency_tables: files; a table is known by its file's name without the suffix.
        objectives: texts for `Objective.parse`.
        budgets: texts for `Budget.parse`.
        trials: candidates in all, those over budget not counted.
        encoders: names; several make the encoder part of the search.
        weights: initial weights of each encoder.
        input_size: side of the deployed network's image, pixels: costs are of that size.
        search_size: side of the images that candidates are trained on; for this and what follows
            up to ``half`` see `EvaluationSettings`.
        memory_budget: GiB of memory for images, features and targets; None: most of what is free.
        workers: candidates at work at once.
        executor: "local" (processes of this machine) or "ray".
        gpu_share: part of a GPU that each worker of Ray takes.
        timeout: seconds that a candidate may take.
        devices: of the workers, dealt out in turns.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    dataset: str | None = None
    latency_tables: tuple[Path, ...] = ()
    objectives: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    combination: str = "product"
    trials: int = 100
    algorithm: str = "ppo"
    branches: int = 3
    cells: int = 3
    encoders: tuple[str, ...] = ("mobilenetv2",)
    weights: tuple[Path, ...] = ()
    teacher: Path | None = None
    input_size: int = 512
    search_size: int = 192
    search_images: int = 320
    search_validation: int = 80
    decoder_epochs: int = 2
    joint_epochs: int = 1
    batch_size: int = 16
    parts: tuple[str, ...] = ()
    distillation_weight: float = DISTILLATION_WEIGHT
    auxiliary_weight: float = AUXILIARY_WEIGHT
    presence_weight: float = PRESENCE_WEIGHT
    polyak: bool = True
    early_stop: bool = True
    half: bool | None = None
    memory_budget: float | None = None
    workers: int = 1
    executor: str = "local"
    gpu_share: float = 1.0
    timeout: float | None = None
    storage: str | None = None
    devices: tuple[str, ...] = ("cpu",)
    seed: int = 0

    @property
    def evaluation(self) -> EvaluationSettings:
        """How candidates are judged."""
        names = {field.name for field in fields(EvaluationSettings)}
        shared = {name: value for name, value in self if name in names}
        return EvaluationSettings(
            size=self.search_size,
            images=self.search_images,
            validation_images=self.search_validation,
            **shared,
        )


_FREE = {"trials", "devices", "memory_budget", "workers", "executor", "gpu_share", "timeout"}
"""Settings that may change when a search is resumed."""


def check_resumable(configuration: SearchConfiguration, path: Path, resume: bool) -> None:
    """Check that the run folder is free, or holds a search of the same settings to resume.

    Raises:
        UsageError: the folder holds a search and ``resume`` is off, or the folder is free and the
            storage holds the search of another.
        DataError: the folder's search had other settings, or the storage cannot be opened.
    """
    file = path / CONFIGURATION
    if not file.exists():
        if configuration.storage and holds_search(configuration.storage):
            where = shown(configuration.storage)
            raise UsageError(f"{where} holds another run's search; give each run its own database")
        return
    if not resume:
        raise UsageError(f"{path} holds a search already; add --resume, or choose another --run")
    saved: dict[str, Any] = read_json(file)
    for name, value in configuration.model_dump(mode="json").items():
        before, now = saved.get(name), value
        if name == "storage":
            # Its password may change, and is nothing to show.
            before, now = (url and shown(url) for url in (before, now))
        if name not in _FREE and before != now:
            raise DataError(file, f"{name} was {before}, now it is {now}; use the same settings")


def settle(configuration: SearchConfiguration, path: Path, resume: bool) -> None:
    """Save the configuration in the run folder; raises what `check_resumable` raises."""
    check_resumable(configuration, path, resume)
    write_json(path / CONFIGURATION, configuration.model_dump(mode="json"))
