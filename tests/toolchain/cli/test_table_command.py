import json
from pathlib import Path

import pytest

from tests.toolchain.profiling.made_tables import made_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made_table(("mobilenetv2", "ghostnet-0.25"), device_name="Abacus 3000").save(
        tmp_path / "table.json"
    )
    return tmp_path / "table.json"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    made_table(precision="int8").save(tmp_path / "other.json")
    return tmp_path / "other.json"


def test_show_reads_a_table_of_another_machine(cli, path):
    document = cli("table", "show", path, "--json").document
    assert document["table"] == str(path)
    assert document["device_name"] == "Abacus 3000"
    assert document["certificate"] is None
    assert document["entries"] == len(json.loads(path.read_text())["entries"])
    assert document["latency_ms"]["conv3x3"]["128x128"] == 1.0
    assert document["latency_ms"]["mobilenetv2"]["16x16"] == 2.0
    assert set(document["share_percent"]) == {"mobilenetv2", "ghostnet-0.25"}
    assert {"subject", "text", "ratio"} == set(document["advice"][0])


def test_show_prints_figures_and_words(cli, path):
    result = cli("table", "show", path)
    assert result.code == 0
    assert "Abacus 3000 (cpu), onnxruntime" in result.out
    assert "no certificate" in result.out
    assert "slowest entries" in result.out
    assert "- At 128x128, conv3x3 is the cheapest operation" in result.out


def test_compare(cli, path, other):
    document = cli("table", "compare", path, other, "--json").document
    assert document["a"]["device_name"] == "Abacus 3000"
    assert document["b"]["precision"] == "int8"
    assert document["networks"]["mobilenetv2"]["networks"] == 500
    assert document["networks"]["mobilenetv2"]["spearman"] == 1.0
    text = cli("table", "compare", path, other).out
    assert "B / A" in text
    assert "With mobilenetv2, a network on B takes 1.00 x its time on A" in text
    assert "classes" not in text  # what both have in common is not listed


def test_tables_of_several_working_sizes(cli, path, tmp_path):
    sizes = tmp_path / "sizes.json"
    made_table(working_sizes=[512, 384], precision="int8").save(sizes)
    document = cli("table", "show", sizes, "--json").document
    assert document["working_sizes"] == [512, 384]
    assert document["latency_ms"]["mobilenetv2 at 384"]["96x96"] == 2.0
    assert set(document["share_percent"]) == {"mobilenetv2", "mobilenetv2 at 384"}
    text = cli("table", "show", sizes).out
    assert "512x512 (working sizes 512, 384), 19 classes" in text
    assert "at the working size 384 that it takes at 512" in text
    assert "working sizes" not in cli("table", "show", path).out
    assert list(cli("table", "compare", path, sizes, "--json").document["networks"]) == [
        "mobilenetv2"
    ]
    assert list(cli("table", "compare", sizes, sizes, "--json").document["networks"]) == [
        *("mobilenetv2", "mobilenetv2 at 384")
    ]


def test_plot(cli, path, tmp_path):
    output = tmp_path / "page.html"
    document = cli("table", "plot", path, "--output", output, "--json").document
    assert document == {
        "output": str(output),
        "table": str(path),
        "networks": 0,
        "only_worst": False,
    }
    assert output.stat().st_size > 10**6


def test_the_group_is_lazy_and_says_what_is_in_it(cli):
    result = cli("table", "--help")
    assert result.code == 0
    for command in ("show", "compare", "plot"):
        assert command in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table", "draw"], "nastool table: No such command 'draw'"),
        (["table", "show"], "nastool table show: Missing argument 'TABLE'"),
        (["table", "show", "{}/missing.json"], "missing.json: does not exist"),
        (["table", "show", "{}/edited.json"], "edited.json: checksum does not fit"),
        (["table", "plot", "{}/truncated.json", "--output", "{}/x.html"], "truncated.json: is not"),
        (["table", "compare", "{}/newer.json", "{}/table.json"], "newer.json: schema_version is 2"),
        (["table", "compare", "{}/table.json", "{}/small.json"], "small.json: input_size is (256,"),
        (
            ["table", "compare", "{}/table.json", "{}/half.json"],
            "half.json: working_sizes are 256, in ",
        ),
    ],
)
def test_bad_tables_are_one_line(cli, path, tmp_path, arguments, words):
    text = path.read_text()
    (tmp_path / "edited.json").write_text(text.replace('"latency_ms": 1.0', '"latency_ms": 0.5', 1))
    (tmp_path / "truncated.json").write_text(text[:3000])
    (tmp_path / "newer.json").write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    made_table(input_size=256).save(tmp_path / "small.json")
    made_table(working_sizes=[256]).save(tmp_path / "half.json")
    result = cli(*(argument.format(tmp_path) for argument in arguments))
    assert result.code == 2
    assert words in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""
    assert not (tmp_path / "x.html").exists()


def test_no_command_is_help(cli):
    assert cli("table").code == 2
