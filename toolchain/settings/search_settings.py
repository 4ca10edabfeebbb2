"""The settings of a search, and of the short training of its candidates."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Le
from pydantic import field_validator, model_validator

from export.system.numbers import LARGEST, LARGEST_SEED, LARGEST_SIDE, MOST_THREADS
from toolchain.architecture import STRIDE
from toolchain.settings.base import FILE_NAME, Data, Settings, setting
from toolchain.settings.training_settings import AUXILIARY_WEIGHT, DISTILLATION_WEIGHT

NOT_A_RUN = f"is not a run folder (it has no {FILE_NAME})"
"""What is wrong with a folder that holds no search."""
RANKING = "rank.json"
"""The file in a run's folder that nastool rank writes."""
SQLITE = "sqlite:///"
"""What the URL of a SQLite database begins with; all that follows is the path of its file."""
Algorithm = Literal["predictor", "ppo", "reinforce", "nsga2", "tpe", "random"]
Count = Annotated[int, Ge(1), Le(LARGEST)]
Side = Annotated[int, Ge(STRIDE), Le(LARGEST_SIDE)]
"""Pixels."""


def without_password(url: str) -> str:
    """Return a database URL without its password."""
    without = re.sub(r"([^:/@]*):(?!//)[^@]*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", without)


# For a machine without a GPU.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "cpu": {
        "search_images": 80,
        "joint_epochs": 0,
        "trials": 50,
        "rescore": 5,
    }
}


class EvaluationSettings(Settings):
    """How much, on what and by what a candidate is trained before it is scored."""

    input_size: int = setting(
        512,
        "Pixels of the deployed network's image; costs are of this size.",
        ge=32,
        le=LARGEST_SIDE,
        multiple_of=32,
    )
    working_sizes: tuple[Side, ...] = setting(
        (),
        "Pixels that encoder and decoder see of the image, a multiple of 32; several: it is "
        "searched too. The --input-size if left out.",
        flag="working-size",
    )
    search_size: int = setting(
        192,
        "Pixels of whole faces, shrunk: what the --input-size is here; a --working-size shrinks in "
        "proportion.",
        ge=32,
        le=LARGEST_SIDE,
    )
    search_images: int = setting(
        320, "Images to train on, at most.", flag="images", formerly=("search-images",), ge=2
    )
    search_validation: int = setting(
        80,
        "Images to score on, at most.",
        flag="score-images",
        formerly=("search-validation",),
        ge=1,
    )
    decoder_epochs: int = setting(2, "Stage 0: passes with the encoder frozen.", ge=0)
    joint_epochs: int = setting(1, "Stage 1: passes of encoder and decoder.", ge=0)
    # Of 24 candidates after stage 0: a Spearman of 0.94 with longer trainings, with 16 images 0.91.
    batch_size: int = setting(8, "Images a step.", ge=2)
    parts: tuple[str, ...] = setting(
        (), "Class whose F1 counts; all but background if left out.", flag="part"
    )
    distillation_weight: float = setting(
        DISTILLATION_WEIGHT, "Of the difference from the --teacher's outputs.", ge=0
    )
    auxiliary_weight: float = setting(AUXILIARY_WEIGHT, "Of heads on the merge cells.", ge=0)
    presence_weight: float = setting(
        0.1, "Of an image-level branch beside the encoder: which classes are there?", ge=0
    )
    polyak: bool = setting(True, "Score averaged weights.")
    early_stop: bool = setting(
        True,
        "End a candidate after stage 0 when, whatever stage 1 may bring, a cheaper or equal one "
        "scores more.",
    )
    half: bool | None = setting(None, "Train in 16 bits; on CUDA if left out.")
    every_epoch: bool = setting(False, "Score after every epoch too, to study the scores.")
    # Scores of 24 candidates then had a Spearman of 0.93 with those of longer trainings, without it
    # 0.90; after stage 0 alone 0.85, without it 0.82.
    shrink_dilations: bool = setting(
        True, "Shrink dilations with the images, so that they span the same share of a face."
    )

    @model_validator(mode="after")
    def _check_working_sizes(self) -> Self:
        for size in self.working_sizes:
            if size % STRIDE or not STRIDE <= size <= self.input_size:
                raise ValueError(
                    f"--working-size is a multiple of {STRIDE}, at most the --input-size of "
                    f"{self.input_size}, not {size}"
                )
        return self

    @property
    def sides(self) -> dict[int | None, int]:
        """Pixels that candidates see here, by working size; None is that of the input."""
        if not self.working_sizes:
            return {None: self.search_size}
        scale = self.search_size / self.input_size
        return {size: max(STRIDE, round(scale * size)) for size in self.working_sizes}


