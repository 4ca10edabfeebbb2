from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_layouts import LAYOUTS, SIDE, Layout

from toolchain.datasets import Sample, open_dataset, resize_sample


@pytest.fixture(scope="session")
def faces() -> list[Sample]:
    return [resize_sample(sample, SIDE) for sample in open_dataset("synthetic:3:5")]


@pytest.fixture
def make_layout(tmp_path: Path, faces: list[Sample]) -> Callable[[str], Layout]:
    return lambda name: LAYOUTS[name][1](tmp_path, faces)


@pytest.fixture(params=LAYOUTS)
def kind_and_layout(request, make_layout) -> tuple[str | None, Layout]:
    return LAYOUTS[request.param][0], make_layout(request.param)


@pytest.fixture(params=[name for name in LAYOUTS if name != "synthetic"])
def layout_on_disk(request, make_layout) -> Layout:
    return make_layout(request.param)
