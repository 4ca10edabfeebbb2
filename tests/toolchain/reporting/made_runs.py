"""Runs that were made up, for figures and tables."""

from pathlib import Path

from toolchain.search.run import Run, finalists


def made_run(name, trials, document=None, rescored=None, ranking=None):
    """Make a run of trials; ``rescored`` has what longer trainings of some of them gave."""
    trials = list(trials)
    rescored = {number: {"seconds": 1.0} | known for number, known in (rescored or {}).items()}
    ends = finalists(trials, rescored, [trial for trial in trials if trial.id in rescored])
    return Run(Path(name), {} if document is None else document, trials, ends, ranking)
