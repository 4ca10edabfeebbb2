from pathlib import Path

import pytest

from export.system.errors import DataError, UsageError
from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.costs import network_costs
from toolchain.profiling.costing import cost_documents, load_tables

GENOTYPE = Genotype.parse("8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made_table(("mobilenetv2", "ghostnet-0.1"), working_sizes=[512, 384]).save(tmp_path / "t.json")
    return tmp_path / "t.json"


@pytest.mark.parametrize("working_sizes", [(), (512,), (384, 512)])
def test_a_table_that_has_the_working_sizes_is_read(path, working_sizes):
    tables = load_tables([path], 19, 512, ["ghostnet-0.1"], working_sizes)
    assert list(tables) == [str(path)]


@pytest.mark.parametrize(
    ("encoders", "working_sizes", "words"),
    [
        (
            ["mobilenetv2"],
            (512, 256),
            "has no entries for the working size 256; profile the device with "
            "--working-size 512 --working-size 384 --working-size 256 "
            "--encoder mobilenetv2 --encoder ghostnet-0.1",
        ),
        (
            ["ghostnet-0.5"],
            (),
            "has no entries for the encoder ghostnet-0.5; profile the device with "
            "--working-size 512 --working-size 384 "
            "--encoder mobilenetv2 --encoder ghostnet-0.1 --encoder ghostnet-0.5",
        ),
    ],
)
def test_a_table_without_them_is_refused(path, encoders, working_sizes, words):
    with pytest.raises(DataError) as error:
        load_tables([path], 19, 512, encoders, working_sizes)
    assert str(error.value) == f"{path}: {words}"


def test_a_table_without_its_own_input_size_is_refused_by_default(tmp_path):
    path = tmp_path / "t.json"
    made_table(working_sizes=[256]).save(path)
    with pytest.raises(DataError, match="no entries for the working size 512"):
        load_tables([path], 19, 512, ["mobilenetv2"])
    assert load_tables([path], 19, 512, ["mobilenetv2"], [256])


def test_a_table_of_a_device_elsewhere_is_welcome_by_name_where_it_may_be(tmp_path, caplog):
    far, stale = tmp_path / "far.json", tmp_path / "stale.json"
    made_table(device_name="Abacus 3000", runtime_version="0.1").save(far)
    made_table(runtime_version="0.1").save(stale)
    caplog.set_level("INFO")
    assert load_tables([far], 19, 512, ["mobilenetv2"], elsewhere=True)
    assert f"{far}: latencies are of another device, Abacus 3000" in caplog.text
    for refused, elsewhere in (far, False), (stale, True):
        with pytest.raises(DataError, match=r"device_name is Abacus|runtime_version is 0\.1"):
            load_tables([refused], 19, 512, ["mobilenetv2"], elsewhere=elsewhere)
        assert load_tables([refused], 19, 512, ["mobilenetv2"], elsewhere=elsewhere, force=True)


def test_documents_are_of_the_working_size(path):
    tables = load_tables([path], 19, 512, ["mobilenetv2"], [384])
    architectures = [Architecture(GENOTYPE), Architecture(GENOTYPE, working_size=384)]
    whole, small = cost_documents(architectures, tables=tables)
    assert (whole["working_size"], small["working_size"]) == (512, 384)
    wanted = network_costs(Architecture(GENOTYPE), input_size=384)
    assert small["flops"]["total"] == wanted.flops.total
    assert small["parameters"] == whole["parameters"]
    assert small["latency_ms"][str(path)]["median"] > 0
    with pytest.raises(UsageError, match="working size 384 is above the input size 256"):
        cost_documents(architectures[1:], input_size=256)
