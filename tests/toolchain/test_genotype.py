import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.system.errors import DataError, UsageError
from toolchain.genotype import Genotype, choices

TEXT = "[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]"


@st.composite
def genotypes(draw, max_branches=4, max_cells=4):
    branches, cells = draw(st.integers(1, max_branches)), draw(st.integers(1, max_cells))
    values = [draw(st.integers(0, options - 1)) for _, options in choices(branches, cells)]
    return Genotype.from_values(values, branches, cells)


@given(genotypes(8, 8))
def test_the_text_reads_back(genotype):
    assert Genotype.parse(str(genotype)) == genotype


@given(genotypes(8, 8))
def test_the_loose_form_reads_as_the_published_one(genotype):
    loose = " ".join(
        [str(genotype.operation)]
        + [str(list(pair)).replace(" ", "") for pair in (*genotype.entries, *genotype.connections)]
    )
    assert Genotype.parse(loose) == genotype


@given(genotypes(8, 8))
def test_the_flat_values_read_back(genotype):
    again = Genotype.from_values(genotype.values, genotype.branches, genotype.cells)
    assert again == genotype


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]",
        "8, [1,1,1,10], [4,3,1,3], [0,1], [2,0]",
        "  8   [1, 1, 1, 10]  [4, 3, 1, 3]  [0, 1]  [2, 0] ",
    ],
)
def test_forms_of_one_genotype(text):
    assert str(Genotype.parse(text)) == TEXT


@pytest.mark.parametrize("content", [TEXT, json.dumps(TEXT), json.dumps({"genotype": TEXT})])
def test_a_file(tmp_path, content):
    path = tmp_path / "g.json"
    path.write_text(content)
    assert str(Genotype.parse(str(path))) == TEXT


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[11], [[0, 1]]]", "operation 0: 11 is not one of 0..10"),
        ("[[0, [2, 0, 1, 1]], [[0, 1]]]", "entry 1, first input: 2 is not one of 0..1"),
        ("[[0, [0, 2, 1, 1]], [[0, 1]]]", "entry 1, second input: 2"),
        ("[[0, [0, 0, 11, 1]], [[0, 1]]]", "entry 1, first operation: 11"),
        ("[[0, [0, 0, 1, -1]], [[0, 1]]]", "entry 1, second operation: -1"),
        ("[[0, [0, 0, 1, 1], [5, 0, 1, 1]], [[0, 1]]]", "entry 2, first input: 5"),
        ("[[0], [[4, 1]]]", "connection 1, first map: 4 is not one of 0..3"),
        ("[[0], [[0, 1], [1, 5]]]", "connection 2, second map: 5 is not one of 0..4"),
        ("[[0], []]", "at least one connection"),
        ("8 [1,1,1,10]", "at least one connection"),
        ("[[0, [1, 2, 3]], [[0, 1]]]", "item 1 after the first operation"),
        ("[[0], [[0, true]]]", "item 1 after the first operation"),
        ("0 [0,1] [0,0,1,1]", "entries (4 numbers) come before the connections"),
        ("[[0.5], [[0, 1]]]", "starts with the number of its first operation"),
        ("hello", "is not a genotype"),
        ("", "starts with the number of its first operation"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(text, place):
    with pytest.raises(UsageError) as caught:
        Genotype.parse(text)
    assert place in str(caught.value)


def test_a_wrong_file_is_named(tmp_path):
    path = tmp_path / "g.json"
    path.write_text('{"genotype": [[99], [[0, 1]]]}')
    with pytest.raises(DataError, match=r"g\.json: genotype: operation 0: 99"):
        Genotype.parse(str(path))
    with pytest.raises(DataError, match=r"missing\.json: cannot be read"):
        Genotype.parse(str(tmp_path / "missing.json"))


def test_sampling_is_uniform_and_seeded():
    draws = [Genotype.sample(random.Random(seed), 3, 3) for seed in range(2000)]
    assert draws[7] == Genotype.sample(random.Random(7), 3, 3)
    for position, (_, options) in enumerate(choices(3, 3)):
        counts = [sum(g.values[position] == value for g in draws) for value in range(options)]
        expected = 2000 / options
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts)
