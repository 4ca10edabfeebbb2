"""The models that ship: each is what its card says, and says itself whose terms bind it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import demo.shipped
from demo.shipped import MODELS
from export.onnx_file.metadata import ModelMetadata
from export.runtimes import open_session
from toolchain.datasets.surroundings import backdrop

FOLDER = Path(demo.shipped.__file__).parent / "models"
FILES = sorted(FOLDER.glob("*.onnx"))
MOST_PARAMETERS = {"fast": 0.7e6, "balanced": 0.5e6, "accurate": 0.7e6}


def test_what_ships_has_names_and_cards():
    stems = {path.stem for path in FILES}
    named = {stem.removesuffix("-int8") for stem in stems}
    assert {"fast", "balanced"} <= named <= set(MODELS)
    assert stems == named | {f"{name}-int8" for name in named}
    assert named == {path.stem for path in FOLDER.glob("*.md")} - {"README"}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_a_file_says_whose_terms_bind_it(path):
    session = open_session(path)
    metadata = ModelMetadata.read(session.metadata, path)
    assert "non-commercial research only" in metadata.licence
    assert metadata.seen
    card = (FOLDER / f"{path.stem.removesuffix('-int8')}.md").read_text()
    assert f"`{metadata.genotype}`" in card
    assert path.name in card
    assert "non-commercial research only" in card


def test_a_file_is_as_small_as_its_name_promises(path):
    weights = onnx.load(path).graph.initializer
    # Those that average an image down or enlarge logits were not learned.
    learned = [w for w in weights if len(w.dims) > 1 and w.name.startswith("network.")]
    count = sum(numpy_helper.to_array(w).size for w in learned)
    assert 1e4 < count <= MOST_PARAMETERS[path.stem.removesuffix("-int8")]


def test_a_file_gives_labels_and_the_probabilities_that_soft_masks_need(path):
    picture = np.full((1, 512, 512, 3), 127, np.uint8)
    given = open_session(path).run({"image": picture})
    assert given["labels"].shape == (1, 512, 512)
    np.testing.assert_allclose(given["probabilities"].sum(1), 1, atol=1e-3)


def test_a_file_sees_nobody_where_nobody_is(path):
    """On textures with things before them; networks that always saw a face find 2 to 6 % of one."""
    session = open_session(path)
    pictures = [backdrop(np.random.default_rng(seed), 512) for seed in (2, 3, 9, 10, 15, 16)]
    found = [session.run({"image": picture[None]})["labels"] > 0 for picture in pictures]
    assert np.mean(found) < 0.01
