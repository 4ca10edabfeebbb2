import json
import re

import pytest
from PIL import Image

from toolchain.datasets import open_dataset, resize_sample
from toolchain.search.run import Run, pick

SEARCH = [
    "search",
    *("--data", "synthetic:160"),
    *("--encoder", "ghostnet-0.1"),
    *("--branches", 2, "--cells", 2),
    *("--search-size", 64, "--search-images", 16, "--search-validation", 8),
    *("--batch-size", 8, "--decoder-epochs", 1),
    *("--objective", "params:50K:-0.3", "--objective", "flops:0.5G:-0.1"),
    *("--rescore", 2),
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
    assert set(document["trials"]) == {"complete", "failed", "pruned", "infeasible", "reused"}
    assert document["trials"]["complete"] == 5
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
    text = cli("pareto", run_folder).out
    numbers = {trial["id"]: trial["genotype"] for trial in document["pareto"]}
    shown = text.splitlines()
    assert all(f"{number:>4}  {genotype}" in shown for number, genotype in numbers.items())
    assert max(map(len, shown)) <= 100
    for mark in ("best", "knee"):
        assert document[mark] == pick(run_folder, mark)[0].id
        (row,) = [line for line in shown if mark in line]
        assert row.split()[0] == str(document[mark])
    wrong = cli("pareto", run_folder, "--objectives", "score,taste")
    assert (wrong.code, "'taste' is none of score" in wrong.err) == (2, True)


def test_the_front_is_of_those_that_were_scored_again(cli, run_folder):
    run = Run.load(run_folder)
    assert len(run.finalists) >= 2
    assert all(trial.search_score is not None for trial in run.finalists)
    document = cli("pareto", run_folder, "--json").document
    scores = {trial.id: (trial.score, trial.search_score) for trial in run.finalists}
    assert all(scores[t["id"]] == (t["score"], t["search_score"]) for t in document["pareto"])


def test_a_search_whose_files_changed_is_not_resumed(cli, tmp_path):
    images = tmp_path / "faces"
    for kind in ("images", "masks"):
        (images / kind).mkdir(parents=True)
    for sample in open_dataset("synthetic:160"):
        small = resize_sample(sample, 64)
        Image.fromarray(small.image).save(images / "images" / f"{sample.name}.png")
        Image.fromarray(small.labels).save(images / "masks" / f"{sample.name}.png")
    search = [str(images) if value == "synthetic:160" else value for value in SEARCH]
    assert cli(*search, "--run", tmp_path / "run", "--trials", 1).code == 0
    masks = sorted((images / "masks").iterdir())
    for mask, other in zip(masks, reversed(masks), strict=True):
        mask.with_suffix(".new").write_bytes(other.read_bytes())
    for mask in masks:
        mask.with_suffix(".new").replace(mask)
    result = cli(*search, "--run", tmp_path / "run", "--trials", 2, "--resume")
    assert result.code == 2
    assert "--data (images to score on) has changed since" in result.err


def test_ranking_a_run(cli, run_folder):
    assert cli(*SEARCH, "--run", run_folder, "--trials", 7, "--resume").code == 0
    few = cli("rank", run_folder, "--trials", 5, "--epochs", 1, "--images", 16, "--json")
    assert few.code == 0, few.err
    document = few.document
    assert {row["chosen"] for row in document["trials"]} == {"best", "random"}
    assert len(document["trials"]) == 5
    for kind in ("spearman", "kendall"):
        found = document[kind]
        assert found is None or -1 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert json.loads((run_folder / "rank.json").read_text()) == document
    again = cli("rank", run_folder, "--trials", 5)
    assert (again.code, "holds a ranking; add --resume" in again.err) == (2, True)
    other = cli("rank", run_folder, "--trials", 5, "--epochs", 2, "--resume")
    assert (other.code, "--epochs was 1, now it is 2" in other.err) == (2, True)
    large = cli("rank", run_folder, "--trials", 5, "--size", 4096, "--resume")
    assert (large.code, "--size is at most the --input-size of the run" in large.err) == (2, True)
    # What is known is not trained again.
    resumed = cli("rank", run_folder, "--epochs", 1, "--images", 16, "--trials", 6, "--resume")
    assert resumed.code == 0
    assert "Spearman" in resumed.out or "for a correlation" in resumed.out
    after = json.loads((run_folder / "rank.json").read_text())["trials"]
    assert [row for row in document["trials"] if row not in after] == []
    assert len(after) in (6, 7)
    page = run_folder / "report.html"
    assert cli("report", run_folder, "--output", page).code == 0
    assert "Score after a longer training" in page.read_text()
    whole = (run_folder / "rank.json").read_text()
    for damage in ('"result": "x", ', '"chosen": 3, '):
        key = damage.split(":")[0]
        broken = re.sub(f"{key}: [^,]*, ?", damage, json.dumps(json.loads(whole)))
        (run_folder / "rank.json").write_text(broken)
        found = cli("rank", run_folder, "--resume")
        assert (found.code, "rank.json: is no ranking" in found.err) == (2, True)
    (run_folder / "rank.json").write_text(whole)


def test_a_run_is_read_from_another_folder(cli, run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("pareto", run_folder).code == 0


def test_a_training_does_not_replace_a_search(cli, run_folder):
    result = cli(
        *("train", "--data", "synthetic:60", "--run", run_folder, "--pick", "best"),
        *("--output", run_folder, "--epochs", 1),
    )
    assert (result.code, "is of nastool search, not train" in result.err) == (2, True)
    assert Run.load(run_folder).trials


def test_ranking_a_run_without_enough_candidates(cli, tmp_path):
    assert cli(*SEARCH, "--run", tmp_path / "run", "--trials", 1).code == 0
    result = cli("rank", tmp_path / "run")
    assert result.code == 2
    assert "has 1 candidates that were trained to the end; an order needs 5" in result.err


def test_a_search_is_not_overwritten(cli, run_folder):
    result = cli(*SEARCH, "--run", run_folder, "--trials", 9)
    assert result.code == 2
    assert "holds a search already; add --resume" in result.err


def test_flags_come_from_a_file_and_flags_win(cli, tmp_path, run_folder):
    (tmp_path / "c.toml").write_text(
        'data = "synthetic:160"\nencoder = ["ghostnet-0.1"]\nbranches = 1\ncells = 1\n'
        "search-size = 64\nsearch-images = 16\nsearch-validation = 8\nbatch-size = 8\ntrials = 7\n"
    )
    result = cli(
        *("search", "--config", tmp_path / "c.toml", "--run", tmp_path / "run", "--trials", 1),
        "--json",
    )
    assert result.code == 0, result.err
    assert result.document["trials"]["complete"] == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["branches"] == 1


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--data", "synthetic:40"), "in its part search-train; 8 are needed there: about"),
        (("--part", "beard"), "no part is named 'beard'"),
        (("--seed", -1), "--seed"),
        (("--input-size", 33), "--input-size: Input should be a multiple of 32"),
        (("--input-size", 0), "--input-size"),
        (("--branches", 100_000), "--branches"),
        (("--timeout", "nan"), "'--timeout': nan is no finite number"),
        (("--bonus-limit", "inf"), "'--bonus-limit': inf is no finite number"),
        (("--objective", "params:1M:nan"), "the exponent is below 0"),
    ],
)
def test_a_search_that_cannot_begin_leaves_its_folder_free(cli, tmp_path, flags, problem):
    result = cli(*SEARCH, *flags, "--run", tmp_path / "run", "--trials", 1)
    assert (result.code, problem in result.err) == (2, True), result.err
    assert not (tmp_path / "run").exists()


def test_the_working_size_is_searched(cli, tmp_path):
    sizes = ("--input-size", 128, "--working-size", 64, "--working-size", 128)
    search = [*SEARCH, *sizes, "--algorithm", "random", "--every-epoch", "--no-early-stop"]
    result = cli(*search, "--run", tmp_path / "run", "--trials", 6, "--seed", 1, "--json")
    assert result.code == 0
    trials = Run.load(tmp_path / "run").trials
    assert {trial.working_size for trial in trials} == {64, 128}
    assert {trial["working_size"] for trial in result.document["pareto"]} <= {64, 128}
    # Everything but the first map, which follows from the image, has a quarter of the pixels.
    assert {trial.pixels for trial in trials} == {64 * 64, 128 * 128}
    made = cli("space", "make", tmp_path / "run", "--output", tmp_path / "space.json")
    assert (made.code, "has 6 candidates trained to the end, a surrogate needs 30" in made.err) == (
        2,
        True,
    )


def test_a_working_size_that_does_not_fit_is_one_line(cli, tmp_path):
    for size in (100, 640):
        result = cli(*SEARCH, "--run", tmp_path / "run", "--working-size", size)
        assert result.code == 2
        assert "--working-size is a multiple of 32, at most the --input-size of 512" in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
