import json

import pytest

from tests.toolchain.profiling.made_tables import made_table

GENOTYPE = "[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.json"
    made_table().save(path)
    return path


def test_one_genotype(cli, table):
    result = cli("cost", GENOTYPE, "--latency-table", table, "--json")
    assert result.code == 0, result.err
    document = result.document
    assert document["genotype"] == GENOTYPE
    assert document["parameters"] == {
        "encoder": 1_812_800,
        "decoder": 241_027,
        "total": 2_053_827,
    }
    assert document["flops"] == {
        "encoder": 3_053_912_064,
        "decoder": 4_335_796_224,
        "total": 7_389_708_288,
        "convention": "2*MAC",
    }
    assert document["pruned"]["parameters"]["total"] < document["parameters"]["total"]
    assert document["pruned"]["flops"]["total"] < document["flops"]["total"]
    latency = document["latency_ms"][str(table)]
    assert latency["low"] < latency["median"] < latency["high"]


def test_text_and_drawing(cli, table):
    result = cli("cost", GENOTYPE, "--latency-table", table, "--drawing")
    assert result.code == 0, result.err
    assert "n2 = conv3x3(n1)" in result.out
    assert "2.054 M" in result.out
    assert "ms by" in result.out


def test_batch(cli, table, tmp_path):
    batch = tmp_path / "genotypes.txt"
    batch.write_text(f"{GENOTYPE}\n\n1 [0,1]\n")
    result = cli("cost", "--batch", batch, "--latency-table", table, "--json")
    assert [document["genotype"] for document in result.document] == [GENOTYPE, "[[1], [[0, 1]]]"]
    one = cli("cost", GENOTYPE, "--latency-table", table, "--json").document
    assert result.document[0] == one
    text = cli("cost", "--batch", batch, "--latency-table", table).out
    assert "[[1], [[0, 1]]]" in text


def test_another_encoder_and_size(cli):
    small = cli("cost", GENOTYPE, "--input-size", "256", "--json").document
    assert small["flops"]["decoder"] == 4_335_796_224 // 4
    assert small["latency_ms"] == {}
    ghostnet = cli("cost", GENOTYPE, "--encoder", "ghostnet-0.25", "--json").document
    assert ghostnet["encoder"] == "ghostnet-0.25"
    assert ghostnet["parameters"]["encoder"] < 200_000


def test_a_working_size(cli, tmp_path):
    path = tmp_path / "table.json"
    made_table(working_sizes=[512, 256]).save(path)
    arguments = ("cost", GENOTYPE, "--latency-table", path)
    whole = cli(*arguments, "--json").document
    assert whole["working_size"] == 512
    assert cli(*arguments, "--working-size", "512", "--json").document == whole
    small = cli(*arguments, "--working-size", "256", "--json").document
    assert small["working_size"] == 256
    assert small["flops"]["decoder"] == 4_335_796_224 // 4
    assert small["parameters"] == whole["parameters"]
    assert small["latency_ms"][str(path)]["median"] > 0
    assert "mobilenetv2 at 256" in cli(*arguments, "--working-size", "256").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a GENOTYPE or --batch FILE"),
        ([GENOTYPE, "--batch", "{tmp}/bad.txt"], "and not both"),
        (["[[11], [[0, 1]]]"], "operation 0: 11 is not one of 0..10"),
        (["--batch", "{tmp}/none.txt"], "none.txt: does not exist"),
        (["--batch", "{tmp}/bad.txt"], "bad.txt: line 2: "),
        (["--batch", "{tmp}/empty.txt"], "empty.txt: holds no genotype"),
        ([GENOTYPE, "--encoder", "vgg"], "no encoder is named 'vgg'"),
        ([GENOTYPE, "--latency-table", "{tmp}/none.json"], "none.json: does not exist"),
        ([GENOTYPE, "--latency-table", "{tmp}/cut.json"], "cut.json: is not JSON"),
        (
            [GENOTYPE, "--latency-table", "{tmp}/table.json", "--classes", "11"],
            "classes is 19, not 11",
        ),
        ([GENOTYPE, "--latency-table", "{tmp}/far.json"], "far.json: device_name is Abacus"),
        ([GENOTYPE, "--working-size", "100"], "100 is no multiple of 32"),
        ([GENOTYPE, "--working-size", "0"], "0 is not in the range 32<=x<=8192"),
        (
            [GENOTYPE, "--working-size", "544", "--latency-table", "{tmp}/table.json"],
            "the working size 544 is above the input size 512",
        ),
        (
            [GENOTYPE, "--working-size", "256", "--latency-table", "{tmp}/table.json"],
            "table.json: has no entries for the working size 256; profile the device with "
            "--working-size 512 --working-size 256 --encoder mobilenetv2",
        ),
        (
            [GENOTYPE, "--latency-table", "{tmp}/table.json", "--encoder", "ghostnet-0.1"],
            "--encoder mobilenetv2 --encoder ghostnet-0.1",
        ),
    ],
)
def test_wrong_use_is_one_line(cli, table, tmp_path, arguments, words):
    (tmp_path / "bad.txt").write_text("1 [0,1]\n1 [0,9]\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "cut.json").write_text(table.read_text()[:100])
    made_table(device_name="Abacus").save(tmp_path / "far.json")
    result = cli("cost", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.code == 2
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""


def test_a_table_of_another_machine_can_be_forced(cli, tmp_path):
    path = tmp_path / "far.json"
    made_table(device_name="Abacus").save(path)
    result = cli("cost", GENOTYPE, "--latency-table", path, "--force", "--json")
    assert json.loads(result.out)["latency_ms"][str(path)]["median"] > 0


def test_encoders(cli):
    documents = cli("encoders", "--json").document
    first = {document["name"]: document for document in documents}["mobilenetv2"]
    assert first["parameters"] == 1_812_800
    assert first["flops"] == 3_053_912_064
    assert first["taps"] == [24, 32, 96, 320]
    assert "torchvision's mobilenet_v2" in first["published"]
    assert {document["published"] is None for document in documents} == {True, False}
    assert "ghostnet-0.25" in cli("encoders").out
