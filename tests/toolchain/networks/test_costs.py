import re

import pytest

from export.system.errors import UsageError
from tests.conftest import SHARED_LOGS
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import blueprint
from toolchain.networks.costs import network_costs

# Decoder parameters at 19 classes, total at 17 classes, decoder FLOPs at 19 classes and 512x512.
# Nekrasov et al., CVPR 2019 (published totals from the authors' logs); see the blueprint.
GOLDEN = [
    (
        "[[2, [1, 0, 7, 7], [1, 2, 3, 2], [7, 7, 8, 8]], [[1, 0], [0, 2], [2, 5]]]",
        183139,
        1995073,
        3115253760,
    ),
    (
        "[[6, [0, 1, 2, 3], [4, 1, 3, 0], [5, 2, 6, 1]], [[1, 3], [2, 0], [3, 5]]]",
        499939,
        2311873,
        6367395840,
    ),
    (
        "[[4, [1, 1, 6, 9], [1, 1, 8, 7], [7, 1, 6, 8]], [[1, 2], [2, 3], [2, 4]]]",
        374947,
        2186881,
        1405750272,
    ),
    (
        "[[9, [1, 0, 1, 1], [3, 3, 0, 0], [7, 6, 4, 2]], [[3, 3], [3, 4], [5, 5]]]",
        358243,
        2170177,
        230083584,
    ),
    (
        "[[4, [0, 1, 7, 4], [1, 4, 6, 7], [4, 1, 7, 3]], [[2, 3], [3, 2], [5, 4]]]",
        274435,
        2086369,
        409491456,
    ),
    (
        "[[4, [1, 0, 9, 9], [1, 1, 9, 1], [7, 5, 9, 9]], [[3, 1], [2, 2], [3, 2]]]",
        192067,
        2004001,
        545418240,
    ),
    (
        "[[2, [0, 1, 8, 10], [4, 0, 2, 0], [7, 5, 8, 3]], [[1, 1], [1, 2], [2, 1]]]",
        165859,
        1977793,
        950599680,
    ),
    ("[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]", 241027, None, 4335796224),
    (
        "[[3, [1, 1, 5, 0], [0, 4, 1, 9], [4, 3, 2, 0]], [[3, 3], [2, 1], [2, 0], [1, 4]]]",
        480643,
        None,
        3555606528,
    ),
]


@pytest.mark.parametrize(("text", "parameters", "total", "flops"), GOLDEN)
def test_golden_costs(text, parameters, total, flops):
    genotype = Genotype.parse(text)
    costs = network_costs(Architecture(genotype))
    assert costs.parameters.decoder == parameters
    assert costs.flops.decoder == flops
    assert costs.parameters.encoder == 1_812_800
    assert costs.flops.encoder == 3_053_912_064
    if total:
        assert network_costs(Architecture(genotype), classes=17).parameters.total == total


@pytest.mark.parametrize(
    ("name", "rows"),
    [("search-2020-06-20-three-costs.out", 599), ("search-2020-07-23-accuracy-only.out", 1122)],
)
def test_logged_parameters_differ_from_the_decoders_by_one_constant(name, rows):
    path = SHARED_LOGS / name
    if not path.exists():
        pytest.skip("no published logs in ../shared/logs")
    differences = []
    for line in path.read_text().splitlines():
        logged = float(re.search(r"params: ([\d.]+)", line)[1])
        genotype = Genotype.parse(line.split("genotype:")[1])
        decoder = network_costs(
            Architecture(genotype, "ghostnet-0.25"), classes=17
        ).parameters.decoder
        differences.append(logged - decoder / 1e6)
    assert len(differences) == rows
    # Both ends of the range round to the two digits of the log.
    assert max(differences) - min(differences) <= 0.01


def test_pruning_leaves_out_dead_operations_constants_and_unused_stages():
    # `none` reads node 1; conv3x3 of zeros is a constant; only the taps l1 and l2 are used.
    genotype = Genotype.parse("0 [1,0,10,2] [3,2,9,1] [0,1]")
    kinds = [unit.kind for unit in blueprint(Architecture(genotype), pruned=True).units]
    assert "conv1x1" not in kinds
    assert "conv3x3" not in kinds
    assert kinds.count("constant") == 2
    assert [kind for kind in kinds if kind.startswith("stage")] == ["stage1", "stage2"]
    written = [unit.kind for unit in blueprint(Architecture(genotype)).units]
    assert written.count("conv1x1") == 2
    assert written.count("conv3x3") == 2
    assert [kind for kind in written if kind.startswith("stage")] == [
        f"stage{s}" for s in (1, 2, 3, 4)
    ]


def test_class_count_width_and_size_are_free():
    genotype = Genotype.parse("1 [0,1]")
    small = network_costs(Architecture(genotype), classes=3, input_size=256, aggregation=16)
    large = network_costs(Architecture(genotype), classes=3, input_size=512, aggregation=16)
    assert small.parameters == large.parameters
    assert 4 * small.flops.total == large.flops.total


@pytest.mark.parametrize("encoder", ["mobilenetv2", "ghostnet-0.25"])
def test_a_working_size_costs_what_an_input_of_that_size_costs(encoder):
    """The image is averaged down before anything is computed; parameters stay what they are."""
    genotype = Genotype.parse(GOLDEN[0][0])
    whole = network_costs(Architecture(genotype, encoder))
    assert network_costs(Architecture(genotype, encoder, 512)) == whole
    small = network_costs(Architecture(genotype, encoder, 256))
    assert small == network_costs(Architecture(genotype, encoder), input_size=256)
    assert small.parameters == whole.parameters
    assert small.flops.decoder < 0.26 * whole.flops.decoder


def test_a_smaller_working_size_changes_the_first_stage_and_the_labels_alone():
    genotype = Genotype.parse(GOLDEN[0][0])
    inside = blueprint(Architecture(genotype, working_size=384))
    alone = blueprint(Architecture(genotype), input_size=384)
    assert inside.encoder[0].name == "mobilenetv2/stage1 3>24 512x512>96x96"
    assert (inside.encoder[1:], inside.decoder) == (alone.encoder[1:], alone.decoder)
    assert inside.labels[0].name == "labels 19>1 96x96>512x512"


@pytest.mark.parametrize(
    ("size", "image", "words"),
    [
        (250, 512, "a working size is a multiple of 32 pixels, not 250"),
        (0, 512, "a working size is a multiple of 32 pixels, not 0"),
        (544, 512, "the working size 544 is above the input size 512"),
        (64, (64, 128), "a working size is for square images, not for 64x128"),
    ],
)
def test_a_wrong_working_size_is_one_line(size, image, words):
    with pytest.raises(UsageError, match=words):
        network_costs(Architecture(Genotype.parse("9 [0, 3]"), working_size=size), 19, image)
