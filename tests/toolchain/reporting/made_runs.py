"""Runs that were made up, for figures and tables."""

from pathlib import Path

from toolchain.search.run import Run, finalists


def made_run(name, trials, document=None, rescored=None, ranking=None):
    """Make a run of trials; ``rescored`` has what longer trainings of some of them gave."""
    trials = list(trials)
    ends = finalists(trials, rescored or {})
    return Run(Path(name), {} if document is None else document, trials, ends, ranking)
