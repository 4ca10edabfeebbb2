import json
import re
from dataclasses import replace

import pytest
import torch

from toolchain.cli import run
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.search.run import Run
from toolchain.training.checkpoints import CheckpointInfo, read_checkpoint, save_checkpoint

TINY = [
    "--data", "synthetic:8", "--input-size", "64", "--batch-size", "4", "--epochs", "1",
]  # fmt: skip
GENOTYPE = "2 [0,1,0,9] [0,1] [2,4]"


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_train_says_what_it_made(cli, tmp_path):
    arguments = ["--genotype", GENOTYPE, "--encoder", "ghostnet-0.1", "--output", tmp_path / "a"]
    result = cli("train", *TINY, *arguments, "--json")
    assert result.code == 0
    assert set(result.document) == {"checkpoint", "epochs", "seconds", "metrics", "page"}
    assert result.document["checkpoint"] == str(tmp_path / "a" / "best.pt")
    assert result.document["page"] == str(tmp_path / "a" / "training.html")
    assert (tmp_path / "a" / "training.html").stat().st_size > 4_000_000
    assert result.document["epochs"] == 1
    assert "epoch 1/1: loss" in result.err
    again = cli("train", *TINY, *arguments)
    assert (again.code, again.out) == (2, "")
    assert "--resume" in again.err
    resumed = cli("train", *TINY, *arguments, "--resume")
    assert resumed.code == 0
    assert "mean f1" in resumed.out


def test_pretrained_weights_start_a_training_and_teach_it(cli, tmp_path):
    first = cli(
        "pretrain", *TINY, "--encoder", "ghostnet-0.1", "--output", tmp_path / "e", "--json"
    )
    assert first.code == 0
    best = first.document["checkpoint"]
    result = cli(
        "train", *TINY, "--genotype", GENOTYPE, "--encoder", "ghostnet-0.1",
        "--output", tmp_path / "a", "--weights", best, "--teacher", best,
    )  # fmt: skip
    assert result.code == 0
    assert f"encoder from {best}" in result.err


