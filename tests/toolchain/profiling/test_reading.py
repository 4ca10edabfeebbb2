import pytest

from export.system.errors import UsageError
from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import Unit
from toolchain.profiling.backbone import Backbone
from toolchain.profiling.entries import recipes
from toolchain.profiling.networks import Shape
from toolchain.profiling.reading import (
    Reading,
    corrected_ms,
    read_table,
    resolutions,
    shares_of,
    unit_of,
)

GENOTYPE = Genotype.parse("8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]")
MOBILENET = Backbone("mobilenetv2")
SIZES = ["128x128", "64x64", "32x32", "16x16"]


@pytest.fixture(scope="module")
def reading(tmp_path_factory) -> Reading:
    path = tmp_path_factory.mktemp("tables") / "table.json"
    made_table(("mobilenetv2", "ghostnet-0.25"), device_name="Abacus 3000").save(path)
    return read_table(path)


def test_names_are_read_back():
    backbones = [Backbone("mobilenetv2"), Backbone("ghostnet-0.25", 384)]
    units = [unit for recipe in recipes(Shape(), backbones) for unit in recipe.units]
    assert len(units) > 180
    assert [unit_of(unit.name) for unit in units] == units


@pytest.mark.parametrize("name", ["", "conv3x3", "conv3x3 48", "conv3x3 a 8x8", "conv3x3 48 8"])
def test_another_name_is_an_error(name):
    with pytest.raises(UsageError, match="is not the name of an entry"):
        unit_of(name)


def test_a_cost_is_an_entry_times_its_weight():
    table = made_table()
    stage = unit_of("mobilenetv2/stage1 3>24 512x512>128x128")
    assert corrected_ms(table, [stage]) == pytest.approx(2.0)
    assert corrected_ms(table, [stage, unit_of("conv3x3 48 128x128")]) == pytest.approx(3.0)


def test_the_spread_is_scaled_like_the_cost(reading):
    stage = reading.grid["mobilenetv2"]["128x128"]
    assert (stage.latency_ms, stage.iqr_ms) == pytest.approx((2.0, 0.2))


def test_the_grid_has_every_entry_in_its_place(reading):
    grid = reading.grid
    assert resolutions(grid.values()) == SIZES
    assert list(grid["conv3x3"]) == SIZES
    assert list(grid["upsample_add from 32x32"]) == SIZES[:2]
    assert grid["head of 3 maps"]["64x64"].unit == Unit("head", 144, 48, (64, 64), (64, 64))
    assert grid["labels"]["16x16"].unit.to == (512, 512)
    assert grid["ghostnet-0.25"]["16x16"].unit.kind == "stage4"
    assert list(grid["adapt mobilenetv2"]) == list(grid["adapt ghostnet-0.25"]) == SIZES
    assert {cost.unit for cells in grid.values() for cost in cells.values()} == {
        cost.unit for cost in reading.costs
    }


def test_the_grid_tells_working_sizes_apart(tmp_path):
    made_table(working_sizes=[512, 384, 256]).save(tmp_path / "table.json")
    reading = read_table(tmp_path / "table.json")
    grid = reading.grid
    assert resolutions(grid.values()) == [
        *("128x128", "96x96", "64x64", "48x48", "32x32", "24x24", "16x16", "12x12", "8x8")
    ]
    # What is done at 64x64 costs the same at either size; the stages that end there do not.
    assert list(grid["conv3x3"]) == resolutions(grid.values())
    assert list(grid["mobilenetv2"]) == SIZES
    assert list(grid["mobilenetv2 at 384"]) == ["96x96", "48x48", "24x24", "12x12"]
    assert grid["mobilenetv2"]["64x64"].unit.kind == "stage2"
    first = grid["mobilenetv2 at 256"]["64x64"].unit
    assert first.name == "mobilenetv2/stage1 3>24 512x512>64x64"
    assert list(grid["adapt mobilenetv2 at 256"]) == ["64x64", "32x32", "16x16", "8x8"]
    assert grid["adapt mobilenetv2"]["64x64"].unit.inputs == 32
    assert grid["adapt mobilenetv2 at 256"]["64x64"].unit.inputs == 24
    assert grid["labels"]["8x8"].unit.to == (512, 512)
    # No two entries in one cell.
    assert {cost.unit for cells in grid.values() for cost in cells.values()} == {
        cost.unit for cost in reading.costs
    }
    assert list(reading.shares) == ["mobilenetv2", "mobilenetv2 at 384", "mobilenetv2 at 256"]
    assert reading.document()["working_sizes"] == [512, 384, 256]


def test_milliseconds_per_gflop(reading):
    gflop = 2 * 128 * 128 * 48 * 48 * 9 / 1e9
    assert reading.grid["conv3x3"]["128x128"].ms_per_gflop == pytest.approx(1 / gflop)
    assert reading.grid["global_average_pool"]["128x128"].ms_per_gflop is None
    assert reading.grid["add"]["128x128"].ms_per_gflop is None


def test_the_slowest_come_first(reading):
    # Adapt, labels, heads of one map and upsampling with a sum are of 3 ms, all else of less.
    assert [cost.latency_ms for cost in reading.slowest] == pytest.approx([3.0] * 10)


def test_shares_of_one_network():
    table = made_table()
    plan = table.plan(Architecture(GENOTYPE, "mobilenetv2"))
    encoder = 2.0 * len(plan.encoder)
    decoder = sum(table.entries[unit.name].latency_ms for unit in plan.decoder)
    total = encoder + decoder + 3.0 + 0.5
    shares = shares_of(table, MOBILENET, [GENOTYPE])
    assert shares.latency_ms == pytest.approx(total)
    assert shares.encoder == pytest.approx(100 * encoder / total)
    assert shares.decoder == pytest.approx(100 * decoder / total)
    assert shares.tail == pytest.approx(300 / total)
    assert shares.constant == pytest.approx(50 / total)


def test_shares_are_those_at_the_working_size():
    table = made_table(working_sizes=[512, 256])
    stages = [name for name in table.entries if name.startswith("mobilenetv2/stage")]
    for name in stages:
        if "512x512>64x64" in name:
            entry = table.entries[name].model_copy(update={"latency_ms": 11.0})
            table.entries[name] = entry
    whole = shares_of(table, MOBILENET, [GENOTYPE])
    small = shares_of(table, Backbone("mobilenetv2", 256), [GENOTYPE])
    assert len(stages) == 8
    # The weight of the encoder is 2; all other entries are the same at both sizes.
    assert small.latency_ms == pytest.approx(whole.latency_ms + 20.0)


def test_shares_are_averaged_by_network():
    table = made_table()
    other = Genotype.parse("1 [0,1]")
    one, two = (shares_of(table, MOBILENET, [g]) for g in (GENOTYPE, other))
    both = shares_of(table, MOBILENET, [GENOTYPE, other])
    assert both.encoder == pytest.approx((one.encoder + two.encoder) / 2)


def test_shares_of_random_networks_add_up(reading):
    assert set(reading.shares) == {"mobilenetv2", "ghostnet-0.25"}
    for shares in reading.shares.values():
        total = shares.encoder + shares.decoder + shares.tail + shares.constant
        assert total == pytest.approx(100)
    again = read_table(reading.path)
    assert again.shares == reading.shares
