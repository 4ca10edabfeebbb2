import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from export.errors import DataError, UsageError
from toolchain.training import trainer as module
from toolchain.training.checkpoints import load_segmenter, read_checkpoint
from toolchain.training.trainer import Trainer, train


def without_time(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def same(state, other):
    return all(torch.equal(state[name], other[name]) for name in state)


def assert_same_end(first, second):
    for name in ("best.pt", "last.pt"):
        one, other = (read_checkpoint(folder / name)[1] for folder in (first, second))
        assert same(one["model"], other["model"])
    assert same(one["resume"]["network"], other["resume"]["network"])
    assert without_time(first / "metrics.jsonl") == without_time(second / "metrics.jsonl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, configure):
    """The folder of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(configure(), folder)


def test_a_training_leaves_what_it_promises(trained):
    folder, result = trained
    names = {path.name for path in folder.iterdir()}
    epochs = {f"epoch-{number:03d}.pt" for number in (1, 2, 3)}
    assert names == epochs | {"best.pt", "last.pt", "metrics.jsonl", "config.json"}
    records = without_time(folder / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[-1]["loss"] < records[0]["loss"]
    assert set(records[0]) == {"epoch", "loss", "learning_rate", "metrics"}
    best = max(record["metrics"]["mean_f1"] for record in records)
    assert result.metrics["mean_f1"] == best
    assert (result.epochs, result.checkpoint) == (3, folder / "best.pt")
    _, info = load_segmenter(folder / "best.pt")
    assert info.training["mean_f1"] == best
    assert info.training["data"] == "synthetic:12"
    assert (folder / "epoch-001.pt").stat().st_size < (folder / "last.pt").stat().st_size / 2


@pytest.mark.parametrize("moment", ["step", "validation", "save"])
def test_a_stopped_training_ends_as_an_unstopped_one(
    trained, tmp_path, configure, monkeypatch, moment
):
    calls = iter(range(1000))
    place, name, call = {
        "step": (Trainer, "_step", 3),
        "validation": (module, "score", 1),
        "save": (module, "write_text", 1),
    }[moment]
    original = getattr(place, name)

    def stop(*arguments):
        if next(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            train(configure(), tmp_path)
    assert len(read_checkpoint(tmp_path / "last.pt")[1]["resume"]["history"]) == 1
    result = train(configure(), tmp_path, resume=True)
    assert result.epochs == 3
    assert_same_end(trained[0], tmp_path)


def test_a_killed_training_ends_as_an_unkilled_one(trained, tmp_path, configure):
    script = """
import os, signal, sys, torch
from toolchain.training import trainer
from toolchain.training.configuration import TrainingConfiguration

torch.set_num_threads(1)
save = trainer.save_checkpoint

def save_and_die(path, *rest):
    if path.name == "last.pt" and path.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)

trainer.save_checkpoint = save_and_die
trainer.train(TrainingConfiguration.model_validate_json(sys.argv[1]), sys.argv[2])
"""
    configuration = configure()
    command = [sys.executable, "-c", script, configuration.model_dump_json(), str(tmp_path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "epoch-002.pt").exists()
    train(configuration, tmp_path, resume=True)
    assert_same_end(trained[0], tmp_path)


def test_resuming_a_finished_training_trains_nothing(trained, configure, monkeypatch):
    monkeypatch.setattr(Trainer, "run_epoch", None)
    assert train(configure(), trained[0], resume=True) == trained[1]


def test_resuming_nothing_starts(tmp_path, configure):
    assert train(configure(epochs=1), tmp_path, resume=True).epochs == 1


def test_a_folder_with_a_training_is_not_overwritten(trained, configure):
    with pytest.raises(UsageError, match="continue it with --resume"):
        train(configure(), trained[0])


def test_resuming_with_other_flags_names_the_flag(trained, configure):
    with pytest.raises(UsageError, match="started with epochs 3, not 4"):
        train(configure(epochs=4), trained[0], resume=True)
    train(configure(workers=1), trained[0], resume=True)


def test_a_damaged_configuration_is_one_line(trained, tmp_path, configure):
    (tmp_path / "last.pt").touch()
    (tmp_path / "config.json").write_text('{"data": 1}')
    with pytest.raises(DataError, match=r"config\.json: data: .*string"):
        train(configure(), tmp_path, resume=True)


def test_a_teacher_and_a_start_take_part(trained, tmp_path, configure):
    teacher = trained[0] / "best.pt"
    plain = train(configure(epochs=1), tmp_path / "plain")
    with_teacher = train(configure(epochs=1, teacher=str(teacher)), tmp_path / "teacher")
    train(configure(epochs=1, weights=str(teacher)), tmp_path / "weights")
    assert loss(tmp_path / "teacher") > loss(tmp_path / "plain")
    assert loss(tmp_path / "weights") < loss(tmp_path / "plain")
    assert with_teacher.metrics != plain.metrics
    _, info = load_segmenter(tmp_path / "teacher" / "best.pt")
    assert info.training["teacher"] == "best.pt"


def loss(folder):
    return without_time(folder / "metrics.jsonl")[0]["loss"]


def test_a_teacher_of_other_classes_is_refused(trained, tmp_path, configure):
    portraits = tmp_path / "portraits"
    write_portraits(portraits)
    with pytest.raises(DataError, match="classes that are not those of the data"):
        train(configure(data=str(portraits), teacher=str(trained[0] / "best.pt")), tmp_path / "out")


def write_portraits(folder):
    """Four images of a person, with two classes."""
    from PIL import Image

    from toolchain.datasets import open_dataset

    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    label_set = {"name": "p", "classes": ["background", "person"], "palette": [[0] * 3, [9] * 3]}
    (folder / "labels.json").write_text(json.dumps(label_set))
    for sample in open_dataset("synthetic:4"):
        Image.fromarray(sample.image).save(folder / "images" / f"{sample.name}.png")
        person = (sample.labels > 0).astype("uint8")
        Image.fromarray(person).save(folder / "masks" / f"{sample.name}.png")


def test_own_classes_are_trained_and_kept(tmp_path, configure):
    write_portraits(tmp_path / "portraits")
    result = train(configure(data=str(tmp_path / "portraits"), epochs=1), tmp_path / "out")
    network, info = load_segmenter(result.checkpoint)
    assert info.label_set.classes == ("background", "person")
    assert network.classes == 2
    assert set(result.metrics["f1"]) == {"background", "person"}


def test_an_exploding_loss_is_named(tmp_path, configure):
    with pytest.raises(UsageError, match="loss of epoch 1 is not a number; lower --learning-rate"):
        train(configure(learning_rate=1e30), tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_an_impossible_input_size_is_refused(tmp_path, configure):
    with pytest.raises(UsageError, match="100 is not a multiple of 32"):
        train(configure(input_size=100), tmp_path)


def test_validation_is_the_val_split_or_a_tenth(tmp_path, configure):
    training, validation = module.open_training_data(configure(data="synthetic:40"))
    assert (len(training), len(validation)) == (36, 4)
    assert not set(training.names) & set(validation.names)
    part, same = module.open_training_data(configure(data="synthetic:40", limit_images=10))
    assert len(part) == 10
    assert set(part.names) < set(training.names)
    assert same.names == validation.names
