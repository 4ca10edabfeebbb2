"""Kinds of datasets by name, and how one is opened."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from export.system.errors import DataError, UsageError
from toolchain.datasets.base import FaceDataset, Split
from toolchain.datasets.synthetic import SyntheticFaces
from toolchain.settings.base import data_problem

log = logging.getLogger(__name__)


class Reader(Protocol):
    """A dataset class that `register` accepts."""

    layout: str
    """The layout in a few words, for messages."""

    @staticmethod
    def recognises(root: Path) -> bool:
        """Tell by a quick look whether ``root`` has this layout."""

    def __call__(self, root: Path, split: Split | None) -> FaceDataset:
        """Open ``root``; raise DataError if it cannot be used."""


AnyReader = TypeVar("AnyReader", bound=Reader)
_readers: dict[str, Reader] = {}
_looked_at: set[Path] = set()
"""Folders whose doubts have been said: commands open the same one several times."""


def register(kind: str) -> Callable[[AnyReader], AnyReader]:
    """Make the decorated dataset class known as ``kind``."""

    def add(reader: AnyReader) -> AnyReader:
        if kind in _readers:
            raise ValueError(f"dataset kind {kind!r} is registered twice")
        _readers[kind] = reader
        return reader

    return add


def kinds() -> tuple[str, ...]:
    """Return the names of the kinds of datasets that are read from a folder."""
    return tuple(_readers)


def recognised(root: Path) -> str | None:
    """Return the kind of the dataset in a folder, by its layout; None: of none that is known."""
    return next((name for name, reader in _readers.items() if reader.recognises(root)), None)


def readers() -> Mapping[str, Reader]:
    """Return what opens each of the `kinds`."""
    return _readers


def open_dataset(spec: str, split: Split | None = None, kind: str | None = None) -> FaceDataset:
    """Open a dataset.

    Args:
        spec: a folder, or ``synthetic:COUNT[:SEED]`` for drawn faces.
        split: the part wanted; None is everything. A source without parts (see
            `FaceDataset.splits`) is returned whole whatever the split.
        kind: one of `kinds`; None recognises it from the layout.

    Raises:
        UsageError: the kind is unknown or a synthetic spec is malformed.
        DataError: the folder is missing, of no known layout, or cannot be used.
    """
    if spec.startswith("synthetic:"):
        return SyntheticFaces.parse(spec)
    if kind is not None and kind not in _readers:
        raise UsageError(f"unknown dataset kind {kind!r}; known: {', '.join(_readers)}")
    root = Path(spec)
    if problem := data_problem(spec):
        raise DataError(root, problem)
    if kind is None:
        kind = recognised(root)
    if kind is None:
        known = "; ".join(f"{name}: {reader.layout}" for name, reader in _readers.items())
        raise DataError(root, f"has no layout that is known ({known})")
    dataset = _readers[kind](root, split)
    if root.absolute() not in _looked_at:
        _looked_at.add(root.absolute())
        for doubt in dataset.doubts():
            log.warning("%s", doubt)
    return dataset
