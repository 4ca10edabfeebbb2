"""Label sets: what the numbers in a mask mean, and which of them a mirror exchanges."""

import re
from colorsys import hsv_to_rgb
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from export.system.errors import DataError
from export.system.files import read_json, validated

Colour = tuple[int, int, int]
IGNORED = 255
"""The label of pixels that do not count, in no set a class."""

# "left" anywhere, "l" as a word of its own: left_eye, eyeLeft, l_eye, eye-l.
_LEFT = re.compile(r"left|(?<![a-z])l(?![a-z])")
_RIGHT_OF = {"left": "right", "l": "r"}


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset; a class's place in ``classes`` is its label.

    Attributes:
        name: the name of the set.
        classes: class names; label 0 is the background.
        palette: one RGB colour (0..255) per class.
        swaps: pairs of labels that change places when an image is mirrored.
        groups: for metrics, names of regions and the labels that are merged in each.
        ignored: what masks have in place of `IGNORED`.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    swaps: tuple[tuple[int, int], ...] = ()
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignored: int = IGNORED

    def __post_init__(self) -> None:
        count = len(self.classes)
        if not 2 <= count <= IGNORED or len(set(self.classes)) != count:
            raise ValueError("classes must be 2 to 255 different names")
        if len(self.palette) != count:
            raise ValueError(f"palette has {len(self.palette)} colours for {count} classes")
        if any(
            len(colour) != 3 or not all(0 <= c <= 255 for c in colour) for colour in self.palette
        ):
            raise ValueError("each colour of the palette must be three numbers from 0 to 255")
        swapped = [label for pair in self.swaps for label in pair]
        if any(len(pair) != 2 for pair in self.swaps) or len(set(swapped)) != len(swapped):
            raise ValueError("swaps must be pairs, with no label in two of them")
        used = swapped + [label for labels in self.groups.values() for label in labels]
        if any(not 0 <= label < count for label in used):
            raise ValueError(f"swaps and groups must name labels from 0 to {count - 1}")
        if not count <= self.ignored <= IGNORED:
            raise ValueError(f"ignored must be a number from {count} to {IGNORED}, no class's")

    @property
    def unswapped(self) -> tuple[tuple[int, int], ...]:
        """Pairs of labels whose names differ in left and right alone, and that no swap names.

        A mirror would teach the one as the other.
        """
        swapped = {label for pair in self.swaps for label in pair}
        places = {name.lower(): label for label, name in enumerate(self.classes)}
        found = []
        for name, left in places.items():
            right = places.get(_LEFT.sub(lambda match: _RIGHT_OF[match[0]], name))
            if right not in (None, left) and not {left, right} <= swapped:
                found.append((left, right))
        return tuple(found)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The label that each label becomes when the image is mirrored."""
        table = list(range(len(self.classes)))
        for left, right in self.swaps:
            table[left], table[right] = right, left
        return tuple(table)


class LabelFile(BaseModel):
    """What ``labels.json`` holds; see `LabelSet`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    classes: list[str]
    palette: list[Annotated[list[int], Field(min_length=3, max_length=3)]] | None = None
    swaps: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    groups: dict[str, list[int]] = {}
    ignored: int = IGNORED


def read_label_set(path: Path) -> LabelSet:
    """Read a label set from JSON, whose fields are those of `LabelSet`.

    ``palette``, ``swaps``, ``groups`` and ``ignored`` may be left out; ``swaps`` only where no
    names differ in left and right alone, or mirrored images would teach the one as the other
    (``"swaps": []`` says that they do not). Example::

        {"name": "portrait", "classes": ["background", "person"],
         "palette": [[0, 0, 0], [0, 160, 255]], "swaps": [], "groups": {"person": [1]}}

    Raises:
        DataError: the file cannot be read or does not describe a label set.
    """
    if path.exists() and not path.is_file():  # nobody may ever write to a pipe
        raise DataError(path, "is not a file; remove it, or bring back the one that was there")
    found = validated(LabelFile, read_json(path), path, "nastool faces writes an example")
    palette = _wheel(len(found.classes)) if found.palette is None else found.palette
    try:
        labels = LabelSet(
            name=found.name,
            classes=tuple(found.classes),
            palette=tuple((red, green, blue) for red, green, blue in palette),
            swaps=tuple((left, right) for left, right in found.swaps or ()),
            groups={name: tuple(labels) for name, labels in found.groups.items()},
            ignored=found.ignored,
        )
    except ValueError as error:
        raise DataError(path, f"is not a label set: {error}") from None
    if labels.unswapped and found.swaps != []:
        pairs = ", ".join(
            f"{labels.classes[a]} and {labels.classes[b]}" for a, b in labels.unswapped
        )
        swaps = [list(pair) for pair in (*labels.swaps, *labels.unswapped)]
        raise DataError(
            path,
            f'swaps does not name {pairs}, which a mirror exchanges: write "swaps": {swaps}, '
            'or "swaps": [] if it does not',
        )
    return labels


def _wheel(classes: int) -> list[list[int]]:
    """Return black for the background and colours that are far from those before."""
    hues = ((0.05 + place * 0.618) % 1 for place in range(classes - 1))  # the golden section
    return [[0, 0, 0], *([round(255 * c) for c in hsv_to_rgb(hue, 0.65, 0.95)] for hue in hues)]


# Left and right are the subject's own: l_eye is at the viewer's right, as in the dataset's masks.
CELEBAMASK_HQ = LabelSet(
    name="celebamask-hq",
    classes=(
        "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear",
        "r_ear", "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
    ),
    palette=(
        (0, 0, 0), (236, 178, 140), (205, 120, 90), (90, 200, 250), (40, 90, 220),
        (80, 220, 200), (130, 60, 200), (190, 110, 230), (240, 140, 60), (250, 200, 60),
        (120, 0, 40), (230, 40, 90), (250, 110, 150), (110, 70, 40), (60, 140, 60),
        (255, 240, 80), (150, 150, 255), (180, 140, 110), (70, 110, 130),
    ),
    swaps=((4, 5), (6, 7), (8, 9)),
    groups={
        "eyes": (4, 5),
        "brows": (6, 7),
        "nose": (2,),
        "mouth": (10, 11, 12),
    },
)  # fmt: skip

# Smith et al., Exemplar-Based Face Parsing (CVPR 2013): order of the eleven label maps;
# "overall" is their union of all inner facial components.
HELEN = LabelSet(
    name="helen",
    classes=(
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "u_lip", "mouth",
        "l_lip", "hair",
    ),
    palette=(
        (0, 0, 0), (236, 178, 140), (130, 60, 200), (190, 110, 230), (40, 90, 220),
        (80, 220, 200), (205, 120, 90), (230, 40, 90), (120, 0, 40), (250, 110, 150),
        (110, 70, 40),
    ),
    swaps=((2, 3), (4, 5)),
    groups={
        "eyes": (4, 5),
        "brows": (2, 3),
        "nose": (6,),
        "mouth": (7, 8, 9),
        "overall": (2, 3, 4, 5, 6, 7, 8, 9),
    },
)  # fmt: skip

EG1800 = LabelSet(
    name="eg1800",
    classes=("background", "person"),
    palette=((0, 0, 0), (0, 160, 255)),
    groups={"overall": (1,)},
)
