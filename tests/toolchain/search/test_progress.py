"""What those who watch a search are told."""

import logging
import sys

import pytest
from stand_in import evaluate
from test_study import CLASSES, settings_of

from export.system.errors import UnavailableError
from toolchain.search import progress
from toolchain.search.executors import InlineExecutor
from toolchain.search.progress import Progress
from toolchain.search.study import Search
from toolchain.search.trial import Trial, TrialState


def trial(number, state, score=None, latency=20.0, **more):
    """Make a trial of a network of 2 M parameters and 3 GFLOPs, whose reward is its score."""
    text = f"genotype {number}"
    costs = {"parameters": 2_000_000, "flops": 3_000_000_000, "latency_ms": {"t": latency}}
    scored = {"score": score, "reward": score}
    return Trial(number, text, text, "e", TrialState(state), **scored, **costs, **more)


TRIALS = [
    trial(0, "complete", 0.5),
    trial(1, "infeasible", reason="too large"),
    trial(2, "complete", 0.4, latency=12.34),
    trial(3, "reused", 0.4, latency=12.34),
    trial(4, "failed", reason="not finite: the loss", failure="not finite"),
    trial(5, "pruned", stage0_score=0.3, reason="beaten at its cost"),
]


@pytest.fixture
def clock(monkeypatch):
    """Time passes by steps of 10 s, one each time that somebody looks."""
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(ticks)))


def watch(report, records, new):
    for each in new:
        records.append(each)
        report(each)


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_line_for_each_candidate_that_was_trained(clock, caplog):
    caplog.set_level(logging.INFO)
    records = []
    watch(Progress(records, 10), records, TRIALS)
    assert lines(caplog) == [
        "score 0.500  reward 0.500  2.00 M  3.00 GFLOPs  20.0 ms  | "
        "1/10  best 0.500  front 1  stopped 0  failed 0  over budget 0  reused 0  "
        "10.0 s each, 90 s left",
        "score 0.400  reward 0.400  2.00 M  3.00 GFLOPs  12.3 ms  | "
        "2/10  best 0.500  front 2  stopped 0  failed 0  over budget 1  reused 0  "
        "10.0 s each, 80 s left",
        "failed: not finite: the loss  | "
        "3/10  best 0.500  front 2  stopped 0  failed 1  over budget 1  reused 1  "
        "10.0 s each, 70 s left",
        "stopped: beaten at its cost  | "
        "4/10  best 0.500  front 2  stopped 1  failed 1  over budget 1  reused 1  "
        "10.0 s each, 60 s left",
    ]


@pytest.mark.parametrize(("seconds", "left"), [(300.0, "5 min"), (99_999.0, "16 min"), (-9, "0 s")])
def test_the_time_left_is_that_of_a_limit_where_it_comes_first(clock, caplog, seconds, left):
    caplog.set_level(logging.INFO)
    records = []
    watch(Progress(records, 100, seconds_left=lambda: seconds), records, TRIALS[:1])
    assert lines(caplog)[0].endswith(f", {left} left")


def test_a_resumed_search_counts_what_there_was_but_not_its_time(clock, caplog):
    caplog.set_level(logging.INFO)
    records = []
    report = Progress(records, 1000)
    records += TRIALS[:4]  # read from the study after the progress was made
    watch(report, records, TRIALS[4:])
    first, second = (line.split("  | ")[1] for line in lines(caplog))
    assert first.startswith("3/1000  best 0.500  front 2  stopped 0  failed 1  over budget 1")
    assert first.endswith("10.0 s each, 2.8 h left")
    assert second.endswith("10.0 s each, 2.8 h left")


def test_a_search_reports_as_progress_expects(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for trials in (7, 12):
        chosen = settings_of(trials=trials)
        search = Search(chosen, tmp_path, CLASSES)
        search.run(InlineExecutor(evaluate), Progress(search.trials, trials))
    counted = [line.split("  | ")[1].split()[0] for line in lines(caplog)]
    assert counted == [f"{n}/7" for n in range(1, 8)] + [f"{n}/12" for n in range(8, 13)]


def test_curves_are_read_back(clock, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = []
    report = Progress(records, 10, tmp_path)
    watch(report, records, TRIALS)
    report.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    curves = {
        name: [(event.step, round(event.value, 4)) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    steps = range(len(TRIALS))
    assert curves["score"] == [(t.id, t.score) for t in TRIALS if t.score is not None]
    assert curves["reward"] == curves["score"]
    assert curves["best reward"] == [(step, 0.5) for step in steps]
    assert curves["front size"] == list(zip(steps, [1, 1, 2, 2, 2, 2], strict=True))
    assert curves["infeasible"] == list(zip(steps, [0, 1, 1, 1, 1, 1], strict=True))
    assert curves["pruned"] == list(zip(steps, [0, 0, 0, 0, 0, 1], strict=True))
    assert curves["reused"] == list(zip(steps, [0, 0, 0, 1, 1, 1], strict=True))
    assert curves["failed"] == list(zip(steps, [0, 0, 0, 0, 1, 1], strict=True))
    assert curves["flops"] == [(step, 3e9) for step in steps]
    assert curves["latency_ms/t"] == list(zip(steps, [20, 20, 12.34, 12.34, 20, 20], strict=True))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UnavailableError, match=r"pip install 'nastool\[tensorboard\]'"):
        Progress([], 10, tmp_path)
