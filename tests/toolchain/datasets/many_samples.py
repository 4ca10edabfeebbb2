"""Layouts of every kind with many samples: names matter here, so files hold no pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dataset_layouts import LAYOUTS

Make = Callable[[Path, Sequence[str]], None]
SPLITS = ("train", "val", "test")


def touch(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def make_folder(root: Path, names: Sequence[str]) -> None:
    for name in names:
        touch(root / "images" / f"{name}.png", name)
        touch(root / "masks" / f"{name}.png")


def make_split_folder(root: Path, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        make_folder(root / SPLITS[position % 3], [name])


def make_celebamask_hq(root: Path, names: Sequence[str]) -> None:
    lines = ["idx orig_idx orig_file"]
    for position, name in enumerate(names):
        number = int(name)
        touch(root / "CelebA-HQ-img" / f"{number}.jpg", name)
        masks = root / "CelebAMask-HQ-mask-anno" / str(number // 2000)
        touch(masks / f"{number:05d}_skin.png")
        original = (100_000, 170_000, 190_000)[position % 3] + number
        lines.append(f"{number} {original - 1} {original:06d}.jpg")
    touch(root / "CelebA-HQ-to-CelebA-mapping.txt", "\n".join(lines))


def make_helen(root: Path, names: Sequence[str]) -> None:
    for position, file in enumerate(("exemplars.txt", "tuning.txt", "testing.txt")):
        touch(root / file, "\n".join(f"1 , {name}" for name in names[position::3]))
    for name in names:
        touch(root / "images" / f"{name}.jpg", name)
        (root / "labels" / name).mkdir(parents=True, exist_ok=True)


def make_eg1800(root: Path, names: Sequence[str]) -> None:
    for position, file in enumerate(("eg1800_train.txt", "eg1800_test.txt")):
        touch(root / file, "\n".join(f"{name}.png" for name in names[position::2]))
    for name in names:
        touch(root / "Images" / f"{name}.png", name)
        touch(root / "Labels" / f"{name}.png")


MANY: dict[str, Make | None] = {
    "folder": make_folder,
    "folder with splits": make_split_folder,
    "celebamask-hq": make_celebamask_hq,
    "helen": make_helen,
    "eg1800": make_eg1800,
    "synthetic": None,
}
assert MANY.keys() == LAYOUTS.keys()


def make_many(kind: str, root: Path, count: int) -> str:
    """Make a source of a kind with ``count`` samples, or add to it; return its spec."""
    make = MANY[kind]
    if make is None:
        return f"synthetic:{count}:3"
    make(root, [f"{number:05d}" for number in range(count)])
    return str(root)
