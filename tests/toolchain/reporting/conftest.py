import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.reporting.series import Series
from toolchain.search.run import Run, TrialRecord, TrialState


def trial(number: int, generator: random.Random, tables: Sequence[str] = ()) -> TrialRecord:
    genotype = Genotype.sample(generator)
    state = generator.choice([TrialState.COMPLETE] * 6 + list(TrialState))
    scored = state in (TrialState.COMPLETE, TrialState.REUSED)
    score = generator.uniform(0.1, 0.8) if scored else None
    trained = state is TrialState.COMPLETE
    seconds = generator.uniform(5, 20)
    stopped = trained and number % 5 == 4
    return TrialRecord(
        id=number,
        genotype=str(genotype),
        canonical=canonical(genotype),
        encoder=generator.choice(["mobilenetv2", "ghostnet-0.25"]),
        state=state,
        score=score,
        reward=score and score * 0.9,
        parameters=generator.randrange(200_000, 900_000),
        flops=generator.randrange(10**9, 10**10),
        latency_ms={table: generator.uniform(5, 60) for table in tables},
        seconds=seconds,
        split={"stage0": seconds / 2, "stage1": seconds / 4, "validation": 0.1} if trained else {},
        stage0_score=score and (score if stopped else 0.9 * score) if trained else None,
        stopped=stopped,
        failure=None if scored else "out of memory",
        reason=None if scored else "out of memory: no room",
    )


@pytest.fixture
def make_series() -> Callable[..., Series]:
    def make(
        name: str, count: int = 60, tables: Sequence[str] = (), position: int = 0, seed: int = 0
    ) -> Series:
        generator = random.Random(seed)
        trials = [trial(number, generator, tables) for number in range(count)]
        configuration = {
            "algorithm": "ppo",
            "seed": seed,
            "reward": {"floor": 0.25, "parts": ["a"]},
        }
        return Series(name, Run(Path(name), configuration, trials), position)

    return make
