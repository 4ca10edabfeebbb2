from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot

from toolchain.datasets.labels import IGNORED
from toolchain.datasets.splits import open_part
from toolchain.training import class_offsets as module
from toolchain.training.checkpoints import load_segmenter, save_checkpoint
from toolchain.training.class_offsets import PRICE, STEP, find_offsets, shift_classes
from toolchain.training.evaluation import evaluate
from toolchain.training.metrics import ConfusionMatrix
from toolchain.training.samples import Samples
from toolchain.training.trainer import train

CPU = torch.device("cpu")


def drawn(images=20, classes=4, side=16, seed=0):
    """Draw logits, and labels of the probabilities that they stand for; the last class is rare."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(images, classes, side, side)
    logits[:, -1] -= 2.5
    labels = torch.distributions.Categorical(logits=logits.movedim(1, -1)).sample()
    return logits, labels.byte()


def mean_f1(logits, labels, offsets):
    matrix = ConfusionMatrix(len(offsets))
    matrix.update(labels, (logits + offsets[:, None, None]).argmax(1))
    return matrix.mean_f1


def test_one_class_gets_what_is_best_of_all_values(monkeypatch):
    """The counts by margin are those that labelling all pixels again would give."""
    logits, labels = drawn()
    monkeypatch.setattr(module, "SWEEPS", 1)
    labels[labels == 2] = 1  # classes 2 and 0 are too rare to be moved, 1 and 3 come in turns
    labels[labels == 0] = 1
    (tried := torch.zeros(61, 4))[:, 1] = STEP * torch.arange(-30, 31)
    worth = [mean_f1(logits, labels, offsets) - PRICE * offsets[1] ** 2 for offsets in tried]
    first = tried[int(torch.tensor(worth).argmax())]
    (tried := first.repeat(61, 1))[:, 3] = STEP * torch.arange(-30, 31)
    worth = [mean_f1(logits, labels, offsets) - PRICE * offsets[3] ** 2 for offsets in tried]
    assert torch.equal(find_offsets(logits, labels), tried[int(torch.tensor(worth).argmax())])


def test_a_bias_is_taken_back_on_other_images_too():
    logits, labels = drawn(seed=1)
    logits[:, 1] += 1.2
    offsets = find_offsets(logits, labels)
    others, truth = drawn(seed=2)
    others[:, 1] += 1.2
    gain = mean_f1(others, truth, offsets) - mean_f1(others, truth, torch.zeros(4))
    assert offsets[1] - offsets[0] < -0.7
    assert gain > 0.02
    assert offsets.abs().max() <= 1.5


def test_left_and_right_get_the_same():
    logits, labels = drawn(seed=3)
    logits[:, 1] += 1
    logits[:, 2] += 0.5
    offsets = find_offsets(logits, labels, [(1, 2)])
    assert offsets[1] == offsets[2] < 0


def test_classes_of_few_images_and_ignored_pixels_move_nothing():
    logits, labels = drawn(seed=4)
    labels[4:][labels[4:] == 3] = 0
    assert find_offsets(logits, labels)[3] == 0

    logits[:, :, :8] = torch.randn(20, 4, 8, 16)
    labels[:, :8] = IGNORED
    assert torch.equal(find_offsets(logits, labels), find_offsets(logits[:, :, 8:], labels[:, 8:]))
    labels[:] = IGNORED
    assert not find_offsets(logits, labels).any()


@pytest.fixture
def checkpoint(tmp_path, configure):
    """One whose network sees skin in everything, and the images to put that right by."""
    folder = tmp_path / "trained"
    settings = configure(data="synthetic:400", limit_images=60)
    path = train(settings, folder).checkpoint
    network, info = load_segmenter(path)
    network.decoder.classifier.bias.data[1] += 1
    save_checkpoint(path, info, network.state_dict())
    return path, Samples(open_part("synthetic:400", "search-score"), 64)


def test_a_network_is_shifted_once(checkpoint):
    path, samples = checkpoint
    before, bias = evaluate(path, "synthetic:400"), load_segmenter(path)[0].decoder.classifier.bias
    shift_classes(path, samples, 4, CPU)
    after, (network, info) = evaluate(path, "synthetic:400"), load_segmenter(path)
    assert after["mean_f1"] > before["mean_f1"]
    offsets = torch.tensor(info.training["class_offsets"])
    assert offsets[1] < -0.4
    assert torch.allclose(network.decoder.classifier.bias - bias, offsets, atol=1e-6)
    assert info.training["class_offsets_gain"] > 0

    content = path.read_bytes()
    shift_classes(path, samples, 4, CPU)
    assert path.read_bytes() == content


def test_a_training_shifts_its_best_epoch_in_the_end(checkpoint, configure):
    path, _ = checkpoint
    content = path.read_bytes()
    settings = configure(data="synthetic:400", limit_images=60)
    assert train(settings, path.parent, resume=True).checkpoint.read_bytes() == content
    settings = settings.model_copy(update={"class_offsets": True})
    train(settings, path.parent, resume=True)
    assert len(load_segmenter(path)[1].training["class_offsets"]) == 19


def test_what_gains_nothing_elsewhere_is_not_done(checkpoint, monkeypatch):
    path, samples = checkpoint
    monkeypatch.setattr(module, "_gain", lambda *_: -0.001)
    bias = load_segmenter(path)[0].decoder.classifier.bias
    shift_classes(path, samples, 4, CPU)
    network, info = load_segmenter(path)
    assert torch.equal(network.decoder.classifier.bias, bias)
    assert not any(info.training["class_offsets"])
    assert info.training["class_offsets_gain"] == -0.001


def test_a_pixel_is_the_middle_of_what_its_logit_stands_for(monkeypatch):
    samples = Samples(open_part("synthetic:400", "search-score"), 64)
    truth = iter(range(len(samples)))
    monkeypatch.setattr(module, "MOST_PIXELS", 900 * len(samples))  # of 1024 in each image

    def say(images):
        """Give logits as a network of stride 2 that makes no error."""
        labels = torch.stack([samples[0, next(truth)][1] for _ in images])
        return one_hot(labels[:, 1::2, 1::2].long(), 19).movedim(-1, 1)

    network = SimpleNamespace(input=lambda images: images, network=say)
    logits, labels = module._pixels(network, samples, 4, CPU)
    assert logits.shape == (len(samples), 19, 16, 16)
    assert torch.equal(logits.argmax(1), labels.long())
