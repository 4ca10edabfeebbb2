import random
from collections.abc import Callable, Sequence

import pytest
from made_runs import made_run

from toolchain.genotype import Genotype
from toolchain.graph import canonical
from toolchain.reporting.series import Series
from toolchain.search.trial import Trial, TrialState


def trial(number: int, generator: random.Random, tables: Sequence[str] = ()) -> Trial:
    genotype = Genotype.sample(generator)
    state = generator.choice([TrialState.COMPLETE] * 6 + list(TrialState))
    scored = state in (TrialState.COMPLETE, TrialState.REUSED)
    score = generator.uniform(0.1, 0.8) if scored else None
    trained = state is TrialState.COMPLETE
    stopped = state is TrialState.PRUNED
    seconds = generator.uniform(5, 20)
    return Trial(
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
        phases={"stage0": seconds / 2, "stage1": seconds / 4, "scoring": 0.1} if trained else {},
        stage0_score=0.9 * score if trained else 0.1 if stopped else None,
        failure="out of memory" if state is TrialState.FAILED else None,
        reason=None if scored else "for some reason",
    )


@pytest.fixture
def make_series() -> Callable[..., Series]:
    def make(
        name: str, count: int = 60, tables: Sequence[str] = (), position: int = 0, seed: int = 0
    ) -> Series:
        generator = random.Random(seed)
        trials = [trial(number, generator, tables) for number in range(count)]
        document = {
            "algorithm": "ppo",
            "seed": seed,
            "reward": {"floor": 0.25, "parts": ["a"]},
        }
        return Series(name, made_run(name, trials, document), position)

    return make
