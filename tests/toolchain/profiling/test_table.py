import json
import random
from pathlib import Path

import jsonschema
import pytest

from export.machine import processor
from export.system.errors import DataError
from tests.export.fake_gpus import fake_gpus
from tests.toolchain.profiling.made_tables import made_table
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.networks.blueprint import Unit, blueprint
from toolchain.profiling.table import LatencyTable, table_schema

GENOTYPE = Genotype.parse("8 [1,1,1,10] [4,3,1,3] [0,1] [2,0]")
TABLES = Path(__file__).parents[3] / "latency_tables"
SCHEMA = TABLES / "schema.json"


@pytest.fixture
def path(tmp_path) -> Path:
    made_table().save(tmp_path / "table.json")
    return tmp_path / "table.json"


def edited(path: Path, change) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_prediction_is_the_corrected_sum():
    table = made_table()
    plan = table.plan(Architecture(GENOTYPE, "mobilenetv2"))
    stages, others = len(plan.encoder), [*plan.decoder, *plan.labels]
    wanted = 0.5 + 2.0 * stages + sum(table.entries[unit.name].latency_ms for unit in others)
    found = table.predict(plan)
    assert found.median == pytest.approx(wanted)
    assert (found.low, found.high) == pytest.approx((0.9 * wanted, 1.1 * wanted))
    assert found.extrapolated == ()
    assert table.predict(plan) == found


def test_a_network_that_ignores_its_image_costs_its_labels_only():
    table = made_table()
    found = table.predict(table.plan(Architecture(Genotype.parse("10 [0,1]"), "mobilenetv2")))
    entry = table.entries[Unit("constant", 19, 19, (128, 128), (128, 128)).name]
    assert found.median == pytest.approx(0.5 + entry.latency_ms)


def test_wide_heads_are_extrapolated_and_flagged():
    table = made_table()
    for maps, ms in enumerate((1.0, 2.0, 3.0, 4.5), 1):
        name = Unit("head", 48 * maps, 48, (128, 128), (128, 128)).name
        table.entries[name] = table.entries[name].model_copy(update={"latency_ms": ms})
    five = Genotype.parse("1 [0,1] [0,1] [0,1] [0,1] [0,1] [0,1]")
    four = Genotype.parse("1 [0,1] [0,1] [0,1] [0,1]")
    wide = table.predict(table.plan(Architecture(five, "mobilenetv2")))
    narrow = table.predict(table.plan(Architecture(four, "mobilenetv2")))
    assert wide.extrapolated == ("head 288>48 128x128",)
    assert narrow.extrapolated == ()
    merges = [
        unit
        for unit in table.plan(Architecture(five, "mobilenetv2")).decoder
        if unit.kind != "head"
    ]
    fewer = [
        unit
        for unit in table.plan(Architecture(four, "mobilenetv2")).decoder
        if unit.kind != "head"
    ]
    added = sum(table.entries[unit.name].latency_ms for unit in merges) - sum(
        table.entries[unit.name].latency_ms for unit in fewer
    )
    # 4.5 ms for four maps, and 1.5 ms for each further one.
    assert wide.median - narrow.median == pytest.approx(added + 3.0)


def test_a_missing_entry_is_an_error_that_says_what_to_run():
    table = made_table()
    plan = blueprint(Architecture(GENOTYPE, "ghostnet-0.25"), pruned=True)
    with pytest.raises(DataError, match=r"no entry 'ghostnet-0\.25/stage1.*profile-device --enc"):
        table.predict(plan)


