"""Which switches of a training help: an orthogonal plan of trainings, and main effects.

Every row of the plan sets every switch to one of its two values, so that all trainings tell of all
switches, and each switch is at either value as often as not for both values of any other
(Plackett & Burman, 1946; the columns of a Hadamard matrix). A main effect is the difference of the
mean results at the two values. Where switches work together or against each other, main effects mix
with those interactions: more rows than switches leave room for them in the error.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.stats import t as student

from export.system.console import duration
from export.system.errors import UsageError
from export.system.files import only_one, write_json
from toolchain.settings.training_settings import PLAN, TrainingSettings
from toolchain.training.start import CHOSEN_BY, Start

log = logging.getLogger(__name__)
FEWEST_ROWS = 8
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Switch:
    """A setting with two values.

    Attributes:
        setting: a field of `TrainingSettings`.
        low: its usual value.
        high: its other one.
    """

    setting: str
    low: Any
    high: Any

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"{TrainingSettings.flag(self.setting)}={self.low},{self.high}"

    @classmethod
    def parse(cls, text: str) -> "Switch":
        """Read ``flag=low,high``, the flag without its dashes.

        Raises:
            UsageError: it is something else, or there is no such setting.
        """
        name, _, values = text.partition("=")
        both = values.split(",")
        flags = {
            flag: field
            for field in TrainingSettings.model_fields
            for flag in (
                TrainingSettings.flag(field),
                *(TrainingSettings.attribute(field, "formerly") or ()),
            )
        }
        if len(both) != 2:
            raise UsageError(f"--switch {text} is not FLAG=VALUE,VALUE: dice-weight=0,1")
        if (flag := name.removeprefix("--")) not in flags:
            raise UsageError(f"--switch {text}: nastool train has no flag --{flag}")
        if flags[flag] == "seed":
            raise UsageError(f"--switch {text}: every row has every seed; give --seeds")
        return cls(flags[flag], *both)


@dataclass(frozen=True)
class Effect:
    """What one switch does to a result.

    Attributes:
        setting: the switch's.
        low: one value.
        high: the other.
        effect: mean result at ``high`` less that at ``low``.
        within: half the width of its 95 % interval; None: too few trainings to tell.
    """

    setting: str
    low: Any
    high: Any
    effect: float
    within: float | None


def plan(switches: int) -> NDArray[np.int64]:
    """Return an orthogonal plan, [rows, switches], 0 and 1; at least `FEWEST_ROWS` rows.

    The first row has every switch at 0.
    """
    rows = FEWEST_ROWS
    while rows <= switches:
        rows *= 2
    # The first column is of ones, and so is the first row.
    return np.asarray((1 - hadamard(rows)[:, 1 : switches + 1]) // 2)


def main_effects(
    switches: Sequence[Switch], settings: NDArray[np.int64], results: NDArray[np.float64]
) -> list[Effect]:
    """Return the effect of each switch.

    Args:
        switches: of the plan.
        settings: the plan, [rows, switches].
        results: [rows, seeds].
    """
    rows, seeds = results.shape
    centred = results - results.mean(0)  # what a seed does to all rows is no error
    signs = 2.0 * settings - 1
    effects = 2 * (signs.T @ centred.mean(1)) / rows
    residues = centred - (signs @ effects / 2)[:, None]
    freedom = rows * seeds - seeds - len(switches)
    within = None
    if freedom > 0:
        deviation = np.sqrt((residues**2).sum() / freedom)
        within = float(
            student.ppf((1 + CONFIDENCE) / 2, freedom) * 2 * deviation / np.sqrt(rows * seeds)
        )
    return [
        Effect(switch.setting, switch.low, switch.high, float(effect), within)
        for switch, effect in zip(switches, effects, strict=True)
    ]


def ablate(
    settings: Mapping[str, Any],
    switches: Sequence[Switch],
    output: Path,
    *,
    seeds: int,
    framing: Sequence[float],
    resume: bool,
) -> dict[str, Any]:
    """Train the plan, each row with every seed, and say what each switch does.

    Each training is in a folder of its own in ``output``; ``ablation.json`` holds what is returned.
    Results are mean F1 on the images by which the best epoch is chosen, of faces that fill the
    frame, and at each scale of ``framing``.

    Args:
        settings: of all trainings, but for the switches; the ``seed`` is the first one.
        switches: at least one.
        output: folder to fill.
        seeds: trainings of each row.
        framing: see `toolchain.training.evaluation.evaluate`.
        resume: go on with what is there.

    Raises:
        UsageError: there is no switch, one is named twice, a value is out of bounds, or the weights
            or the teacher were trained on images that results are of.
        NastoolError: see `toolchain.training.trainer.train`.
    """
    from toolchain.training.evaluation import evaluate
    from toolchain.training.trainer import claim, train

    names = [switch.setting for switch in switches]
    if not names or len(set(names)) < len(names):
        raise UsageError("give each --switch once, and one at least: --switch dice-weight=0,1")
    rows = plan(len(switches))
    first = settings.get("seed", TrainingSettings.model_fields["seed"].default)
    trainings = {
        (row, seed): (
            _of_row(settings, switches, rows[row], first + seed),
            output / f"row-{row}-seed-{first + seed}",
        )
        for row, seed in product(range(len(rows)), range(seeds))
    }
    for switch in switches:
        if len({str(getattr(training, switch.setting)) for training, _ in trainings.values()}) < 2:
            raise UsageError(f"--switch {switch}: both values are the same")
    for training, folder in trainings.values():
        claim(training, folder, resume)
    start = Start.of(next(iter(trainings.values()))[0])
    known = start.inherited.count(start.choosing) if start.inherited else 0
    if known:
        raise UsageError(
            f"--weights and --teacher know {known} of the {len(start.choosing)} images that "
            "results are of, which would flatter them all alike; start from weights that do not"
        )

    with only_one(output):
        begun = {
            "settings": TrainingSettings.of(**settings).model_dump(mode="json"),
            "switches": [str(switch) for switch in switches],
            "seeds": seeds,
            "framing": list(framing),
        }
        write_json(output / PLAN, begun)
        found: list[dict[str, Any]] = []
        began = time.monotonic()
        for number, ((row, seed), (training, folder)) in enumerate(trainings.items()):
            left = (time.monotonic() - began) / max(1, number) * (len(trainings) - number)
            log.info(
                "training %d of %d, of %d epochs each%s",
                *(number + 1, len(trainings), training.epochs),
                f", {duration(left)} left" if number else "",
            )
            result = train(training, folder, resume)
            scores = {"1": result.metrics["mean_f1"]}
            if framing:
                framed = evaluate(
                    result.checkpoint, training.data, training.dataset, CHOSEN_BY, framing=framing
                )["framing"]
                scores |= {f"{one['scale']:g}": one["mean_f1"] for one in framed}
            values = {name: getattr(training, name) for name in names}
            found.append({"row": row, "seed": first + seed, "settings": values, "mean_f1": scores})
        document = {"trainings": found, "effects": _effects(switches, rows, found, seeds)}
        write_json(output / "ablation.json", document)
    return document


def _of_row(
    settings: Mapping[str, Any], switches: Sequence[Switch], row: Iterable[int], seed: int
) -> TrainingSettings:
    chosen = {s.setting: s.high if high else s.low for s, high in zip(switches, row, strict=True)}
    return TrainingSettings.of(**{**settings, **chosen, "seed": seed})


def _effects(
    switches: Sequence[Switch], rows: NDArray[np.int64], found: list[dict[str, Any]], seeds: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the effects on each result, by its scale."""
    return {
        scale: [
            asdict(effect)
            for effect in main_effects(
                switches,
                rows,
                np.reshape([one["mean_f1"][scale] for one in found], (len(rows), seeds)),
            )
        ]
        for scale in found[0]["mean_f1"]
    }
