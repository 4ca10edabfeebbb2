import pytest

from export.benchmarking.node_profile import ADDED, NodeTime
from toolchain.deploy.part_names import part_label
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter

GENOTYPE = Genotype.parse("[[2, [0, 0, 2, 0], [3, 3, 10, 4]], [[1, 2], [1, 1]]]")


def node(module: str, operator: str | None = "Conv", shape=None) -> NodeTime:
    return NodeTime("name", 1.0, module, "node", operator, shape)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("input", "input conversion"),
        ("encoder.stages.0.3.convolutions.1", "encoder, stage 1"),
        ("encoder.stages.12", "encoder, stage 13"),
        ("decoder.adapt.2.convolutions.0", "decoder, projection of tap 3"),
        (
            "decoder.merges.0.cells.1.operations.2.convolutions.1",
            "merge 1, cell 2, operation 2: sep_conv_3x3",
        ),
        (
            "decoder.merges.1.cells.0.operations.6",
            "merge 2, cell 1, operation 6: global_average_pool",
        ),
        ("decoder.merges.1.cells.0.operations.99", "merge 2, cell 1, operation 99: unknown"),
        ("decoder.merges.1.cells.0", "merge 2, cell 1, sums"),
        ("decoder.merges.1.projections.0.activation", "merge 2, projection 1"),
        ("decoder.merges.1", "merge 2, resize and sum"),
        ("decoder.head.convolutions.0", "head"),
        ("decoder.classifier", "classifier"),
        ("decoder", "decoder, joining"),
        ("tail", "tail"),
        ("probabilities", "probabilities"),
        ("decoder_of_others", "Conv, of no module"),
        ("", "Conv, of no module"),
    ],
)  # fmt: skip
def test_words(module: str, words: str) -> None:
    assert part_label(GENOTYPE)(node(module)) == words


def test_what_the_runtime_added_is_called_so() -> None:
    assert part_label(GENOTYPE)(node("", None)) == ADDED


def test_size_is_that_of_the_cell() -> None:
    pooled = node("decoder.merges.0.cells.0.operations.6.unit", shape=(1, 48, 1, 1))
    full = node("decoder.merges.0.cells.0.operations.2", shape=(1, 48, 64, 32))
    other = node("decoder.merges.0.cells.1.operations.2", shape=(None, 48, None, None))
    label = part_label(GENOTYPE, [full, pooled, other])
    assert label(pooled).endswith("global_average_pool of 64x32")
    assert label(full).endswith("sep_conv_3x3 of 64x32")
    assert label(other).endswith("sep_conv_3x3")


def test_every_module_of_a_network_has_words() -> None:
    label = part_label(GENOTYPE)
    deployed = build_segmenter(GENOTYPE).deployable(64)
    names = [
        name for name, module in deployed.named_modules() if name and not list(module.children())
    ]
    assert len(names) > 50
    words = {label(node(name)) for name in names}
    assert not any("of no module" in text or "unknown" in text for text in words)
    operations = {"sep_conv_3x3", "conv1x1", "global_average_pool"}
    assert operations <= {text.rpartition(": ")[2] for text in words}
