import copy
import itertools
import random
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import literal

from tests.toolchain.settled_norms import settle_norms
from toolchain.architecture import Architecture
from toolchain.genotype import TAPS, Connection, Entry, Genotype
from toolchain.graph import canonical, cell_graph
from toolchain.networks.costs import network_costs
from toolchain.networks.decoder import Decoder
from toolchain.networks.encoders import build_encoder, describe_encoder, encoder_names, register
from toolchain.networks.segmenter import build_segmenter, initialise
from toolchain.networks.units import DilatedConvolution

CHANNELS = (6, 7, 8, 9)
WIDTH = 5


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def features(batch=1, size=32):
    return [torch.randn(batch, c, size >> tap, size >> tap) for tap, c in enumerate(CHANNELS)]


def samples(count, seed):
    generator = random.Random(seed)
    return [
        Genotype.sample(generator, generator.randint(1, 5), generator.randint(1, 5))
        for _ in range(count)
    ]


@pytest.mark.parametrize("genotype", samples(40, 1), ids=str)
@torch.no_grad()
def test_the_decoder_computes_what_the_space_says(genotype):
    maps = features()
    network = settle_norms(Decoder(genotype, CHANNELS, 4, WIDTH), maps)
    expected = literal.decoder(genotype, network, maps)
    torch.testing.assert_close(network(maps), expected, rtol=1e-4, atol=1e-4)


def exchanged(genotype, generator):
    """Write the same computation in another way, and say where each operation's weights went.

    Swaps the operands of entries and connections, and points `none` somewhere else.
    """
    moved = {1: 1}
    numbers = {0: 0, 1: 1}
    entries = []
    for k, entry in enumerate(genotype.entries, 1):
        swap = generator.random() < 0.5
        p1, p2, o1, o2 = entry
        halves = [(numbers[p1], o1), (numbers[p2], o2)]
        halves = halves[::-1] if swap else halves
        first, second = (3 * k, 3 * k - 1) if swap else (3 * k - 1, 3 * k)
        numbers |= {3 * k - 1: first, 3 * k: second, 3 * k + 1: 3 * k + 1}
        moved |= {3 * k - 1: first, 3 * k: second}
        (q1, r1), (q2, r2) = halves
        entries.append(Entry(q1, q2, r1, r2))
    sides = [generator.random() < 0.5 for _ in genotype.connections]
    connections = tuple(
        Connection(*pair[::-1]) if flip else pair
        for pair, flip in zip(genotype.connections, sides, strict=True)
    )
    return Genotype(genotype.operation, tuple(entries), connections), moved, sides


@pytest.mark.parametrize("genotype", samples(40, 2), ids=str)
@torch.no_grad()
def test_the_same_canonical_form_means_the_same_outputs_with_shared_weights(genotype):
    other, moved, sides = exchanged(genotype, random.Random(0))
    assert canonical(other) == canonical(genotype)
    maps = features()
    network = settle_norms(Decoder(genotype, CHANNELS, 4, WIDTH), maps)
    twin = Decoder(other, CHANNELS, 4, WIDTH).eval()
    twin.adapt, twin.head, twin.classifier = network.adapt, network.head, network.classifier
    for merge, merge_twin, flip in zip(network.merges, twin.merges, sides, strict=True):
        order = (1, 0) if flip else (0, 1)
        for side, side_twin in enumerate(order):
            merge_twin.projections[side_twin] = merge.projections[side]
            for number, module in merge.cells[side].operations.items():
                target = merge_twin.cells[side_twin].operations
                target[str(moved[int(number)])] = module
    torch.testing.assert_close(twin(maps), network(maps), rtol=1e-4, atol=1e-4)


