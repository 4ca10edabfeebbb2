import random
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

from export.runtimes import open_session
from toolchain.architecture import Architecture
from toolchain.blueprint import Unit, blueprint
from toolchain.genotype import Genotype
from toolchain.networks.encoders import encoder_names
from toolchain.profiling.entries import HEADS, Difference, difference, recipes, solve
from toolchain.profiling.face import feeds
from toolchain.profiling.networks import Shape

SMALL = Shape(image=(64, 64))


def test_every_unit_of_any_genotype_and_encoder_is_measured():
    known = {unit for recipe in recipes(Shape(), encoder_names()) for unit in recipe.units}
    generator = random.Random(0)
    for number in range(600):
        genotype = Genotype.sample(generator, generator.randint(1, 5), generator.randint(1, 5))
        encoder = encoder_names()[number % len(encoder_names())]
        plan = blueprint(Architecture(genotype, encoder), pruned=True)
        wide = {u for u in plan.units if u.kind == "head" and u.inputs > HEADS * u.outputs}
        assert set(plan.units) - known - wide == set()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_graph_runs_and_the_larger_one_has_more_of_the_unit(precision):
    for recipe in recipes(replace(SMALL, precision=precision), ["ghostnet-0.1"]):
        counts = []
        for model in recipe.models:
            with open_session(model, threads=1) as session:
                session.run(feeds(session.inputs))
            counts.append(Counter(n.op_type for n in onnx.load_from_string(model).graph.node))
        assert recipe.copies[0] < recipe.copies[1]
        if len(counts) == 2:
            assert counts[1].total() > counts[0].total(), recipe.method


def test_difference_is_taken_turn_by_turn():
    short, long = np.array([1.0, 2.0, 1.0, 1.0]), np.array([4.0, 5.0, 4.0, 4.6])
    found = difference([short, long], (2, 8))
    assert found.latency_ms == pytest.approx(0.5)
    assert found.iqr_ms == pytest.approx(0.025)
    assert found.samples == 4
    assert difference([long], (0, 1)).latency_ms == pytest.approx(4.3)


def test_solve_subtracts_what_was_measured_along():
    size = (8, 8)
    true = {}
    measured = []
    for recipe in recipes(SMALL, ["ghostnet-0.1"]):
        for unit in recipe.units:
            true.setdefault(unit, 1.0 + len(true))
    upsample_add = Unit("upsample_add", 48, 48, size, (16, 16))
    true[upsample_add] = (
        true[Unit("upsample", 48, 48, size, (16, 16))]
        + true[Unit("add", 48, 48, (16, 16), (16, 16))]
    )
    for recipe in recipes(SMALL, ["ghostnet-0.1"]):
        unit, less = next(iter(recipe.units.items()))
        total = true[unit] + sum(true[other] for other in less)
        measured.append((recipe, Difference(total, 0.1, 7)))
    solved = {unit: found.latency_ms for unit, found, _ in solve(measured)}
    assert solved.keys() == true.keys()
    derived = Unit("upsample", 48, 48, size, (16, 16))
    assert solved[derived] == pytest.approx(true[derived])
    heads = Unit("head", 144, 48, size, size)
    assert solved[heads] == pytest.approx(true[heads])


def test_a_difference_below_zero_becomes_zero():
    recipe = next(r for r in recipes(SMALL, []) if any(u.kind == "head" for u in r.units))
    project = next(r for r in recipes(SMALL, []) if any(u.kind == "project" for u in r.units))
    measured = [(project, Difference(2.0, 0, 1)), (recipe, Difference(1.0, 0, 1))]
    assert [found.latency_ms for _, found, _ in solve(measured)] == [2.0, 0.0]
