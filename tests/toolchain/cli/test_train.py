import pytest
import torch

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
    assert set(result.document) == {"checkpoint", "epochs", "seconds", "metrics"}
    assert result.document["checkpoint"] == str(tmp_path / "a" / "best.pt")
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


def test_pareto_trains_each_candidate_into_a_folder_of_its_own(cli, tmp_path, monkeypatch):
    from types import SimpleNamespace

    import toolchain.search.run

    trials = [
        SimpleNamespace(id=number, genotype=text, encoder="ghostnet-0.1")
        for number, text in ((3, "[[0], [[0, 1]]]"), (7, "[[2], [[1, 2]]]"))
    ]
    monkeypatch.setattr(toolchain.search.run, "pick", lambda run, which: trials)
    result = cli(
        "train", *TINY, "--run", tmp_path, "--pick", "pareto", "--output", tmp_path / "o", "--json"
    )
    assert result.code == 0
    expected = [str(tmp_path / "o" / name / "best.pt") for name in ("3", "7")]
    assert [document["checkpoint"] for document in result.document] == expected


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give either --genotype, or --run with --pick"),
        (["--genotype", GENOTYPE, "--run", "x", "--pick", "best"], "give either --genotype"),
        (["--run", "x"], "give either --genotype"),
        (["--genotype", "[[11], [[0, 1]]]"], "operation 0: 11 is not one of 0..10"),
        (["--genotype", GENOTYPE, "--encoder", "vgg"], "no encoder is named 'vgg'"),
        (["--genotype", GENOTYPE, "--input-size", "100"], "100 is not a multiple of 32"),
        (["--genotype", GENOTYPE, "--epochs", "0"], "--epochs"),
        (["--genotype", GENOTYPE, "--data", "nowhere"], "nowhere"),
        (["--genotype", GENOTYPE, "--weights", "missing.pt"], "missing.pt: does not exist"),
        (["--genotype", GENOTYPE, "--teacher", "missing.pt"], "missing.pt: does not exist"),
        (["--genotype", GENOTYPE, "--device", "tpu"], "--device tpu is not known"),
    ],
)
def test_wrong_use_is_one_line(cli, tmp_path, arguments, problem):
    result = cli("train", *TINY, "--output", tmp_path / "a", *arguments)
    assert result.code == 2
    assert problem in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""
    assert not (tmp_path / "a" / "last.pt").exists()


def test_a_device_that_is_not_here_is_exit_code_3(cli, tmp_path):
    result = cli(
        "train", *TINY, "--output", tmp_path, "--genotype", GENOTYPE, "--device", "cuda:63"
    )
    assert result.code == 3
    assert "--device cpu" in result.err
