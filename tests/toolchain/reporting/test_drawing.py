import random
import re
import xml.etree.ElementTree as ElementTree

import pytest

from toolchain.genotype import Genotype
from toolchain.graph import graphs
from toolchain.reporting.drawing import draw_cell, draw_decoder


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    rectangles = ElementTree.fromstring(svg).iter("rect")
    return [tuple(float(r.get(k, "")) for k in ("x", "y", "width", "height")) for r in rectangles]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize("seed", range(25))
def test_boxes_lie_apart_and_inside(seed: int) -> None:
    generator = random.Random(seed)
    genotype = Genotype.sample(generator, generator.randint(1, 6), generator.randint(1, 6))
    for svg in (draw_cell(genotype), draw_decoder(genotype)):
        left, top, width, height = map(float, re.findall(r'viewBox="(.*?)"', svg)[0].split())
        placed = boxes(svg)
        for position, (x, y, w, h) in enumerate(placed):
            assert left <= x
            assert top <= y
            assert x + w <= left + width
            assert y + h <= top + height
            for other_x, other_y, _, _ in placed[position + 1 :]:
                assert abs(x - other_x) >= w or abs(y - other_y) >= h


@pytest.mark.parametrize("seed", range(10))
def test_every_operation_that_runs_has_a_box(seed: int) -> None:
    genotype = Genotype.sample(random.Random(seed), branches=4)
    cell, decoder = graphs(genotype)
    assert len(boxes(draw_cell(genotype))) == len(cell.computed) + 2
    assert len(boxes(draw_decoder(genotype))) == 4 + len(decoder.merges) + 1


def test_what_does_not_run_is_not_drawn() -> None:
    # conv1x1 is read by nothing that is left: the cell adds its input twice, through skips.
    genotype = Genotype.parse("[[0, [0, 0, 9, 9], [1, 1, 10, 10]], [[0, 1]]]")
    assert texts(draw_cell(genotype)) == ["×2", "cell input", "cell output"]


def test_a_cell_of_zeros_is_called_constant() -> None:
    genotype = Genotype.parse("[[10], [[0, 1]]]")
    assert texts(draw_cell(genotype)) == ["cell input", "constant output"]


def test_the_decoder_shows_resolutions_and_unused_maps() -> None:
    svg = draw_decoder(Genotype.parse("[[0], [[1, 2], [4, 4]]]"))
    assert "merge 1, 1/8" in texts(svg)
    assert "×2" in texts(svg)
    assert svg.count('class="unused"') == 2
