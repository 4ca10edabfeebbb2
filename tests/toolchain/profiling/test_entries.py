import random
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

from export.runtimes import open_session
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import Unit, blueprint
from toolchain.networks.encoders import encoder_names
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entries import HEADS, Difference, Recipe, difference, recipes, solve
from toolchain.profiling.face import feeds
from toolchain.profiling.networks import Shape

SMALL = Shape(image=(64, 64))
GHOSTNET = Backbone("ghostnet-0.1")


def units_of(found: list[Recipe]) -> list[Unit]:
    return [unit for recipe in found for unit in recipe.units]


@pytest.mark.parametrize("working_sizes", [(None,), (256,), (None, 384, 256)])
def test_every_unit_of_any_architecture_is_measured(working_sizes):
    backbones = [Backbone(name, size) for size in working_sizes for name in encoder_names()]
    known = set(units_of(recipes(Shape(), backbones)))
    generator = random.Random(0)
    for number in range(600):
        genotype = Genotype.sample(generator, generator.randint(1, 5), generator.randint(1, 5))
        backbone = backbones[number % len(backbones)]
        plan = blueprint(Architecture(genotype, *backbone), pruned=True)
        wide = {u for u in plan.units if u.kind == "head" and u.inputs > HEADS * u.outputs}
        assert set(plan.units) - known - wide == set()


def test_units_that_working_sizes_share_are_measured_once():
    backbones = [Backbone(name, size) for size in (None, 256) for name in encoder_names()]
    together = units_of(recipes(Shape(), backbones))
    assert len(together) == len(set(together))
    alone = [set(units_of(recipes(Shape(), [backbone]))) for backbone in backbones]
    assert set(together) == set().union(*alone)
    # 64x64, 32x32 and 16x16 are taps of both; stages, and the labels of 8x8, are of one.
    assert Unit("conv3x3", 48, 48, (64, 64), (64, 64)) in alone[0] & alone[-1]
    assert not any(unit.encoder for unit in alone[0] & alone[len(encoder_names())])


def test_one_working_size_needs_what_an_input_of_that_size_needs():
    image = units_of(recipes(Shape(image=(256, 256)), [GHOSTNET]))
    working = units_of(recipes(Shape(), [Backbone("ghostnet-0.1", 256)]))
    assert len(image) == len(working)
    differing = {unit.kind for unit in set(image) ^ set(working)}
    assert differing == {"stage1", "labels"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_stages_at_a_working_size_run(precision):
    shape = Shape(image=(128, 128), precision=precision)
    found = recipes(shape, [Backbone("ghostnet-0.1", 96)])
    stages = [recipe for recipe in found if next(iter(recipe.units)).encoder]
    assert len(stages) == 4
    for recipe in stages:
        (unit,) = recipe.units
        with open_session(recipe.models[-1], threads=1) as session:
            (tap,) = session.run(feeds(session.inputs)).values()
        assert tap.shape == (1, unit.outputs, *unit.to)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_graph_runs_and_the_larger_one_has_more_of_the_unit(precision):
    for recipe in recipes(replace(SMALL, precision=precision), [GHOSTNET]):
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
    for recipe in recipes(SMALL, [GHOSTNET]):
        for unit in recipe.units:
            true.setdefault(unit, 1.0 + len(true))
    upsample_add = Unit("upsample_add", 48, 48, size, (16, 16))
    true[upsample_add] = (
        true[Unit("upsample", 48, 48, size, (16, 16))]
        + true[Unit("add", 48, 48, (16, 16), (16, 16))]
    )
    for recipe in recipes(SMALL, [GHOSTNET]):
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
    recipe = next(r for r in recipes(SMALL, [GHOSTNET]) if any(u.kind == "head" for u in r.units))
    project = next(
        r for r in recipes(SMALL, [GHOSTNET]) if any(u.kind == "project" for u in r.units)
    )
    measured = [(project, Difference(2.0, 0, 1)), (recipe, Difference(1.0, 0, 1))]
    assert [found.latency_ms for _, found, _ in solve(measured)] == [2.0, 0.0]
