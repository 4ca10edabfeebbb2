"""The genotype: an architecture as data.

Source of the encoding: Nekrasov et al., "Fast Neural Architecture Search of Compact Semantic
Segmentation Models via Auxiliary Cells", CVPR 2019, section 3; applied to faces by Lyu et al.,
IEEE Trans. Cybernetics 53(2), 2023.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from export.system.errors import DataError, UsageError
from export.system.files import parse_json, read_json

OPERATIONS = (
    "conv1x1",
    "conv3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "global_average_pool",
    "conv3x3_dil3",
    "conv3x3_dil12",
    "sep_conv_3x3_dil3",
    "sep_conv_5x5_dil6",
    "skip_connect",
    "none",
)
SKIP, NONE = OPERATIONS.index("skip_connect"), OPERATIONS.index("none")
TAPS = 4
MOST = 16
"""Branches of a context cell, or merge cells."""


class Entry(NamedTuple):
    """Two operations of a context cell and the nodes they read; their results are added."""

    first_input: int
    second_input: int
    first_operation: int
    second_operation: int


class Connection(NamedTuple):
    """A merge cell: the positions in the pool of the two feature maps that it merges."""

    first: int
    second: int


class Choice(NamedTuple):
    """One decision of the search space: ``place`` has the values 0 .. ``options - 1``."""

    place: str
    options: int


def choices(branches: int, cells: int) -> list[Choice]:
    """List the decisions that make a genotype, in the order of its text.

    Entry k of a context cell may read nodes 0 .. 3k-2; connection j (from 0) the pool's maps
    0 .. 3+j.

    Args:
        branches: 1 + the number of entries of the context cell.
        cells: number of merge cells (connections).
    """
    result = [Choice("operation 0", len(OPERATIONS))]
    for k in range(1, branches):
        result += [Choice(f"entry {k}, {which} input", 3 * k - 1) for which in ("first", "second")]
        result += [
            Choice(f"entry {k}, {which} operation", len(OPERATIONS))
            for which in ("first", "second")
        ]
    for j in range(cells):
        result += [
            Choice(f"connection {j + 1}, {which} map", TAPS + j) for which in ("first", "second")
        ]
    return result


@dataclass(frozen=True)
class Genotype:
    """A context cell and the connections of the decoder's merge cells.

    Attributes:
        operation: id of the operation that makes node 1 of the context cell from its input.
        entries: entry k = 1, 2, ... adds nodes 3k-1, 3k (the operations) and 3k+1 (their sum).
        connections: the merge cells; the pool they read starts as the four encoder taps.

    Raises:
        UsageError: a value is outside its range; the message names its place.
    """

    operation: int
    entries: tuple[Entry, ...]
    connections: tuple[Connection, ...]

    def __post_init__(self) -> None:
        if not self.connections:
            raise UsageError("a genotype needs at least one connection, such as [0, 1]")
        if max(self.branches, self.cells) > MOST:
            raise UsageError(f"a genotype has at most {MOST} branches and {MOST} connections")
        for value, (place, options) in zip(
            self.values, choices(self.branches, self.cells), strict=True
        ):
            if not 0 <= value < options:
                raise UsageError(f"genotype: {place}: {value} is not one of 0..{options - 1}")

    @property
    def branches(self) -> int:
        """Number of branches of the context cell: 1 + the number of entries."""
        return 1 + len(self.entries)

    @property
    def cells(self) -> int:
        """Number of merge cells."""
        return len(self.connections)

    @property
    def values(self) -> list[int]:
        """The decisions as a flat list, in the order of `choices`."""
        pairs = (*self.entries, *self.connections)
        return [self.operation, *(value for pair in pairs for value in pair)]

    @classmethod
    def from_values(cls, values: list[int], branches: int, cells: int) -> Self:
        """Make a genotype of a flat list of decisions, in the order of `choices`."""
        start = 1 + 4 * (branches - 1)
        return cls(
            values[0],
            tuple(Entry(*values[i : i + 4]) for i in range(1, start, 4)),
            tuple(Connection(*values[i : i + 2]) for i in range(start, start + 2 * cells, 2)),
        )

    @classmethod
    def sample(cls, generator: random.Random, branches: int = 3, cells: int = 3) -> Self:
        """Draw every decision uniformly."""
        values = [generator.randrange(options) for _, options in choices(branches, cells)]
        return cls.from_values(values, branches, cells)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the published text, the loose form of notes, or a ``.json`` file.

        The three forms of one genotype: ``[[8, [1, 1, 1, 10]], [[0, 1], [2, 0]]]``;
        ``8 [1,1,1,10] [0,1] [2,0]``; a file holding the first form, as a list, as a string, or as
        the value of ``"genotype"``.

        Raises:
            UsageError: the text is not a genotype; the message names the place.
            DataError: the file cannot be read, or holds none.
        """
        if text.strip().endswith(".json"):
            return cls._read(Path(text.strip()))
        try:
            # The loose form is the published one without the outer brackets and commas.
            values = parse_json(text)
        except ValueError:
            loose = re.sub(r"([\d\]])\s+(?=[\d\[])", r"\1, ", text.strip())
            try:
                values = parse_json(f"[{loose}]")
            except ValueError:
                raise UsageError(
                    f"{shortened(repr(text))} is not a genotype; write it like "
                    "'[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]'"
                ) from None
        return cls._from_lists(values)

    @classmethod
    def _read(cls, path: Path) -> Self:
        document = read_json(path)
        if isinstance(document, dict):
            document = document.get("genotype")
        try:
            if isinstance(document, str) and not document.strip().endswith(".json"):
                return cls.parse(document)
            return cls._from_lists(document)
        except UsageError as error:
            raise DataError(path, str(error)) from None

    @classmethod
    def _from_lists(cls, values: Any) -> Self:
        if (
            isinstance(values, list)
            and len(values) == 2
            and all(isinstance(part, list) for part in values)
        ):
            values = [*values[0], *values[1]]
        if not isinstance(values, list) or not values or not _is_integer(values[0]):
            raise UsageError("a genotype starts with the number of its first operation (0..10)")
        lists = values[1:]
        for position, item in enumerate(lists, 1):
            if not (isinstance(item, list) and len(item) in (2, 4) and all(map(_is_integer, item))):
                raise UsageError(
                    f"genotype: item {position} after the first operation is "
                    f"{shortened(str(item))}; it must be [input, input, operation, operation] or "
                    "[map, map]"
                )
        sizes = [len(item) for item in lists]
        if sizes != sorted(sizes, reverse=True):
            raise UsageError("genotype: the entries (4 numbers) come before the connections (2)")
        return cls(
            values[0],
            tuple(Entry(*item) for item in lists if len(item) == 4),
            tuple(Connection(*item) for item in lists if len(item) == 2),
        )

    def __str__(self) -> str:
        """Return the published text; `parse` reads it back."""
        cell = [self.operation, *map(list, self.entries)]
        return json.dumps([cell, list(map(list, self.connections))])


def shortened(text: str, length: int = 120) -> str:
    """Return a text, or as much of its beginning as a message has room for."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
