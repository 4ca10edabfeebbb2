import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "<!-- generated: " in page.read_text()]


@pytest.fixture(scope="module")
def lists():
    spec = importlib.util.spec_from_file_location("lists", DOCS / "lists.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lists_are_those_of_the_code(page, lists):
    assert page.read_text() == lists.filled(page.read_text()), "run python docs/lists.py"


def test_every_list_is_in_a_page(lists):
    text = "".join(page.read_text() for page in PAGES)
    assert all(f"<!-- generated: {name} -->" in text for name in lists.GENERATED)