@pytest.mark.parametrize(
    ("architecture", "made", "flags"),
    [
        (
            Architecture(GENOTYPE, "mobilenetv2", 256),
            {},
            "--working-size 512 --working-size 256 --encoder mobilenetv2",
        ),
        (Architecture(GENOTYPE, "mobilenetv2-0.5"), {}, "--encoder mobilenetv2 --encoder mob"),
        (
            Architecture(GENOTYPE, "mobilenetv2", 384),
            {"working_sizes": [256]},
            "--working-size 256 --working-size 384 --encoder mobilenetv2",
        ),
        (
            Architecture(GENOTYPE, "mobilenetv2-0.5", 256),
            {"working_sizes": [256]},
            "--working-size 256 --encoder mobilenetv2 --encoder mobilenetv2-0.5",
        ),
        # Without a stage that tells, the reader is to look.
        (Architecture(Genotype.parse("10 [0,1]"), "mobilenetv2", 96), {}, "--encoder mobilenetv2"),
    ],
)
def test_the_remedy_of_a_missing_entry_has_the_flags(architecture, made, flags):
    table = made_table(**made)
    with pytest.raises(DataError) as error:
        table.predict(table.plan(architecture))
    assert f"nastool profile-device {flags}" in str(error.value)
    assert "(see also --input-size, --working-size and --classes)" in str(error.value)


def test_a_prediction_is_of_the_working_size():
    table = made_table(working_sizes=[512, 384])
    kinds = ("conv3x3", "sep_conv_3x3", "sep_conv_5x5")
    for name, entry in table.entries.items():
        if name.startswith(kinds):
            ms = 10.0 if name.split("x")[-1] in ("96", "48", "24", "12") else 1.0
            table.entries[name] = entry.model_copy(update={"latency_ms": ms})
    plan = table.plan(Architecture(GENOTYPE))
    operations = sum(unit.kind.startswith(kinds) for unit in plan.units)
    whole = table.predict(plan).median
    small = table.predict(table.plan(Architecture(GENOTYPE, working_size=384))).median
    assert operations > 3
    assert small == pytest.approx(whole + 9 * operations)
    assert table.predict(table.plan(Architecture(GENOTYPE, working_size=512))).median == whole


@pytest.mark.parametrize("path", sorted(TABLES.glob("*t.json")), ids=lambda path: path.stem)
def test_shipped_tables_predict_what_their_certificates_say(path):
    table = LatencyTable.load(path)
    assert len(table.certificate.cases) >= 50
    for case in table.certificate.cases:
        found = table.predict(table.plan(case.architecture))
        assert found.median == pytest.approx(case.predicted_ms, abs=1e-3)


def test_a_table_from_before_working_sizes_is_of_its_input_size(path):
    table = LatencyTable.load(edited(path, lambda d: d["provenance"].pop("working_sizes")))
    assert table.provenance.working_sizes == [512]
    assert table.provenance == made_table().provenance
    assert [str(backbone) for backbone in table.provenance.backbones] == ["mobilenetv2"]


def test_round_trip(path):
    table = LatencyTable.load(path)
    assert table.entries == made_table().entries
    plan = table.plan(Architecture(GENOTYPE, "mobilenetv2"))
    assert table.predict(plan) == made_table().predict(plan)
    assert path.stat().st_size < 300_000
    lines = [line for line in path.read_text().splitlines() if "latency_ms" in line]
    assert len(lines) == len(table.entries)


def test_files_follow_the_published_schema(path):
    schema = json.loads(SCHEMA.read_text())
    assert schema == json.loads(json.dumps(table_schema())), "write latency_tables/schema.json anew"
    jsonschema.validate(json.loads(path.read_text()), schema)


def test_an_edited_table_is_refused(path):
    def change(document):
        document["entries"]["conv1x1 48 128x128"]["latency_ms"] *= 0.5

    with pytest.raises(DataError, match=r"table\.json: checksum .* edited"):
        LatencyTable.load(edited(path, change))


def test_an_edited_correction_is_refused(path):
    with pytest.raises(DataError, match="checksum"):
        LatencyTable.load(edited(path, lambda d: d["correction"].update(constant_ms=0.1)))


@pytest.mark.parametrize(
    ("field", "value"), [("encoders", []), ("anchor", {"factor": 0, "error": 0, "networks": 3})]
)
def test_impossible_provenance_is_refused(path, field, value):
    with pytest.raises(DataError, match=field):
        LatencyTable.load(edited(path, lambda d: d["provenance"].update({field: value})))


def test_a_newer_table_is_refused(path):
    with pytest.raises(DataError, match=r"schema_version is 2.*update nastool"):
        LatencyTable.load(edited(path, lambda d: d.update(schema_version=2)))