def evaluate_text(text, weights, x):
    """Compute a canonical cell with given weights by name; an oracle of its own."""
    steps, _, output = text.partition("->")
    values = {"x": x}

    def total(terms):
        result = torch.zeros_like(x)
        for term in filter(None, (part.strip() for part in terms.split("+"))):
            digits = "".join(itertools.takewhile(str.isdigit, term))
            result = result + int(digits or 1) * values[term[len(digits) :]]
        return result

    for step in steps.split():
        name, _, call = step.partition("=")
        operation, _, inputs = call[:-1].partition("(")
        values[name] = weights(operation, total(inputs))
    return total("" if output.strip() == "0" else output)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_the_canonical_text_computes_what_the_cell_does(seed):
    """With weights that depend on the operation's name alone, text and cell agree."""
    generator = random.Random(seed)
    genotype = Genotype.sample(generator, generator.randint(1, 4), 1)

    def weights(name, value):
        scale = sum(map(ord, name)) % 7 + 1
        # On zeros every operation is a constant; it must not matter which one it was.
        return torch.full_like(value, 3.0) if not value.any() else (value * scale).sin() + scale

    cell = cell_graph(genotype.operation, genotype.entries)
    x = torch.linspace(1, 2, 5, dtype=torch.float64)
    values = {0: x}
    for number, (name, inputs) in cell.operations.items():
        value = sum((values[term] for term in inputs), torch.zeros_like(x))
        values[number] = weights(name, value)
    expected = sum((values[term] for term in cell.output), torch.zeros_like(x))
    text = canonical(genotype).split(" | ")[0]
    torch.testing.assert_close(evaluate_text(text, weights, x), expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 [0,1,2,3] [0,1]", "0 [1,0,3,2] [0,1]"),
        ("0 [0,1,2,3] [0,1]", "0 [0,1,2,3] [1,0]"),
        # what `none` reads, and what only it reads, is dead
        ("0 [1,0,10,2] [0,1]", "5 [1,0,10,2] [0,1]"),
        ("1 [1,1,10,10] [0,1]", "5 [1,1,10,10] [0,1]"),
        # any convolution of zeros is a constant
        ("10 [1,1,0,9] [0,1]", "10 [1,1,6,9] [0,1]"),
        # the order of merge cells that do not depend on each other
        ("0 [0,1] [2,3]", "0 [2,3] [0,1]"),
        # a skip is its input
        ("9 [1,0,2,10] [0,1]", "10 [0,0,2,10] [0,1]"),
    ],
)
def test_equal_families(one, other):
    assert canonical(Genotype.parse(one)) == canonical(Genotype.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 [0,1]", "1 [0,1]"),
        ("0 [0,1]", "0 [0,2]"),
        # x + x is not x, one shared operation is not two
        ("9 [0,0,9,9] [0,1]", "9 [0,0,9,10] [0,1]"),
        ("0 [1,1,2,2] [0,1]", "0 [0,0,2,2] [0,1]"),
        ("0 [0,1] [0,1]", "0 [0,1] [4,1]"),
    ],
)
def test_different_families(one, other):
    assert canonical(Genotype.parse(one)) != canonical(Genotype.parse(other))


@pytest.mark.parametrize("encoder", encoder_names())
def test_counts_are_those_of_the_torch_modules(encoder):
    for genotype in samples(3, 5):
        network = build_segmenter(genotype, encoder, classes=7, aggregation=16)
        costs = network_costs(Architecture(genotype, encoder), classes=7, aggregation=16)
        count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
        assert count(network.encoder) == costs.parameters.encoder
        assert count(network.decoder) == costs.parameters.decoder


@pytest.mark.parametrize("encoder", ["mobilenetv2", "mobilenetv2-0.35", "ghostnet-0.25"])
@torch.no_grad()
def test_flops_are_those_that_torch_counts(encoder):
    from torch.utils.flop_counter import FlopCounterMode

    # No dead path: what is written is what runs.
    genotype = Genotype.parse(
        "[[6, [0, 1, 2, 3], [4, 1, 3, 0], [5, 2, 6, 1]], [[1, 3], [2, 0], [3, 5]]]"
    )
    # Not on the CPU, where dilated convolutions are computed otherwise.
    network = build_segmenter(genotype, encoder).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with counter:
        network(torch.zeros(1, 3, 64, 64, device="meta"))
    costs = network_costs(Architecture(genotype, encoder), input_size=64)
    assert counter.get_total_flops() == costs.flops.total


