"""Where candidates are judged: in this process, in others of this machine, on a Ray cluster."""

from toolchain.search.executors.base import Executor, InlineExecutor

__all__ = ["Executor", "InlineExecutor"]
