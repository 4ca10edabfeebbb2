"""Which networks a table is fitted to and certified on: tables that exist depend on it."""

import random
from pathlib import Path

import pytest

from toolchain.graph import canonical
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.networks import draw_networks, random_genotypes
from toolchain.profiling.table import LatencyTable

TABLES = Path(__file__).parents[3] / "latency_tables"
PAIR = [Backbone("a"), Backbone("b")]


@pytest.mark.parametrize("path", sorted(TABLES.glob("*t.json")), ids=lambda path: path.stem)
def test_draws_are_those_of_the_shipped_tables(path):
    table = LatencyTable.load(path)
    made, certificate = table.provenance, table.certificate
    fitted = draw_networks(table.correction.networks, made.backbones, f"fit {made.seed}")
    avoid = [canonical(network.genotype) for network in fitted]
    seed = f"certify {certificate.seed}"
    fresh = draw_networks(certificate.architectures, made.backbones, seed, avoid)
    assert fresh == [case.architecture for case in certificate.cases]


def test_encoders_and_working_sizes_come_in_turns_whatever_the_genotypes():
    four = [*PAIR, Backbone("a", 256), Backbone("b", 256)]
    found = draw_networks(9, four, "fit 0")
    assert [(n.encoder, n.working_size) for n in found] == [*four, *four, four[0]]
    assert [n.genotype for n in found] == list(random_genotypes(9, random.Random("fit 0")))
    alone = draw_networks(9, PAIR, "fit 0")
    assert [n.genotype for n in alone] == [n.genotype for n in found]
    assert [n.encoder for n in alone] == [*"ababababa"]
