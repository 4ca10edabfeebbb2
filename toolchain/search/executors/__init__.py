"""Where candidates are evaluated: in this process, in others of this machine, on a Ray cluster."""

from toolchain.search.executors.base import CandidateResult, Executor, InlineExecutor

__all__ = ["CandidateResult", "Executor", "InlineExecutor"]
