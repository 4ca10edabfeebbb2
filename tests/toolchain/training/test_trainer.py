import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from export.onnx_file.writing import export_onnx
from export.system.errors import DataError, UsageError
from export.system.files import only_one
from toolchain.datasets import open_dataset
from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.datasets.photographs import Photographs
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import open_part, part_of
from toolchain.datasets.writing import write_folder
from toolchain.training import trainer as module
from toolchain.training.checkpoints import load_segmenter, read_checkpoint
from toolchain.training.evaluation import evaluate
from toolchain.training.optimisation import cosine_with_warm_up
from toolchain.training.start import Start
from toolchain.training.trainer import Trainer, train
from toolchain.training.training_loss import load_teacher


def without_time(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    timed = {"seconds", "images_per_second", "waiting"}
    return [{key: value for key, value in record.items() if key not in timed} for record in records]


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
    names = {path.name for path in folder.iterdir() if path.name != ".lock"}
    assert names == {"epoch-002.pt", "best.pt", "last.pt", "metrics.jsonl", "config.json"}
    records = without_time(folder / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[-1]["loss"] < records[0]["loss"]
    assert set(records[0]) == {"epoch", "loss", "learning_rate", "metrics"}
    best = max(record["metrics"]["mean_f1"] for record in records)
    assert result.metrics["mean_f1"] == best
    assert (result.epochs, result.checkpoint) == (3, folder / "best.pt")
    _, info = load_segmenter(folder / "best.pt")
    assert info.training["mean_f1"] == best
    assert info.training["data"] == "synthetic:24"
    assert (info.training["parts"], info.training["chosen_by"]) == (["train"], "search-score")
    assert SeenImages.decode(info.seen) == SeenImages.of(open_part("synthetic:24", "train"))
    assert (folder / "epoch-002.pt").stat().st_size < (folder / "last.pt").stat().st_size / 2


@pytest.mark.parametrize(("moment", "kept"), [("step", 1), ("validation", 1), ("save", 2)])
def test_a_stopped_training_ends_as_an_unstopped_one(
    trained, tmp_path, configure, monkeypatch, moment, kept
):
    calls = iter(range(1000))
    place, name, call = {
        "step": (Trainer, "_backward", 3),
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
    assert len(read_checkpoint(tmp_path / "last.pt")[1]["resume"]["history"]) == kept
    result = train(configure(), tmp_path, resume=True)
    assert result.epochs == 3
    assert_same_end(trained[0], tmp_path)


def test_a_killed_training_ends_as_an_unkilled_one(trained, tmp_path, configure):
    script = """
import os, signal, sys, torch
from toolchain.training import trainer
from toolchain.settings.training_settings import TrainingSettings

torch.set_num_threads(1)
save = trainer.save_checkpoint

def save_and_die(path, *rest):
    if path.name == "epoch-002.pt":
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)

trainer.save_checkpoint = save_and_die
trainer.train(TrainingSettings.model_validate_json(sys.argv[1]), sys.argv[2])
"""
    settings = configure()
    command = [sys.executable, "-c", script, settings.model_dump_json(), str(tmp_path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    train(settings, tmp_path, resume=True)
    assert_same_end(trained[0], tmp_path)
    assert (tmp_path / "epoch-002.pt").exists()


def test_a_training_goes_on_after_its_last_whole_epoch_when_a_full_disk_has_room(
    trained, configure, mount
):
    output = mount("tmpfs", "size=2m") / "out"
    with pytest.raises(DataError, match=r"last\.pt: cannot be written \(No space .*make room"):
        train(configure(), output)
    assert not list(output.glob(".partial-*"))
    assert len(read_checkpoint(output / "last.pt")[1]["resume"]["history"]) == 1
    mount("tmpfs", "remount,size=8m")
    train(configure(), output, resume=True)
    assert_same_end(trained[0], output)


def copied(trained, folder):
    return Path(shutil.copytree(trained[0], folder / "copy"))


def test_what_a_finished_training_lost_beside_its_last_epoch_is_written_again(
    trained, tmp_path, configure
):
    output = copied(trained, tmp_path)
    (output / "metrics.jsonl").write_text("null")
    assert train(configure(), output, resume=True).epochs == 3
    assert_same_end(trained[0], output)


@pytest.mark.parametrize("resume", [True, False])
def test_a_training_whose_last_epoch_is_gone_does_not_begin_anew(
    trained, tmp_path, configure, resume
):
    output = copied(trained, tmp_path)
    (output / "last.pt").unlink()
    (output / "config.json").unlink()
    best = (output / "best.pt").read_bytes()
    with pytest.raises(
        DataError, match=r"last\.pt: is gone, and metrics\.jsonl is of its training"
    ):
        train(configure(), output, resume=resume)
    (output / "metrics.jsonl").unlink()
    with pytest.raises(DataError, match=r"last\.pt: is gone, and best\.pt is of its training"):
        train(configure(), output, resume=resume)
    assert (output / "best.pt").read_bytes() == best


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (None, "it holds no training to go on with"),
        (
            {"encoder": "mobilenetv2-0.35"},
            "its encoder was mobilenetv2-0.35, now it is ghostnet-0.1",
        ),
        ({"seed": 7}, "--seed was 7, now it is 0"),
    ],
)
def test_the_last_epoch_of_another_training_is_not_gone_on_with(
    trained, tmp_path, configure, changes, problem
):
    output = copied(trained, tmp_path)
    other = output / "best.pt"
    if changes:
        other = tmp_path / "other" / "last.pt"
        train(configure(epochs=1, **changes), other.parent)
    shutil.copy(other, output / "last.pt")
    with pytest.raises(DataError) as error:
        train(configure(epochs=4), output, resume=True)
    assert f"last.pt: is of another training ({problem}); bring back" in str(error.value)


def test_a_folder_that_is_removed_meanwhile_is_filled_again(trained, tmp_path, configure):
    output, begun = tmp_path / "t", Trainer.run_epoch

    def removing(trainer):
        if len(trainer.history) == 1:
            shutil.rmtree(output)
        return begun(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", removing)
        train(configure(), output)
    assert without_time(output / "metrics.jsonl") == without_time(trained[0] / "metrics.jsonl")
    train(configure(), output, resume=True)
    assert (output / "config.json").read_text() == (trained[0] / "config.json").read_text()


def test_resuming_a_finished_training_trains_nothing(trained, configure, monkeypatch):
    monkeypatch.setattr(Trainer, "run_epoch", None)
    assert train(configure(), trained[0], resume=True) == trained[1]


def test_resuming_nothing_starts(tmp_path, configure):
    assert train(configure(epochs=1), tmp_path, resume=True).epochs == 1


def test_a_folder_with_a_training_is_not_overwritten(trained, configure):
    with pytest.raises(UsageError, match="continue it with --resume"):
        train(configure(), trained[0])


def test_resuming_with_other_flags_names_the_flag(trained, configure):
    with pytest.raises(DataError, match=r"config\.json: --epochs was 3, now it is 2; use the same"):
        train(configure(epochs=2), trained[0], resume=True)
    with pytest.raises(DataError, match=r"--dice-weight was 1\.0, now it is 0\.5"):
        train(configure(dice_weight=0.5), trained[0], resume=True)
    train(configure(workers=1), trained[0], resume=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"data": "synthetic:24", "dice": 1.0}', "earlier nastool, .*; begin in a new folder"),
        ('{"format_version": 3}', "another nastool, .*; begin in a new folder"),
        ("[]", "is not a record of settings; begin in a new folder"),
        ("{", "is not JSON"),
        ("null", "is not a record of settings"),
        ("{}", "earlier nastool, .*; begin in a new folder"),
        (
            '{"format_version": 2, "command": "train", "contents": {"--data x": [1]}}',
            "contents.--d",
        ),
        ('{"format_version": 2, "command": "train", "contents": {}, "data": 3}', "data: Input"),
    ],
)
def test_a_record_that_is_of_no_use_is_one_line(tmp_path, configure, text, problem):
    (tmp_path / "last.pt").touch()
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json: .*" + problem) as error:
        train(configure(), tmp_path, resume=True)
    assert "\n" not in str(error.value)
    assert (tmp_path / "config.json").read_text() == text


def test_resuming_knows_its_files_by_content(trained, tmp_path, configure):
    """Weights may have moved since, but not changed."""
    best = (trained[0] / "best.pt").read_bytes()
    for name in ("e.pt", "t.pt"):
        (tmp_path / name).write_bytes(best)
    output = tmp_path / "out"
    files = {"weights": tmp_path / "e.pt", "teacher": tmp_path / "t.pt"}
    train(configure(epochs=1, **files), output)
    recorded = (output / "config.json").read_text()
    moved = (tmp_path / "e.pt").rename(tmp_path / "moved.pt")
    train(configure(epochs=1, **files | {"weights": moved}), output, resume=True)
    assert str(moved) in (output / "config.json").read_text()
    (output / "config.json").write_text(recorded)
    moved.write_bytes(best + b"more")
    with pytest.raises(DataError, match=r"config\.json: --weights .*e\.pt was there, and is"):
        train(configure(epochs=1, **files | {"weights": moved}), output, resume=True)
    moved.rename(tmp_path / "e.pt")
    with pytest.raises(
        DataError, match=r"config\.json: --weights .*e\.pt has changed since; bring"
    ):
        train(configure(epochs=1, **files), output, resume=True)
    (tmp_path / "e.pt").write_bytes(best)
    (tmp_path / "t.pt").unlink()
    with pytest.raises(DataError, match=r"t\.pt: cannot be read \(No such file"):
        train(configure(epochs=1, **files), output, resume=True)
    with pytest.raises(DataError, match=r"--teacher was .*t\.pt, now it is None; use the same"):
        train(configure(epochs=1, weights=files["weights"]), output, resume=True)


def test_two_trainings_do_not_mix_their_files(tmp_path, configure):
    with only_one(tmp_path / "out"), pytest.raises(UsageError, match="another process is at work"):
        train(configure(epochs=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert train(configure(epochs=1), tmp_path / "out").epochs == 1


def test_a_training_whose_images_changed_is_not_resumed(tmp_path, configure):
    data = tmp_path / "data"
    write_folder([(None, open_dataset("synthetic:30"))], data)
    settings = configure(data=str(data), epochs=1)
    train(settings, tmp_path / "out")
    train(settings, tmp_path / "out", resume=True)
    names = [path.stem for path in (data / "images").iterdir()]
    trained = next(name for name in names if part_of(name, own_val=False) == "train")
    other = next(name for name in names if name != trained)
    for kind in ("images", "masks"):
        (data / kind / f"{trained}.png").write_bytes((data / kind / f"{other}.png").read_bytes())
    with pytest.raises(DataError, match=r"--data \(images to train on\) has changed since"):
        train(settings, tmp_path / "out", resume=True)


def test_pictures_without_a_face_take_part_and_are_remembered(tmp_path, configure):
    pictures = tmp_path / "desk"
    pictures.mkdir()
    for name in ("cup", "table"):
        Image.new("RGB", (90, 60), "lime").save(pictures / f"{name}.png")
    settings = configure(epochs=1, faceless=1.0, faceless_images=pictures)
    samples = Trainer(settings, Start.of(settings)).samples
    drawn = [samples[epoch, index] for epoch in range(2) for index in range(len(samples))]
    assert not any(labels.any() for _, labels in drawn)
    green = [(image[..., 1] > image[..., 0] + 50).float().mean() for image, _ in drawn]
    assert sum(share > 0.9 for share in green) > len(drawn) / 16

    result = train(settings, tmp_path / "out")
    info, _ = read_checkpoint(result.checkpoint)
    assert info.seen_images.count(Photographs(pictures)) == 2
    assert info.training["faceless_images"] == 2
    with pytest.raises(DataError, match=r"trained on 2 of these 2 images .* choose other pictures"):
        evaluate(result.checkpoint, settings.data, faceless=str(pictures))
    known = evaluate(result.checkpoint, settings.data, faceless=pictures, force=True)["faceless"]
    assert known["seen_in_training"] == 2
    Image.new("RGB", (90, 60), "red").save(pictures / "cup.png")
    with pytest.raises(DataError, match="--faceless-images has changed since"):
        train(settings, tmp_path / "out", resume=True)


def test_pictures_without_a_face_are_left_alone_where_nothing_is_varied(tmp_path, configure):
    Image.new("RGB", (9, 6), "lime").save(tmp_path / "cup.png")
    start = Start.of(configure(faceless_images=tmp_path, augment=False))
    assert start.faceless is None
    assert Start.of(configure(faceless_images=tmp_path)).faceless is not None


def test_a_training_whose_classes_changed_says_so(tmp_path, configure):
    data = tmp_path / "data"
    write_folder([(None, open_dataset("synthetic:30"))], data)
    settings = configure(data=str(data), epochs=1)
    train(settings, tmp_path / "out")
    file = data / "labels.json"
    file.write_text(file.read_text().replace('"hat"', '"helmet"'))
    with pytest.raises(DataError, match=r"its classes were .*, hat, .*are .*, helmet, .* now"):
        train(settings, tmp_path / "out", resume=True)


def test_a_teacher_and_a_start_take_part(trained, tmp_path, configure):
    teacher = trained[0] / "best.pt"
    plain = train(configure(epochs=1), tmp_path / "plain")
    with_teacher = train(configure(epochs=1, teacher=teacher), tmp_path / "teacher")
    train(configure(epochs=1, weights=teacher), tmp_path / "weights")
    assert loss(tmp_path / "teacher") > loss(tmp_path / "plain")
    assert loss(tmp_path / "weights") < loss(tmp_path / "plain")
    assert with_teacher.metrics != plain.metrics
    _, info = load_segmenter(tmp_path / "teacher" / "best.pt")
    assert info.training["teacher"] == "best.pt"


def loss(folder):
    return without_time(folder / "metrics.jsonl")[0]["loss"]


def test_a_training_may_end_between_its_start_and_its_end(trained, tmp_path, configure):
    start = trained[1].checkpoint
    settings = configure(epochs=1, weights=start, start_share=0.25)
    path = train(settings, tmp_path).checkpoint
    info, document = read_checkpoint(path)
    end = read_checkpoint(tmp_path / "last.pt")[1]["model"]
    began = read_checkpoint(start)[1]["model"]
    for name, value in document["model"].items():
        expected = began[name] * 0.25 + end[name] * 0.75 if value.is_floating_point() else end[name]
        assert torch.allclose(value, expected, atol=1e-6)
    assert info.training["start_share"] == 0.25
    figures = evaluate(path, settings.data, split="search-score", force=True)
    assert figures["mean_f1"] == pytest.approx(info.training["mean_f1"])

    content = path.read_bytes()
    assert train(settings, tmp_path, resume=True).metrics["mean_f1"] == info.training["mean_f1"]
    assert path.read_bytes() == content


@pytest.mark.parametrize("changes", [{}, {"aggregation": 12}, {"genotype": "[[1], [[0, 1]]]"}])
def test_a_share_of_the_start_needs_a_network_to_start_from(trained, tmp_path, configure, changes):
    weights = {"weights": trained[1].checkpoint} if changes else {}
    with pytest.raises(UsageError, match=r"--start-share 0\.5 needs --weights of a whole network"):
        train(configure(start_share=0.5, **weights, **changes), tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_teacher_of_other_classes_is_refused(trained, tmp_path, configure):
    portraits = tmp_path / "portraits"
    write_portraits(portraits)
    with pytest.raises(DataError, match="classes that are not those of the data"):
        train(configure(data=str(portraits), teacher=trained[0] / "best.pt"), tmp_path / "out")


def write_portraits(folder):
    """Twelve images of a person, with two classes."""
    from PIL import Image

    from toolchain.datasets import open_dataset

    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    label_set = {"name": "p", "classes": ["background", "person"], "palette": [[0] * 3, [9] * 3]}
    (folder / "labels.json").write_text(json.dumps(label_set))
    for sample in open_dataset("synthetic:12"):
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
        train(configure(learning_rate=1e9), tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_what_was_good_before_a_loss_exploded_stays(tmp_path, configure, monkeypatch):
    steps = iter(range(1000))
    backward = Trainer._backward

    def explode(trainer, images, labels):
        if next(steps) == 4:  # an epoch has three batches
            trainer.network.decoder.requires_grad_(False)
            for parameter in trainer.network.decoder.parameters():
                parameter.fill_(float("nan"))
        return backward(trainer, images, labels)

    monkeypatch.setattr(Trainer, "_backward", explode)
    with pytest.raises(UsageError, match=r"loss of epoch 2 is .*best\.pt are as they"):
        train(configure(), tmp_path)
    network, info = load_segmenter(tmp_path / "last.pt")
    assert info.training["epochs"] == 1
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_more_epochs_may_be_asked_for(tmp_path, configure):
    train(configure(epochs=1), tmp_path)
    result = train(configure(epochs=2), tmp_path, resume=True)
    assert result.epochs == 2
    records = without_time(tmp_path / "metrics.jsonl")
    assert records[1]["learning_rate"] < configure().learning_rate / 2
    assert json.loads((tmp_path / "config.json").read_text())["epochs"] == 2
    with pytest.raises(DataError, match="--epochs was 2, now it is 1"):
        train(configure(epochs=1), tmp_path, resume=True)


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 3), (2, 2), (3, 1)])
def test_batches_add_up_to_steps(configure, accumulate, steps):
    """Three batches an epoch; those at its end that are too few for a step make one too."""
    settings = configure(epochs=1, accumulate=accumulate)
    trainer = Trainer(settings, Start.of(settings))
    assert len(trainer.loader) == 3
    trainer.run_epoch()
    assert trainer.optimisation.average.n_averaged == steps


def test_the_gradient_of_accumulated_batches_is_their_mean(configure):
    settings = configure(accumulate=2)
    trainer = Trainer(settings, Start.of(settings))
    trainer.network.eval()  # batch norm would see the batches apart
    images = torch.stack([trainer.samples[1, i][0] for i in range(8)])
    labels = torch.stack([trainer.samples[1, i][1] for i in range(8)])
    for one in (slice(0, 4), slice(4, 8)):
        trainer._backward(images[one], labels[one])
    weight = trainer.network.decoder.classifier.weight
    found = weight.grad.clone()
    expected = torch.zeros_like(found)
    for one in (slice(0, 4), slice(4, 8)):
        weight.grad = None
        trainer._backward(images[one], labels[one])
        expected += weight.grad  # each of half its loss
    torch.testing.assert_close(found, expected)


def test_an_impossible_size_is_refused(configure):
    with pytest.raises(UsageError, match="--input-size: Input should be a multiple of 32"):
        configure(input_size=100)
    with pytest.raises(UsageError, match="--working-size: Input should be a multiple of 32"):
        configure(working_size=40)
    with pytest.raises(UsageError, match="--working-size 96 is above --input-size 64") as error:
        configure(working_size=96)
    assert "\n" not in str(error.value)


def test_the_working_size_of_the_input_changes_nothing(trained, tmp_path, configure):
    train(configure(working_size=64), tmp_path)
    assert_same_end(trained[0], tmp_path)
    assert read_checkpoint(tmp_path / "best.pt")[0].working_size is None


@pytest.mark.parametrize("working_size", [64, 96])
def test_what_is_printed_is_of_the_input_size(tmp_path, configure, working_size):
    """Images of the input size in, labels of that size out: the figures are those of the file."""
    changes = {"epochs": 4, "average_half_life": 0.2}  # or one class would be everywhere
    settings = configure(input_size=128, working_size=working_size, **changes)
    trainer = Trainer(settings, Start.of(settings))
    assert trainer.samples[0, 0][0].shape == (working_size, working_size, 3)
    assert trainer.choosing[0, 0][1].shape == (128, 128)
    result = train(settings, tmp_path)
    network, info = load_segmenter(result.checkpoint)
    assert (info.input_size, info.working_size) == (128, working_size)
    file = export_onnx(
        network.deployable(working_size),
        tmp_path / "model.onnx",
        metadata=info.metadata(),
        input_size=128,
        working_size=working_size,
    )
    for model in (result.checkpoint, file):
        found = evaluate(model, "synthetic:24", split="search-score")
        for name in ("mean_f1", "pixel_accuracy"):
            assert found[name] == pytest.approx(result.metrics[name], abs=1e-4), name


def test_a_teacher_sees_images_at_its_own_size(trained, tmp_path, configure):
    teacher = trained[0] / "best.pt"  # of 64 pixels
    labels = load_teacher(teacher, CELEBAMASK_HQ.classes, torch.device("cpu"))
    plain = F.interpolate(torch.rand(2, 3, 8, 8), scale_factor=8, mode="bilinear")
    torch.testing.assert_close(labels(plain), labels.network(plain))
    # Twice as many pixels of the same picture: the teacher says the same.
    large = F.interpolate(plain, scale_factor=2, mode="nearest")
    assert (labels(large).argmax(1) == labels(plain).argmax(1)).float().mean() > 0.8
    result = train(configure(input_size=128, working_size=96, epochs=1, teacher=teacher), tmp_path)
    assert result.epochs == 1


def test_each_weight_of_the_loss_is_the_settings(trained, tmp_path, configure):
    teacher = trained[0] / "best.pt"
    plain = {"epochs": 1, "teacher": teacher}
    off = {"dice_weight": 0.0, "auxiliary_weight": 0.0, "distillation_weight": 0.0}
    train(configure(**plain, **off), tmp_path / "off")
    losses = {None: loss(tmp_path / "off")}
    for name in off:
        train(configure(**plain, **off | {name: 5.0}), tmp_path / name)
        losses[name] = loss(tmp_path / name)
    assert all(value > losses[None] for name, value in losses.items() if name)
    assert len(set(losses.values())) == 4


@pytest.mark.parametrize("more", [False, True])
def test_it_reads_its_own_parts_only(tmp_path, configure, names_read, more):
    data = "synthetic:60"
    result = train(configure(data=data, epochs=1, with_search_images=more), tmp_path)
    _, info = load_segmenter(result.checkpoint)
    train_parts = ["train", "search-train"] if more else ["train"]
    trained_on = [open_part(data, part) for part in train_parts]
    choosing = open_part(data, "search-score")
    assert names_read == {name for part in (*trained_on, choosing) for name in part.names}
    assert SeenImages.decode(info.seen) == SeenImages.of(*trained_on)
    assert info.training["parts"] == train_parts
    assert info.training["images"] == sum(map(len, trained_on))
    assert info.training["chosen_by_images"] == len(choosing)


def test_a_limit_is_chosen_by_name_and_not_by_the_seed(configure):
    data = "synthetic:60"
    starts = [Start.of(configure(data=data, limit_images=10, seed=seed)) for seed in (0, 1)]
    assert starts[0].images.names == starts[1].images.names
    assert len(starts[0].images) == 10
    assert set(starts[0].images.names) < set(open_part(data, "train").names)
    assert starts[0].choosing.names == open_part(data, "search-score").names
    fewer = Start.of(configure(data=data, limit_images=5))
    assert set(fewer.images.names) < set(starts[0].images.names)


def test_what_teacher_and_start_have_seen_counts(trained, tmp_path, configure):
    """Of another seed are other faces."""
    train(configure(data="synthetic:12:1", epochs=1), tmp_path / "one")
    train(configure(data="synthetic:12:7", epochs=1), tmp_path / "two")
    files = {"weights": tmp_path / "one" / "best.pt", "teacher": tmp_path / "two" / "last.pt"}
    result = train(configure(epochs=1, **files), tmp_path / "three")
    _, info = load_segmenter(result.checkpoint)
    parts = [open_part(f"synthetic:{spec}", "train") for spec in ("24", "12:1", "12:7")]
    assert SeenImages.decode(info.seen) == SeenImages.of(*parts)


@pytest.mark.parametrize("role", ["weights", "teacher"])
def test_unknown_stays_unknown(trained, tmp_path, configure, role):
    document = torch.load(trained[0] / "best.pt", weights_only=True)
    del document["seen"]
    torch.save({**document, "format_version": 1}, tmp_path / "old.pt")
    result = train(configure(epochs=1, **{role: tmp_path / "old.pt"}), tmp_path / "a")
    assert read_checkpoint(result.checkpoint)[0].seen is None
    result = train(configure(epochs=1, **{role: result.checkpoint}), tmp_path / "b")
    assert read_checkpoint(result.checkpoint)[0].seen is None


def test_an_encoder_from_elsewhere_has_seen_none_of_our_images(trained, tmp_path, configure):
    document = torch.load(trained[0] / "best.pt", weights_only=True)
    torch.save({"model": document["model"]}, tmp_path / "elsewhere.pt")
    result = train(configure(epochs=1, weights=tmp_path / "elsewhere.pt"), tmp_path / "a")
    assert read_checkpoint(result.checkpoint)[0].seen == document["seen"]


def test_a_resumed_training_says_the_same(trained, tmp_path, configure, monkeypatch):
    save = module.save_checkpoint

    def stop(path, *rest):
        save(path, *rest)
        if path.name == "last.pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(configure(), tmp_path)
    monkeypatch.undo()
    train(configure(), tmp_path, resume=True)
    one, other = (read_checkpoint(folder / "best.pt")[0] for folder in (trained[0], tmp_path))
    assert one.seen == other.seen


@pytest.mark.parametrize(
    ("data", "part"), [("synthetic:1:4", "train"), ("synthetic:3:3", "search-score")]
)
def test_too_few_images_are_refused_before_anything_is_written(tmp_path, configure, data, part):
    with pytest.raises(
        DataError, match=rf"{data}: has . images, .* in its part {part}; . are needed"
    ):
        train(configure(data=data), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_rate_rises_then_falls_to_nothing():
    factors = [cosine_with_warm_up(step, 100, 10) for step in range(101)]
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert cosine_with_warm_up(0, 1, 0) == 1