ENCODERS = ["ghostnet-0.1", "ghostnet-0.25"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Make a checkpoint of each encoder, as pretrain makes it, by encoder."""
    folder = tmp_path_factory.mktemp("weights")
    info = CheckpointInfo("[[2], [[0, 1]]]", "", 8, CELEBAMASK_HQ, 64, "none", seen="")
    paths = {}
    for encoder in ENCODERS:
        paths[encoder] = folder / f"{encoder}.pt"
        said = replace(info, encoder=encoder)
        save_checkpoint(paths[encoder], said, said.build().state_dict())
    return paths


@pytest.fixture(scope="module")
def searched(tmp_path_factory, weights):
    """Make a run over both encoders, whose weights came in another order, and name their trials."""
    folder = tmp_path_factory.mktemp("search") / "run"
    arguments = [
        "search", "--data", "synthetic:160", "--run", folder, "--trials", 6, "--rescore", 0,
        "--algorithm", "random", "--branches", 1, "--cells", 1, "--search-size", 32,
        "--search-images", 4, "--search-validation", 2, "--batch-size", 2,
        "--decoder-epochs", 1, "--joint-epochs", 0, "--input-size", 64,
    ]  # fmt: skip
    for encoder in ENCODERS:
        arguments += ["--encoder", encoder]
    for encoder in reversed(ENCODERS):
        arguments += ["--weights", weights[encoder]]
    assert run([str(argument) for argument in arguments]) == 0
    trials = Run.load(folder).finalists
    return folder, {
        encoder: next(t for t in trials if t.encoder == encoder) for encoder in ENCODERS
    }


@pytest.fixture
def front(searched, monkeypatch):
    """Make the front one of both encoders; which it really is hangs on six short trainings."""
    import toolchain.search.run

    folder, trials = searched
    monkeypatch.setattr(toolchain.search.run, "pareto_front", lambda *_: list(trials.values()))
    return folder, trials


def started_from(result):
    """Return which file each training began with, by the log's lines."""
    return re.findall(r"start: encoder from (\S+?):", result.err)


@pytest.mark.parametrize("order", [None, 1, -1])
def test_pareto_trains_each_candidate_from_its_encoders_weights(
    cli, tmp_path, front, weights, order
):
    folder, trials = front
    given = [] if order is None else [weights[name] for name in ENCODERS[::order]]
    result = cli(
        "train", *TINY, "--run", folder, "--pick", "pareto", "--output", tmp_path, "--json",
        *(argument for file in given for argument in ("--weights", file)),
    )  # fmt: skip
    assert result.code == 0, result.err
    folders = [tmp_path / str(trials[name].id) for name in ENCODERS]
    expected = [str(output / "best.pt") for output in folders]
    assert [document["checkpoint"] for document in result.document] == expected
    assert [d["trial"]["id"] for d in result.document] == [trials[name].id for name in ENCODERS]
    assert started_from(result) == [str(weights[name]) for name in ENCODERS]
    for name, output in zip(ENCODERS, folders, strict=True):
        info, _ = read_checkpoint(output / "best.pt")
        assert (info.encoder, info.genotype) == (name, trials[name].genotype)
        assert json.loads((output / "config.json").read_text())["weights"] == str(weights[name])


def test_pareto_tabulates_what_came_of_the_front(cli, tmp_path, front):
    folder, trials = front
    arguments = "train", *TINY, "--run", folder, "--pick", "pareto", "--output", tmp_path
    documents = cli(*arguments, "--json").document
    resumed = cli(*arguments, "--resume")
    *_, table = resumed.out.partition("GFLOPs")
    genotypes = {trial.genotype for trial in trials.values()}
    assert genotypes == {line.split(maxsplit=1)[1] for line in table.splitlines() if "[[" in line}
    for document in documents:
        trial = trials[document["trial"]["encoder"]]
        (row,) = (line for line in table.splitlines() if f" {trial.encoder} " in line)
        assert row.split()[0] == str(trial.id)
        assert f"pareto of {folder}: trial {trial.id} with score" in resumed.err
        assert f"{document['metrics']['mean_f1']:.3f}" in row.split()[1]
        assert f"{trial.parameters / 1e6:.3f}" in row


def test_a_picked_trial_takes_its_working_size_and_the_input_size_of_its_search(
    cli, tmp_path, searched, monkeypatch
):
    import toolchain.search.run

    folder, trials = searched
    trial = replace(trials[ENCODERS[0]], working_size=32)
    monkeypatch.setattr(toolchain.search.run, "pick", lambda *_: [trial])
    arguments = ("train", *(flag for flag in TINY if flag not in ("--input-size", "64")))
    arguments += ("--run", folder, "--pick", trial.id)
    for flags, sizes in [
        ([], (64, 32)),
        (["--input-size", 96], (96, 32)),
        (["--working-size", 64], (64, None)),
        (["--input-size", 96, "--working-size", 64], (96, 64)),
    ]:
        output = tmp_path / "-".join(map(str, ["a", *flags]))
        result = cli(*arguments, *flags, "--output", output)
        assert result.code == 0, result.err
        info, _ = read_checkpoint(output / "best.pt")
        assert (info.input_size, info.working_size) == sizes
    result = cli(*arguments, "--working-size", 96, "--output", tmp_path / "b")
    assert (result.code, result.out) == (2, "")
    assert "--working-size 96 is above --input-size 64" in result.err


def test_pretrained_at_a_working_size(cli, tmp_path):
    arguments = ("pretrain", *TINY, "--encoder", "ghostnet-0.1", "--working-size", 32)
    result = cli(*arguments, "--output", tmp_path / "e", "--json")
    assert result.code == 0, result.err
    info, _ = read_checkpoint(result.document["checkpoint"])
    assert (info.input_size, info.working_size) == (64, 32)


def test_a_picked_trial_takes_the_weights_of_its_search(cli, tmp_path, searched, weights):
    folder, trials = searched
    for name in ENCODERS:
        picked = ("--run", folder, "--pick", trials[name].id, "--output", tmp_path / name)
        result = cli("train", *TINY, *picked)
        assert result.code == 0, result.err
        assert started_from(result) == [str(weights[name])]


@pytest.mark.parametrize(
    ("files", "flags", "problem"),
    [
        ([0], [], "no file of --weights is for ghostnet-0.25; add one"),
        ([0, 0, 1], [], "are both for ghostnet-0.1; give one"),
        (
            [0, 1],
            ["--encoder", "ghostnet-0.1"],
            "ghostnet-0.25.pt: fits no encoder that is trained",
        ),
        ([0, 1], ["--data", "synthetic:3:3"], "in its part search-score; 1 are needed"),
        ([], ["--encoder", "mobilenetv2"], "had no weights for mobilenetv2; give --weights FILE"),
        ([], ["--device", "tpu"], "--device tpu is not known"),
        ([], ["--input-size", "50"], "is no multiple of 32"),
    ],
)
def test_what_is_wrong_shows_before_the_first_training(
    cli, tmp_path, front, weights, files, flags, problem
):
    given = [argument for place in files for argument in ("--weights", weights[ENCODERS[place]])]
    folder, _ = front
    output = tmp_path / "out"
    result = cli(
        "train", *TINY, "--run", folder, "--pick", "pareto", "--output", output, *given, *flags
    )
    assert (result.code, result.out) == (2, "")
    assert problem in result.err
    assert "epoch" not in result.err
    assert not output.exists()


def test_a_second_folder_that_is_taken_stops_the_first_training(cli, tmp_path, front):
    folder, trials = front
    second = tmp_path / str(trials[ENCODERS[1]].id)
    arguments = ("train", *TINY, "--run", folder, "--pick")
    assert cli(*arguments, trials[ENCODERS[1]].id, "--output", second).code == 0
    result = cli(*arguments, "pareto", "--output", tmp_path)
    assert result.code == 2
    assert f"{second} holds a training; continue it with --resume" in result.err
    assert not (tmp_path / str(trials[ENCODERS[0]].id)).exists()
    other = cli(*arguments, "pareto", "--output", tmp_path, "--resume", "--seed", 4)
    assert (other.code, "--seed was 0, now it is 4" in other.err) == (2, True)
    assert not (tmp_path / str(trials[ENCODERS[0]].id)).exists()
    both = cli(*arguments, "pareto", "--output", tmp_path, "--resume", "--json")
    assert (both.code, len(both.document)) == (0, 2)


@pytest.mark.parametrize("change", ["is gone", "has changed"])
def test_weights_of_a_search_that_are_no_more_are_named(cli, tmp_path, searched, weights, change):
    folder, trials = searched
    path = weights[ENCODERS[1]]
    content = path.read_bytes()
    path.unlink()
    if change == "has changed":
        path.write_bytes(content + b"more")
    picked = ("--run", folder, "--pick", trials[ENCODERS[0]].id, "--output", tmp_path / "a")
    result = cli("train", *TINY, *picked)
    path.write_bytes(content)
    assert result.code == 2
    assert f"{path}: {change}" in result.err
    assert "bring it back, or give --weights FILE" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give either --genotype, or --run with --pick"),
        (["--genotype", GENOTYPE, "--run", "RUN", "--pick", "best"], "give either --genotype"),
        (["--run", "RUN"], "give either --genotype"),
        (["--genotype", "[[11], [[0, 1]]]"], "operation 0: 11 is not one of 0..10"),
        (["--genotype", GENOTYPE, "--encoder", "vgg"], "no encoder is named 'vgg'"),
        (
            ["--genotype", GENOTYPE, "--input-size", "100"],
            "is no multiple of 32",
        ),
        (
            ["--genotype", GENOTYPE, "--working-size", "40"],
            "is no multiple of 32",
        ),
        (
            ["--genotype", GENOTYPE, "--working-size", "96"],
            "--working-size 96 is above --input-size 64",
        ),
        (["--genotype", GENOTYPE, "--epochs", "0"], "--epochs"),
        (["--genotype", GENOTYPE, "--data", "nowhere"], "nowhere"),
        (["--genotype", GENOTYPE, "--weights", "missing.pt"], "missing.pt: does not exist"),
        (
            ["--genotype", GENOTYPE, "--teacher", "missing.pt"],
            "missing.pt: does not exist (--teacher)",
        ),
        (["--genotype", GENOTYPE, "--device", "tpu"], "--device tpu is not known"),
    ],
)
def test_wrong_use_is_one_line(cli, tmp_path, arguments, problem):
    (tmp_path / "config.json").write_text("{}")  # as in the folder of a run
    given = [tmp_path if argument == "RUN" else argument for argument in arguments]
    result = cli("train", *TINY, "--output", tmp_path / "a", *given)
    assert result.code == 2
    assert problem in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""
    assert not (tmp_path / "a").exists()


def test_a_device_that_is_not_here_is_exit_code_3(cli, tmp_path):
    result = cli(
        "train", *TINY, "--output", tmp_path, "--genotype", GENOTYPE, "--device", "cuda:63"
    )
    assert result.code == 3
    assert "--device cpu" in result.err
