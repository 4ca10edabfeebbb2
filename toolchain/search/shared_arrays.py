"""Arrays that the workers of one machine share: files, in memory where they fit.

A file on the machine's memory disk is memory that any process can map; one in the run's folder is
read from the disk as needed. Whoever maps them sees no difference.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.machine.environment import free_memory
from export.system.errors import DataError, UsageError
from export.system.files import only_one

Array = npt.NDArray[Any]
MEMORY_DISK = Path("/dev/shm")
MEMORY_SHARE = 0.8
CACHE = "cache"
_PREFIX = "nastool-"


class SharedArrays:
    """A folder of arrays; a context manager that removes it.

    Args:
        folder: exists, and is empty or holds the arrays of an earlier one.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __enter__(self) -> "SharedArrays":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def new(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """Make an array to be filled.

        Raises:
            DataError: there is no room for it, which a write into it could not tell.
        """
        path = self.folder / f"{name}.npy"
        try:
            array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
            if hasattr(os, "posix_fallocate"):  # not everywhere
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise DataError(path, f"cannot be written ({error.strerror}); make room") from None
        return array

    def load(self) -> dict[str, Array]:
        """Map all arrays, by name; what is written into them stays in this process."""
        paths = sorted(self.folder.glob("*.npy"))
        return {path.stem: np.load(path, mmap_mode="c") for path in paths}


class _InMemory(SharedArrays):
    """Arrays in memory, which later searches remove unless somebody uses it."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._use = ExitStack()
        self._use.enter_context(only_one(folder))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._use.close()


def place_arrays(needed: int, run: Path, budget: int | None = None) -> SharedArrays:
    """Find room for arrays in memory, or in the run's folder where it does not fit.

    Args:
        needed: bytes of all arrays.
        run: the run's folder.
        budget: bytes of memory that may be taken; None: most of what is free.

    Raises:
        UsageError: not even the disk has room.
    """
    _remove_leftovers()
    free = free_memory()
    limit = MEMORY_SHARE * free if budget is None else min(budget, free)
    if MEMORY_DISK.is_dir() and needed <= min(limit, _room(MEMORY_DISK)):
        return _InMemory(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY_DISK)))
    folder = run / CACHE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if needed > (room := _room(folder)):
        folder.rmdir()
        raise UsageError(
            f"the search's images and features need {needed / 2**30:.1f} GiB, {folder} has room "
            f"for {room / 2**30:.1f} GiB; lower --images or --search-size"
        )
    return SharedArrays(folder)


def _room(folder: Path) -> float:
    return MEMORY_SHARE * shutil.disk_usage(folder).free


def _remove_leftovers() -> None:
    """Free the memory that killed searches have left behind."""
    for folder in MEMORY_DISK.glob(f"{_PREFIX}*"):
        # Not by the number of its process, which other containers would not see.
        with suppress(UsageError, DataError), only_one(folder):
            shutil.rmtree(folder, ignore_errors=True)