def _preset_in_words(name: str) -> str:
    """Write a preset as its flags."""
    known = EvaluationSettings.model_fields
    flags = {n: EvaluationSettings.flag(n) if n in known else n for n in PRESETS[name]}
    return ", ".join(f"--{flags[n]} {value}" for n, value in PRESETS[name].items())


class SearchSettings(EvaluationSettings):
    """Every setting of a search."""

    command: ClassVar[str] = "search"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "First of all": ("path", "data", "latency_tables", "objectives", "budgets"),
        "How long": ("preset", "trials", "hours", "rescore", "timeout", "resume"),
        "What is searched": (
            "encoders",
            "weights",
            "working_sizes",
            "input_size",
            "branches",
            "cells",
        ),
        "How candidates are drawn": ("algorithm", "combination", "bonus_limit", "seed"),
        "How a candidate is trained and scored": (
            *("search_images", "search_validation", "search_size", "decoder_epochs"),
            *("joint_epochs", "batch_size", "teacher", "parts", "distillation_weight"),
            *("auxiliary_weight", "presence_weight", "polyak", "early_stop", "half"),
            *("every_epoch", "shrink_dilations"),
        ),
        "Where it runs, and what it reads and writes": (
            *("devices", "workers", "executor", "gpu_share", "memory_budget", "storage"),
            *("dataset", "force", "tensorboard"),
        ),
    }
    preset: Literal["cpu"] | None = setting(
        None,
        "Other values where none are given. cpu, for machines without a GPU: "
        f"{_preset_in_words('cpu')}.",
    )
    data: Data
    dataset: str | None = setting(None, "Kind of the data; recognised by its layout when left out.")
    latency_tables: tuple[Path, ...] = setting(
        (),
        "Table of a device; several: latency@NAME (the file's name) tells them apart.",
        flag="latency-table",
        known_by_name=True,
    )
    force: bool = setting(
        False, "Even if a latency table of this machine no longer fits it.", free=True
    )
    objectives: tuple[str, ...] = setting(
        (),
        "QUANTITY:TARGET:EXPONENT[:WEIGHT], of params, flops, latency: latency:15ms:-0.6.",
        flag="objective",
    )
    budgets: tuple[str, ...] = setting(
        (), "Limit that rejects untrained: latency<=20ms.", flag="budget"
    )
    combination: Literal["product", "mean"] = setting(
        "product", "How the factors of several objectives combine."
    )
    bonus_limit: float = setting(
        1.2, "The most that a cost under its target multiplies a score by.", ge=1
    )
    trials: int = setting(
        100, "Candidates to train; rejected and reused ones are not counted.", ge=1, free=True
    )
    hours: float | None = setting(
        None,
        "End within so many hours, scoring the best again included, if --trials does not end it.",
        gt=0,
        free=True,
    )
    rescore: int = setting(
        10,
        "Train so many of the best again, longer, before best, knee or front are named.",
        ge=0,
        free=True,
    )
    algorithm: Algorithm = setting(
        "predictor", "Who draws candidates; predictor screens what it draws by predicted scores."
    )
    branches: int = setting(3, "Of the context cell.", ge=1, le=16)
    cells: int = setting(3, "Merge cells.", ge=1, le=16)
    encoders: tuple[str, ...] = setting(
        ("mobilenetv2",), "Several: the encoder is searched too.", flag="encoder"
    )
    weights: tuple[Path, ...] = setting((), "Initial weights, a file for each --encoder.")
    teacher: Path | None = setting(None, "Checkpoint to imitate.")
    storage: str | None = setting(
        None,
        "Database URL of the study, such as sqlite:///FILE; SQLite in the run folder if left out.",
        compared=without_password,
    )
    seed: int = setting(0, "Of draws, initial weights and order.", ge=0, le=LARGEST_SEED)
    # What follows changes where and how fast a search runs.
    workers: int = setting(
        1,
        "Candidates at work at once; several share a GPU, or the cores.",
        ge=1,
        le=MOST_THREADS,
        free=True,
    )
    executor: Literal["local", "ray"] = setting(
        "local",
        "Processes of this machine, or of a Ray cluster (its address in RAY_ADDRESS).",
        free=True,
    )
    devices: tuple[str, ...] = setting(
        ("cpu",), "cpu or cuda:N; several are dealt to the workers.", flag="device", free=True
    )
    gpu_share: float = setting(1.0, "GPUs that each worker of Ray takes.", gt=0, free=True)
    memory_budget: float | None = setting(
        None,
        "GiB of memory for images and features; most of what is free if left out. What does not "
        "fit is mapped from the disk.",
        ge=0,
        free=True,
    )
    timeout: float | None = setting(None, "Seconds that a candidate may take.", gt=0, free=True)

    @field_validator("storage")
    @classmethod
    def _locate(cls, storage: str | None) -> str | None:
        """Refuse what is no URL; make the file of SQLite absolute."""
        if storage is None:
            return None
        if "://" not in storage:
            raise ValueError("is sqlite:///FILE or the URL of a server's database")
        if not storage.startswith("sqlite"):
            return storage
        file = storage.removeprefix(SQLITE)
        if file in ("", storage, ":memory:"):
            raise ValueError(f"{storage} names no file; write sqlite:///FILE")
        return f"{SQLITE}{Path(file).absolute()}"


