from pathlib import Path

import pytest

from export.system.errors import DataError
from tests.toolchain.profiling.made_tables import made_table
from toolchain.genotype import Genotype
from toolchain.profiling.comparison import compare_tables, rank
from toolchain.profiling.table import LatencyTable

CONVOLUTION = "conv3x3 48 128x128"
GENOTYPES = [Genotype.parse(f"{operation} [0,1]") for operation in range(4)]


def saved(path: Path, table: LatencyTable) -> Path:
    table.save(path)
    return path


def scaled(factor: float, exceptions: dict[str, float]) -> LatencyTable:
    """Make a table whose entries and constant are `factor` times as large, but for some."""
    table = made_table(device_name="Abacus 3000", precision="int8")
    table.entries = {
        name: entry.model_copy(
            update={"latency_ms": exceptions.get(name, factor) * entry.latency_ms}
        )
        for name, entry in table.entries.items()
    }
    update = {"constant_ms": factor * table.correction.constant_ms}
    table.correction = table.correction.model_copy(update=update)
    return table


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return saved(tmp_path / "a.json", made_table())


def test_a_device_that_is_slower_throughout(a, tmp_path):
    b = saved(tmp_path / "b.json", scaled(3.0, {}))
    found = compare_tables(a, b, networks=30)
    ranking = found.rankings["mobilenetv2"]
    assert ranking.networks == 30
    assert (ranking.spearman, ranking.kendall) == (1.0, 1.0)
    ratios = (ranking.ratio_low, ranking.ratio_median, ranking.ratio_high)
    assert ratios == pytest.approx((3.0, 3.0, 3.0))
    assert ranking.moves == ()
    every = [ratio for cells in found.ratios.values() for ratio in cells.values()]
    assert len(every) > 80
    assert every == pytest.approx([3.0] * len(every))
    assert found.words == [
        "With mobilenetv2, a network on B takes 3.00 x its time on A (nine of ten: 3.00 to 3.00 x);"
        " of two networks, the faster on A is the faster on B in 100 of 100 cases."
    ]


def test_units_that_lose_and_win_most(a, tmp_path):
    b = scaled(3.0, {CONVOLUTION: 60.0, "add 48 64x64": 0.5})
    found = compare_tables(a, saved(tmp_path / "b.json", b), networks=30)
    assert (found.slowest[0].entry, found.slowest[0].ratio) == (CONVOLUTION, pytest.approx(60))
    assert (found.fastest[0].entry, found.fastest[0].ratio) == ("add 48 64x64", pytest.approx(0.5))
    assert found.ratios["conv3x3"]["128x128"] == pytest.approx(60)
    assert found.ratios["conv3x3"]["64x64"] == pytest.approx(3)
    ranking = found.rankings["mobilenetv2"]
    assert ranking.spearman < 1
    assert ranking.ratio_high > 3.1
    document = found.document()
    assert document["slowest"][0] == {
        "entry": CONVOLUTION,
        "a_ms": 1.0,
        "b_ms": 60.0,
        "ratio": 60.0,
    }
    assert (document["a"]["precision"], document["b"]["precision"]) == ("fp32", "int8")


def test_a_unit_that_costs_nothing_has_no_ratio(a, tmp_path):
    found = compare_tables(a, saved(tmp_path / "b.json", scaled(3.0, {})), networks=10)
    assert "128x128" not in found.ratios["head of 4 maps"]
    assert not any(unit.entry.startswith("head 192") for unit in found.units)


def test_small_and_noisy_units_are_no_extremes(a, tmp_path):
    table = scaled(3.0, {CONVOLUTION: 60.0})
    noisy = table.entries[CONVOLUTION].model_copy(update={"iqr_ms": 40.0})
    table.entries[CONVOLUTION] = noisy
    small = made_table()
    for made in (small, table):
        entry = made.entries["add 48 16x16"]
        made.entries["add 48 16x16"] = entry.model_copy(update={"latency_ms": 1e-3, "iqr_ms": 0})
    b = saved(tmp_path / "b.json", table)
    found = compare_tables(saved(a, small), b, networks=10)
    entries = {unit.entry for unit in found.units}
    assert not entries & {CONVOLUTION, "add 48 16x16"}


def test_ranks():
    ranking = rank(GENOTYPES, [10.0, 20.0, 30.0, 40.0], [10.0, 60.0, 33.0, 40.0])
    assert ranking.spearman == pytest.approx(0.4)  # 1 - 6 * (2 ** 2 + 1 + 1) / (4 * 15)
    assert ranking.kendall == pytest.approx((4 - 2) / 6, abs=1e-4)
    assert ranking.ratio_median == pytest.approx(1.05)
    first, *others = ranking.moves
    assert first.genotype == str(GENOTYPES[1])
    assert (first.a_ms, first.b_ms, first.a_rank, first.b_rank) == (20.0, 60.0, 2, 4)
    assert {move.genotype for move in others} == {str(GENOTYPES[2]), str(GENOTYPES[3])}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"input_size": 256}, "b.json: input_size is (256, 256), in "),
        ({"classes": 11}, "b.json: classes is 11, in "),
        ({"aggregation": 32}, "b.json: aggregation is 32, in "),
        ({"encoders": ("ghostnet-0.25",)}, "b.json: encoders are ghostnet-0.25, in "),
        ({"working_sizes": [384, 256]}, "b.json: working_sizes are 384, 256, in "),
    ],
)
def test_tables_of_other_networks_are_refused(a, tmp_path, other, words):
    b = saved(tmp_path / "b.json", made_table(**other))
    with pytest.raises(DataError) as error:
        compare_tables(a, b)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_only_shared_working_sizes_are_compared(a, tmp_path):
    b = made_table(working_sizes=[256, 512])
    for name in ("mobilenetv2/stage1 3>24 512x512>64x64", "conv3x3 48 8x8"):
        b.entries[name] = b.entries[name].model_copy(update={"latency_ms": 1000.0})
    found = compare_tables(a, saved(tmp_path / "b.json", b), networks=10)
    assert list(found.rankings) == ["mobilenetv2"]
    assert found.rankings["mobilenetv2"].ratio_high == 1.0
    assert "mobilenetv2 at 256" not in found.ratios
    assert found.slowest[0].ratio == 1.0

    both = compare_tables(tmp_path / "b.json", tmp_path / "b.json", networks=10)
    assert list(both.rankings) == ["mobilenetv2 at 256", "mobilenetv2"]
    assert both.words[0].startswith("With mobilenetv2 at 256, a network on B takes 1.00 x")


def test_only_shared_encoders_are_compared(tmp_path):
    a = saved(tmp_path / "a.json", made_table(("mobilenetv2", "mobilenetv2-0.35")))
    b = saved(tmp_path / "b.json", made_table(("ghostnet-0.25", "mobilenetv2")))
    found = compare_tables(a, b, networks=10)
    assert list(found.rankings) == ["mobilenetv2"]
    assert "mobilenetv2-0.35" not in found.ratios
