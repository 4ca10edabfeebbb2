import json

import pytest

from toolchain.search.run import Run

SEARCH = [
    "search",
    *("--data", "synthetic:24"),
    *("--encoder", "ghostnet-0.1"),
    *("--branches", 2, "--cells", 2),
    *("--search-size", 64, "--search-images", 16, "--search-validation", 6),
    *("--batch-size", 8, "--decoder-epochs", 1),
    *("--objective", "params:50K:-0.3", "--objective", "flops:0.5G:-0.1"),
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    from toolchain.cli import run

    path = tmp_path_factory.mktemp("search") / "run"
    assert run([*map(str, SEARCH), "--run", str(path), "--trials", "3", "--json"]) == 0
    return path


def test_a_search_goes_on_and_says_what_was_promised(cli, run_folder):
    result = cli(*SEARCH, "--run", run_folder, "--trials", 5, "--resume", "--json")
    assert result.code == 0
    document = result.document
    assert {"run", "trials", "seconds", "pareto"} <= set(document)
    assert set(document["trials"]) == {"complete", "failed", "pruned", "reused"}
    assert document["trials"]["complete"] + document["trials"]["reused"] == 5
    keys = {"id", "genotype", "encoder", "score", "parameters", "flops", "latency_ms"}
    assert all(keys <= set(trial) for trial in document["pareto"])
    # A line for each candidate, on stderr.
    assert "5/5  best" in result.err
    assert "3/5" not in result.err
    trials = Run.load(run_folder).trials
    assert [trial.id for trial in trials] == list(range(len(trials)))
    saved = json.loads((run_folder / "config.json").read_text())
    assert saved["objectives"] == ["params:50K:-0.3", "flops:0.5G:-0.1"]


def test_pareto(cli, run_folder):
    document = cli("pareto", run_folder, "--json").document
    assert document["objectives"] == ["score", "params", "flops"]
    text = cli("pareto", run_folder, "--objectives", "score,params").out
    assert all(trial["genotype"] in text for trial in document["pareto"][:1])
    wrong = cli("pareto", run_folder, "--objectives", "score,taste")
    assert (wrong.code, "'taste' is none of score" in wrong.err) == (2, True)


def test_a_search_is_not_overwritten(cli, run_folder):
    result = cli(*SEARCH, "--run", run_folder, "--trials", 9)
    assert result.code == 2
    assert "holds a search already; add --resume" in result.err


def test_flags_come_from_a_file_and_flags_win(cli, tmp_path, run_folder):
    (tmp_path / "c.toml").write_text(
        'data = "synthetic:24"\nencoder = ["ghostnet-0.1"]\nbranches = 1\ncells = 1\n'
        "search-size = 64\nsearch-images = 16\nsearch-validation = 6\nbatch-size = 8\ntrials = 7\n"
    )
    result = cli(
        *("search", "--config", tmp_path / "c.toml", "--run", tmp_path / "run", "--trials", 1),
        "--json",
    )
    assert result.code == 0, result.err
    assert result.document["trials"]["complete"] == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["branches"] == 1


def test_a_search_that_cannot_begin_leaves_its_folder_free(cli, tmp_path):
    wrong = [value if value != 16 else 99 for value in SEARCH]
    result = cli(*wrong, "--run", tmp_path / "run", "--trials", 1)
    assert (result.code, "lower --search-images" in result.err) == (2, True)
    assert not (tmp_path / "run").exists()