@pytest.mark.parametrize("size", [(33, 29), (24, 24), (16, 8), (12, 13), (4, 2), (1, 1)])
@pytest.mark.parametrize(
    ("kernel", "dilation", "groups"), [(3, 3, 1), (3, 12, 1), (3, 3, 6), (5, 6, 6)]
)
def test_a_dilated_convolution_is_the_ordinary_one(kernel, dilation, groups, size):
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    fast = DilatedConvolution(6, 6, kernel, 1, padding, dilation, groups)
    x = torch.randn(2, 6, *size, requires_grad=True)
    results = []
    for convolution in (nn.Conv2d.forward, DilatedConvolution.forward):
        fast.zero_grad()
        x.grad = None
        result = convolution(fast, x)
        (result**2).sum().backward()
        results.append([result, x.grad, fast.weight.grad, fast.bias.grad])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoder", encoder_names())
@torch.no_grad()
def test_taps_have_the_described_channels_and_strides(encoder):
    maps = build_encoder(encoder)(torch.zeros(2, 3, 64, 96))
    assert [m.shape[1] for m in maps] == list(describe_encoder(encoder).taps)
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]


@pytest.mark.parametrize("genotype", samples(25, 3), ids=str)
@torch.no_grad()
def test_the_deployable_form_computes_the_same_with_fewer_parts(genotype):
    images = torch.randn(2, 3, 64, 64)
    network = settle_norms(build_segmenter(genotype, "ghostnet-0.1", 5, 8), images)
    small = network.deployable(64)
    expected = network(images)
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(small(images), expected, rtol=0, atol=2e-5 * scale)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small.modules())
    pruned = network_costs(Architecture(genotype, "ghostnet-0.1"), 5, 64, 8, pruned=True)
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Not on the CPU, where dilated convolutions are computed otherwise.
    small.to("meta")
    with counter:
        small(images[:1].to("meta"))
    assert counter.get_total_flops() == pruned.flops.total


@pytest.mark.parametrize("text", ["10 [0,1]", "10 [1,1,0,1] [0,1] [2,3]"])
@torch.no_grad()
def test_a_cell_that_ignores_its_input_becomes_constant_logits(text):
    genotype = Genotype.parse(text)
    images = torch.randn(2, 3, 64, 64)
    network = settle_norms(build_segmenter(genotype, "ghostnet-0.1"), images)
    small = network.deployable(64)
    torch.testing.assert_close(small(images), network(images), rtol=1e-4, atol=1e-4)
    assert not list(small.parameters())
    assert network_costs(Architecture(genotype, "ghostnet-0.1"), pruned=True).flops.total == 0


@pytest.mark.parametrize("groups", [1, 4, 32])
def test_convolutions_keep_the_size_of_gradients_whatever_their_groups(groups):
    """By the outputs that a weight's channel feeds: those of its own group."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(32, 32, 3, groups=groups)
    initialise(convolution)
    fed = 9 * 32 // groups
    assert convolution.weight.std().item() == pytest.approx((2 / fed) ** 0.5, rel=0.15)
    assert not convolution.bias.any()


def test_unused_taps_are_trained_away_not_into():
    network = build_segmenter(Genotype.parse("1 [0,1]"), "ghostnet-0.1").train()
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is None for p in network.decoder.adapt["3"].parameters())
    assert all(p.grad is not None for p in network.decoder.adapt["0"].parameters())


def test_an_encoder_is_registered_once():
    with pytest.raises(ValueError, match="registered already"):
        register(describe_encoder("mobilenetv2"))


def test_copies_share_nothing():
    network = build_segmenter(Genotype.parse("1 [0,1]"), "ghostnet-0.1")
    before = copy.deepcopy(network.state_dict())
    network.deployable(64)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert len(network.decoder.adapt) == TAPS
