"""What the controller learns from, and with which probabilities."""

import math
from typing import get_args

import optuna
import pytest
import torch
from stand_in import evaluate
from test_study import CLASSES, settings_of

from toolchain.search.algorithms import ALGORITHMS
from toolchain.search.algorithms.controller import PolicyGradient, PolicySettings
from toolchain.search.algorithms.policy import LOG_PROBABILITY, lesson
from toolchain.search.database import storage_url
from toolchain.search.executors import InlineExecutor
from toolchain.search.study import Search
from toolchain.search.trial import TrialState
from toolchain.settings.search_settings import Algorithm


def run(path, capacity=1, evaluate=evaluate, **settings):
    path.mkdir(exist_ok=True)
    executor = InlineExecutor(evaluate)
    executor.capacity = capacity
    search = Search(settings_of(**{"algorithm": "ppo"} | settings), path, CLASSES)
    return search.run(executor), search


def stored(path):
    study = optuna.load_study(study_name="nastool", storage=storage_url(path, None))
    return study.get_trials(deepcopy=False)


def test_the_probability_is_that_of_the_policy_that_drew(tmp_path, monkeypatch):
    """With several workers a policy learns from what earlier policies have drawn."""
    told = []
    real = PolicyGradient.learn

    def learn(self, actions, reward, log_probability):
        told.append((actions, log_probability))
        real(self, actions, reward, log_probability)

    monkeypatch.setattr(PolicyGradient, "learn", learn)
    _, search = run(tmp_path, capacity=8, trials=40)
    trials = stored(tmp_path)
    noted = {t.number: t.system_attrs[LOG_PROBABILITY] for t in trials}
    uniform = -sum(math.log(options) for options in search.space.options.values())
    # A fresh policy is uniform, and nothing is learned before ten have ended.
    assert all(noted[number] == pytest.approx(uniform, abs=1e-4) for number in range(10))
    assert any(abs(p - uniform) > 0.01 for p in noted.values())
    draws = [([t.params[place] for place in search.space.options], noted[t.number]) for t in trials]
    assert all(pair in draws for pair in told)


def test_ppo_holds_the_new_policy_against_the_one_that_drew():
    """A ratio beyond the clip has no gradient: such a draw was learned from already."""
    settings = PolicySettings(batch=2, entropy=0.0, epochs=1, clip=0.2)

    def gradients(shift):
        policy = PolicyGradient([4, 4], settings)
        drawn = -2 * math.log(4) - shift
        policy.learn([0, 1], 1.0, drawn)
        # Its ratio is 1: it lowers the probability of a bad draw.
        policy.learn([2, 3], 0.0, -2 * math.log(4))
        return torch.stack([head.bias.grad for head in policy.controller.heads])

    fresh, far = gradients(0.0), gradients(math.log(3))
    # A falling loss raises the good draw: the gradient of its logit is negative.
    assert fresh[0, 0] < fresh[0, 1] < fresh[0, 2]
    # Three times as likely as when it was drawn: only the bad draw still teaches.
    assert far[0, 0] == pytest.approx(float(far[0, 1]), abs=1e-6)
    assert far[0, 2] > far[0, 1]


def test_a_batch_of_equal_rewards_does_not_blow_up_the_next():
    policy = PolicyGradient([4, 4])
    same = policy._advantages(torch.full((10,), -1.0))
    assert same.abs().max() == 0
    assert policy._advantages(torch.linspace(0.3, 0.6, 10)).abs().max() < 20


def test_draws_over_a_budget_teach_the_controller(tmp_path):
    trials, _ = run(tmp_path, trials=120, branches=2, cells=2, budgets=("flops<=0.12G",))
    over = [t.state is TrialState.INFEASIBLE for t in trials]
    first, last = over[:60], over[-60:]
    assert sum(first) > 10
    assert sum(last) < 0.6 * sum(first)


def test_what_a_trial_teaches():
    def trial(state=optuna.trial.TrialState.COMPLETE, value=None, excess=None, expected=None):
        made = optuna.trial.create_trial(
            state=state,
            value=value,
            intermediate_values={} if expected is None else {0: expected},
        )
        if excess is not None:
            made.set_constraint("budget", excess)
        return made

    pruned, failed = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
    assert lesson(trial(value=0.7, expected=0.5)) == 0.7
    assert lesson(trial(pruned, expected=0.5)) == 0.5
    assert lesson(trial(pruned, excess=0.25)) == -0.25
    assert lesson(trial(pruned, excess=30.0)) == -1.0
    assert lesson(trial(failed)) is None


def test_a_settled_policy_still_finds_new_candidates(tmp_path):
    """Draws that are known already make the next ones more even, and cost no trial."""
    trials, _ = run(tmp_path, trials=80, branches=1, cells=1, objectives=())
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    assert len(complete) == len({t.computes for t in complete}) == 80


def test_nobody_draws_with_anothers_chance():
    first, second = PolicyGradient([5, 5, 5], seed=0), PolicyGradient([5, 5, 5], seed=1)
    assert [first.draw(n) for n in range(9)] == [first.draw(n) for n in range(9)]
    assert [first.draw(n)[0] for n in range(9)] != [second.draw(n)[0] for n in range(9)]
    assert first.draw(3, temperature=50.0)[1] == pytest.approx(-3 * math.log(5), abs=1e-4)


def test_every_algorithm_can_be_asked_for():
    assert set(get_args(Algorithm)) == set(ALGORITHMS)
