"""Every error that a user can cause or meet, in one tree.

::

    NastoolError
    ├── UsageError          2  a flag or an argument is wrong
    ├── DataError           2  a file is missing, broken or does not fit; names the file
    ├── UnavailableError    3  a runtime, device or package is missing; names it and the fix
    │   └── BrokenError     3  it is there and does not work
    └── GateError           1  a result exists but fails its floor

The number is the exit code of the command line. A message is one line: what is wrong, where,
and what to do about it.
"""

from pathlib import Path


class NastoolError(Exception):
    """Base of all errors with a message meant for users."""

    exit_code = 2


class UsageError(NastoolError):
    """A flag, an argument or a combination of them is wrong."""


class DataError(NastoolError):
    """A file or folder cannot be used: missing, unreadable, or not what it should be."""

    def __init__(self, path: str | Path, problem: str):
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = Path(path), problem


class UnavailableError(NastoolError):
    """A runtime, a device or an optional package is missing on this machine."""

    exit_code = 3


class BrokenError(UnavailableError):
    """A runtime or a device that is there does not work."""


class GateError(NastoolError):
    """A measured result is below the floor that was asked for."""

    exit_code = 1


_MEMORY = "there is too little memory; take smaller images or batches, or end other programs"
# Words of errors that have no type of their own: of torch and its allocators, of CUDA, of threads.
_REFUSALS = {
    "allocate memory": _MEMORY,
    "out of memory": _MEMORY,
    "ALLOC_FAILED": _MEMORY,
    "Insufficient memory": _MEMORY,
    "DataLoader worker (pid": "a process that prepared images was ended, perhaps for want of "
    "memory; lower --workers",
    "No usable temporary directory": "there is no folder for temporary files; make room in one, or "
    "let TMPDIR name another",
    # Where a container has no /proc and /sys.
    "initialize cpuinfo": "the processor cannot be read; mount /proc and /sys here",
    "start new thread": "no more threads may be started; end other programs, or raise ulimit -u",
}


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error of whatever type says that there is too little memory."""
    return refusal(error) == _MEMORY


def refusal(error: Exception) -> str | None:
    """Return in a line what the machine refused, and the remedy; None: the error is another."""
    if isinstance(error, MemoryError):
        return _MEMORY
    return next((line for words, line in _REFUSALS.items() if words in str(error)), None)
