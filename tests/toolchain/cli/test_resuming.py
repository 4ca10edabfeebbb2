"""What is interrupted says what is kept and how to go on; going on needs no flags again."""

import json

import pytest

import toolchain.profiling.device
import toolchain.search.launch
import toolchain.search.rank
from toolchain.cli import run as run_cli

G = "[[1, [0, 1, 2, 9]], [[0, 1]]]"
SMALL = ("--data", "synthetic:40", "--encoder", "ghostnet-0.1", "--input-size", 32)
TRAIN = ("train", *SMALL, "--genotype", G, "--batch-size", 3, "--no-augment")
SEARCH = (
    *("search", "--data", "synthetic:160", "--encoder", "ghostnet-0.1", "--search-size", 32),
    *("--images", 8, "--score-images", 4, "--batch-size", 4, "--rescore", 0, "--cells", 1),
    *("--branches", 1, "--algorithm", "random"),
)


@pytest.fixture
def interrupt(monkeypatch):
    """Have a function raise what Ctrl-C does: interrupt(module, name, after=calls)."""

    def patch(module, name, after=0):
        original, calls = getattr(module, name), []

        def call(*arguments, **named):
            calls.append(name)
            if len(calls) > after:
                raise KeyboardInterrupt
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    return patch


def test_a_training_goes_on_by_the_flags_that_it_was_begun_with(cli, tmp_path, monkeypatch):
    from toolchain.training.trainer import Trainer

    output, train_epoch = tmp_path / "t o", Trainer.run_epoch

    def second_is_interrupted(trainer):
        if trainer.history:
            raise KeyboardInterrupt
        return train_epoch(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", second_is_interrupted)
        result = cli(*TRAIN, "--epochs", 2, "--output", output)
    assert result.code == 130
    last = result.err.splitlines()[-1]
    command = f"nastool train --output '{output}' --resume"
    assert last == f"nastool: interrupted; 1 whole epoch is kept in {output}; go on with: {command}"

    result = cli("train", "--output", output, "--resume", "--json")
    assert (result.code, result.document["epochs"]) == (0, 2), result.err
    result = cli("train", "--output", output, "--resume", "--epochs", 3, "--json")
    assert (result.code, result.document["epochs"]) == (0, 3), result.err
    kept = json.loads((output / "config.json").read_text())
    assert (kept["batch_size"], kept["augment"], kept["epochs"]) == (3, False, 3)
    # What is given again counts, and is compared.
    result = cli("train", "--output", output, "--resume", "--batch-size", 4)
    assert (result.code, "--batch-size was 3, now it is 4" in result.err) == (2, True)


@pytest.mark.parametrize("again", [(), ("--genotype", G)])
def test_a_training_from_weights_goes_on(cli, tmp_path, again):
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli(*TRAIN, "--epochs", 1, "--output", first).code == 0
    begun = (*TRAIN, "--epochs", 1, "--weights", first / "best.pt", "--output", second)
    assert cli(*begun).code == 0
    result = cli("train", "--output", second, "--resume", "--epochs", 2, *again, "--json")
    assert (result.code, result.document["epochs"]) == (0, 2), result.err
    # Other weights are another training.
    other = ("--weights", second / "best.pt")
    result = cli("train", "--output", second, "--resume", *again, *other)
    assert (result.code, "--weights" in result.err) == (2, True), result.err


def test_before_the_first_epoch_nothing_is_kept(cli, tmp_path, interrupt):
    import toolchain.training.plan

    interrupt(toolchain.training.plan, "train_all")
    result = cli(*TRAIN, "--output", tmp_path / "t")
    assert result.code == 130
    assert result.err.endswith("interrupted; nothing was done yet; run the same command again\n")


@pytest.mark.parametrize("command", ["train", "pretrain", "ablate", "search"])
def test_where_nothing_is_there_is_nothing_to_resume(cli, tmp_path, command):
    place = ("--run" if command == "search" else "--output", tmp_path / "t")
    result = cli(command, *place, "--resume")
    assert result.code == 2
    assert "t: holds nothing to resume" in result.err


def test_a_search_and_its_ranking_go_on_by_their_flags(cli, tmp_path, interrupt):
    folder = tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        from toolchain.search.progress import Progress

        report = Progress.__call__

        def third_is_interrupted(progress, trial):
            report(progress, trial)
            if progress._trained == 2:
                raise KeyboardInterrupt

        patch.setattr(Progress, "__call__", third_is_interrupted)
        result = cli(*SEARCH, "--run", folder, "--trials", 6)
    assert result.code == 130
    assert result.err.splitlines()[-1] == (
        f"nastool: interrupted; candidates that were trained are kept in {folder}; go on with: "
        f"nastool search --run {folder} --resume"
    )
    result = cli("search", "--run", folder, "--resume", "--json")
    assert result.code == 0, result.err
    assert result.document["trials"]["complete"] + result.document["trials"]["pruned"] == 6
    kept = json.loads((folder / "config.json").read_text())
    assert (kept["search_images"], kept["algorithm"], kept["trials"]) == (8, "random", 6)

    small = ("--trials", 5, "--epochs", 1, "--images", 4, "--score-images", 8)
    with pytest.MonkeyPatch.context() as patch:
        original, calls = toolchain.search.rank.write_json, []

        def second_is_interrupted(*arguments):
            original(*arguments)
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt

        patch.setattr(toolchain.search.rank, "write_json", second_is_interrupted)
        result = cli("rank", folder, *small)
    assert result.code == 130
    assert result.err.endswith(f"go on with: nastool rank {folder} --resume\n")
    result = cli("rank", folder, "--resume", "--json")
    assert (result.code, len(result.document["trials"])) == (0, 5), result.err
    assert result.document["settings"]["images"] == 4


def test_an_ablation_goes_on_by_its_flags(cli, tmp_path, interrupt):
    import toolchain.training.trainer

    with pytest.MonkeyPatch.context() as patch:
        original, calls = toolchain.training.trainer.train, []

        def third_is_interrupted(*arguments):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return original(*arguments)

        patch.setattr(toolchain.training.trainer, "train", third_is_interrupted)
        switches = ("--switch", "blur=0,1", "--switch", "dice-weight=1,0.5", "--seeds", 1)
        given = ("ablate", *SMALL, "--genotype", G, "--epochs", 1, "--images", 4, *switches)
        result = cli(*given, "--framing", "0.5", "--output", tmp_path / "a")
    assert result.code == 130
    assert result.err.endswith(f"go on with: nastool ablate --output {tmp_path / 'a'} --resume\n")
    result = cli("ablate", "--output", tmp_path / "a", "--resume", "--json")
    assert result.code == 0, result.err
    assert len(result.document["trainings"]) == 8
    assert set(result.document["effects"]) == {"1", "0.5"}


def test_a_profiling_goes_on_by_its_flags(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []

    def profile(output, **settings):
        asked.append((output, settings))
        raise KeyboardInterrupt

    def begin(table):
        partial = tmp_path / "latency_tables" / f"{table}.partial"
        partial.mkdir(parents=True)
        (partial / "measured.jsonl").write_text("{}\n{}\n{}\n")
        flags = {"seconds": 0.2, "threads": 2, "encoders": ["ghostnet-0.1"], "max_drift": 0.25}
        (partial / "flags.json").write_text(json.dumps(flags))

    monkeypatch.setattr(toolchain.profiling.device, "profile_device", profile)
    result = cli("profile-device", "--resume", "--json")
    assert (result.code, asked) == (2, [])
    assert "latency_tables has no table that was begun; name the one" in result.err
    assert cli("profile-device", "--resume", "--threads", 1).code == 130
    assert asked.pop()[1]["threads"] == 1
    begin("a.json")
    result = cli("profile-device", "--resume")
    output, settings = asked.pop()
    assert str(output) == "latency_tables/a.json"
    assert (settings["seconds"], settings["threads"], settings["max_drift"]) == (0.2, 2, 0.25)
    assert settings["encoders"] == ("ghostnet-0.1",)
    assert result.err == (
        "nastool: interrupted; 2 measurements are kept in latency_tables/a.json.partial; go on "
        "with: nastool profile-device --output latency_tables/a.json --resume\n"
    )
    begin("b.json")
    result = cli("profile-device", "--resume")
    assert (
        result.code,
        "name one with --output: latency_tables/a.json, latency" in result.err,
    ) == (
        2,
        True,
    )
    assert cli("profile-device", "--resume", "--output", "latency_tables/b.json").code == 130


def test_a_preset_is_for_what_is_not_given_and_is_recorded(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(
        toolchain.search.launch, "run_search", lambda settings, *_: found.append(settings) or 1 / 0
    )
    (tmp_path / "c.toml").write_text('preset = "cpu"\nrescore = 7\n')
    for given in (["--preset", "cpu", "--images", "60"], ["--config", str(tmp_path / "c.toml")]):
        with pytest.raises(ZeroDivisionError):
            run_cli(["search", "--data", "synthetic:160", "--run", str(tmp_path / "r"), *given])
    first, second = found
    assert (first.search_images, first.joint_epochs, first.rescore) == (60, 0, 5)
    assert (second.search_images, second.joint_epochs, second.rescore) == (80, 0, 7)
    assert first.model_dump()["preset"] == "cpu"