class ContestSettings(Settings):
    """How search algorithms compete on a benchmark of the space."""

    command: ClassVar[str] = "space contest"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "First of all": ("algorithms", "trials", "seeds", "latency_tables", "processes"),
        "The search": ("objectives", "budgets", "encoders", "working_sizes", "workers"),
        "More": ("noise", "force"),
    }
    algorithms: tuple[Algorithm, ...] = setting(
        ("predictor", "ppo", "nsga2", "tpe", "random"), "Who competes.", flag="algorithm"
    )
    trials: tuple[Count, ...] = setting(
        (50, 150), "Trainings after which to measure; the largest ends a search."
    )
    seeds: int = setting(20, "Searches of each algorithm.", ge=1, le=1000)
    noise: float = setting(0.01, "Standard deviation of what chance adds to a score.", ge=0)
    latency_tables: tuple[Path, ...] = setting(
        (), "Table of a device: its latency is the cost.", flag="latency-table"
    )
    force: bool = setting(False, "Even if a latency table of this machine no longer fits it.")
    objectives: tuple[str, ...] = setting((), "As of nastool search.", flag="objective")
    budgets: tuple[str, ...] = setting((), "As of nastool search.", flag="budget")
    encoders: tuple[str, ...] = setting(
        (), "Of the space; all of the benchmark if left out.", flag="encoder"
    )
    working_sizes: tuple[Side, ...] = setting(
        (), "Of the space; all that the benchmark names if left out.", flag="working-size"
    )
    workers: int = setting(1, "Candidates at work at once in a search.", ge=1, le=MOST_THREADS)
    processes: int = setting(1, "Searches at once.", ge=1, le=MOST_THREADS)


class RankSettings(Settings):
    """How some candidates of a search are trained again, to see what its scores were worth."""

    command: ClassVar[str] = "rank"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "First of all": ("trials", "epochs", "images", "validation", "resume"),
        "More": ("size", "seed"),
    }
    trials: int = setting(
        12, "Candidates: half the best of the run, half at random.", ge=5, free=True
    )
    epochs: int = setting(5, "Passes of encoder and decoder together.", ge=1)
    images: int = setting(1000, "Images to train on, at most, of the part train.", ge=2)
    validation: int = setting(
        300,
        "Images to score on, at most, of the part val.",
        flag="score-images",
        formerly=("validation",),
        ge=8,
    )
    size: int | None = setting(
        None,
        "Pixels of whole faces, up to those of the deployed network; the search's if left out.",
        ge=32,
        le=LARGEST_SIDE,
    )
    seed: int = setting(0, "Of the draw.", ge=0, le=LARGEST_SEED)