def test_a_field_that_is_missing_is_named(path):
    with pytest.raises(DataError, match=r"provenance\.threads: Field required"):
        LatencyTable.load(edited(path, lambda d: d["provenance"].pop("threads")))


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema_version": "new"}'])
def test_another_json_file_is_refused(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(DataError, match="is not a latency table"):
        LatencyTable.load(tmp_path / "other.json")


def test_a_truncated_table_is_refused(path):
    path.write_text(path.read_text()[:2000])
    with pytest.raises(DataError, match="truncated"):
        LatencyTable.load(path)


def of_cpu(**fields):
    """Return the provenance of a processor that differs from this one."""
    return {"environment": {"cpu": {**processor.describe(), **fields}}}


@pytest.mark.parametrize(
    ("made", "used", "field"),
    [
        ({"device_name": "Abacus 3000"}, {}, "device_name is Abacus 3000"),
        ({"runtime_version": "0.1"}, {}, "runtime_version is 0.1"),
        ({}, {"threads": 5}, "threads is 2, here it is 5"),
        ({}, {"precision": "int8"}, "precision is fp32, here it is int8"),
        (of_cpu(family="6"), {}, "cpu family is 6"),
        (of_cpu(number="-1"), {}, "cpu number is -1"),
        (of_cpu(vector=["mmx"]), {}, "cpu vector is mmx"),
        (of_cpu(vector=[]), {}, "cpu vector is none"),
        (of_cpu(parts=["0x41/0xd0b"]), {}, "cpu parts is 0x41/0xd0b"),
        (of_cpu(board="Raspberry Pi 5"), {}, "cpu board is Raspberry Pi 5"),
        ({"settings": {"copies": True}}, {"settings": {"copies": False}}, "setting copies is True"),
        ({"device": "cuda:0", "device_name": "a GPU"}, {}, "device_name is a GPU, here it is unk"),
        ({"device": "cuda:0", "device_name": "None"}, {}, "device_name is None, here it is unkn"),
    ],
)
def test_a_table_of_something_else_is_refused_unless_forced(tmp_path, made, used, field):
    made_table(**made).save(tmp_path / "table.json")
    table = LatencyTable.load(tmp_path / "table.json")
    with pytest.raises(DataError, match=f"table.json: {field}"):
        table.check_matches(**used)
    table.check_matches(**used, force=True)


def test_a_table_of_another_driver_is_refused(monkeypatch):
    fake_gpus(monkeypatch, ["a fake GPU"])
    described = {"gpus": [{"name": "a fake GPU", "compute_capability": "9.0", "driver": "535.1"}]}
    made = {"device": "cuda:0", "device_name": "a fake GPU"}
    made_table(**made).check_matches()
    with pytest.raises(DataError, match=r"gpu driver is 535.1, here it is 580.1"):
        made_table(**made, environment=described).check_matches()


@pytest.mark.parametrize(("share", "rough"), [(0.0, False), (0.1, False), (0.25, True)])
def test_a_table_of_several_speeds_says_so(tmp_path, caplog, share, rough):
    made_table(at_other_speeds=share).save(tmp_path / "table.json")
    LatencyTable.load(tmp_path / "table.json")
    assert ("25% of it measured at another speed of the machine" in caplog.text) is rough


@pytest.mark.parametrize(("max_drift", "rough"), [(0.1, False), (0.3, False), (10, True)])
def test_rough_measuring_is_said_of_a_table(tmp_path, caplog, max_drift, rough):
    made_table(max_drift=max_drift).save(tmp_path / "table.json")
    LatencyTable.load(tmp_path / "table.json")
    assert ("--max-drift 1000" in caplog.text) is rough


def test_a_table_of_this_machine_is_accepted(path):
    LatencyTable.load(path).check_matches(threads=2, precision="fp32")


def test_any_genotype_has_a_prediction():
    table = made_table(encoders=("mobilenetv2", "ghostnet-0.1"))
    generator = random.Random(0)
    for _ in range(200):
        genotype = Genotype.sample(generator, generator.randint(1, 5), generator.randint(1, 6))
        for encoder in table.provenance.encoders:
            prediction = table.predict(table.plan(Architecture(genotype, encoder)))
            assert 0 < prediction.low < prediction.median < prediction.high
