import json
from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import interpolate

from toolchain.datasets.labels import IGNORED
from toolchain.datasets.splits import open_part
from toolchain.training import class_offsets as module
from toolchain.training.checkpoints import load_segmenter, save_checkpoint
from toolchain.training.class_offsets import PRICE, STEP, Pixels, find_offsets, shift_classes
from toolchain.training.evaluation import evaluate, framed_samples
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
    of_image = torch.arange(images).repeat_interleave(side * side)
    return Pixels(logits.movedim(1, 0).flatten(1), labels.flatten(), of_image)


def mean_f1(pixels, offsets):
    matrix = ConfusionMatrix(len(offsets))
    matrix.update(pixels.labels, (pixels.logits + offsets[:, None]).argmax(0))
    return matrix.mean_f1


def gain(pixels, offsets):
    return mean_f1(pixels, offsets) - mean_f1(pixels, torch.zeros(len(offsets)))


def test_one_class_gets_what_is_best_of_all_values(monkeypatch):
    """The counts by margin are those that labelling all pixels again would give."""
    sets = drawn(), replace(drawn(images=30, seed=5), weight=3)
    monkeypatch.setattr(module, "SWEEPS", 1)
    for pixels in sets:
        pixels.labels[pixels.labels == 2] = 1  # 2 and 0 are too rare to be moved, 1 and 3 come
        pixels.labels[pixels.labels == 0] = 1  # in turns

    def worth(offsets, k):
        means = [mean_f1(pixels, offsets) for pixels in sets]
        return fmean(means, [1, 3]) - PRICE * offsets[k] ** 2

    best = torch.zeros(4)
    for k in 1, 3:
        (tried := best.repeat(61, 1))[:, k] = STEP * torch.arange(-30, 31)
        best = tried[int(torch.tensor([worth(offsets, k) for offsets in tried]).argmax())]
    assert torch.equal(find_offsets(sets), best)
    assert all(best[[1, 3]])


def test_a_bias_is_taken_back_on_other_images_too():
    pixels, others = drawn(seed=1), drawn(seed=2)
    pixels.logits[1] += 1.2
    others.logits[1] += 1.2
    offsets = find_offsets([pixels])
    assert offsets[1] - offsets[0] < -0.7
    assert gain(others, offsets) > 0.02
    assert offsets.abs().max() <= 1.5


def test_what_helps_one_set_may_not_cost_another_as_much():
    """Faces that fill the frame and small ones: the offsets serve both, or do nothing."""
    large, small = drawn(seed=6), drawn(seed=7)
    large.logits[1] += 0.8
    small.logits[1] -= 0.8
    alone, both = find_offsets([large]), find_offsets([large, small])
    assert gain(small, alone) < -0.02
    assert gain(large, both) + gain(small, both) > max(0, gain(large, alone) + gain(small, alone))


def test_left_and_right_get_the_same():
    pixels = drawn(seed=3)
    pixels.logits[1] += 1
    pixels.logits[2] += 0.5
    offsets = find_offsets([pixels], [(1, 2)])
    assert offsets[1] == offsets[2] < 0


def test_classes_of_few_images_keep_their_logits():
    pixels, few = drawn(seed=4), drawn(seed=4)
    pixels.logits[3] -= 1
    few.logits[3] -= 1
    few.labels[(few.images >= 4) & (few.labels == 3)] = 0
    assert find_offsets([pixels])[3] > 0
    assert find_offsets([few])[3] == find_offsets([pixels, few])[3] == 0


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


def judged(path):
    """Return mean F1 at each of the scales, whole images first."""
    figures = evaluate(path, "synthetic:400", split="search-score", framing=module.SCALES)
    return [one["mean_f1"] for one in figures["framing"]]


def test_a_network_is_shifted_once(checkpoint):
    path, samples = checkpoint
    before, bias = judged(path), load_segmenter(path)[0].decoder.classifier.bias
    figures = shift_classes(path, samples, 4, CPU)
    after, (network, info) = judged(path), load_segmenter(path)
    weights = module.SCALES.values()
    assert fmean(after, weights) > fmean(before, weights) + 0.005
    offsets = torch.tensor(info.training["class_offsets"])
    assert torch.allclose(network.decoder.classifier.bias - bias, offsets, atol=1e-6)
    assert info.training["class_offsets_gain"] > 0
    assert info.training["mean_f1"] == figures["mean_f1"] == after[0]

    content = path.read_bytes()
    assert shift_classes(path, samples, 4, CPU) == figures
    assert path.read_bytes() == content


def test_a_training_shifts_its_best_epoch_in_the_end(checkpoint, configure):
    path, _ = checkpoint
    content = path.read_bytes()
    settings = configure(data="synthetic:400", limit_images=60)
    assert train(settings, path.parent, resume=True).checkpoint.read_bytes() == content
    settings = settings.model_copy(update={"class_offsets": True})
    figures = train(settings, path.parent, resume=True).metrics
    info = load_segmenter(path)[1]
    assert len(info.training["class_offsets"]) == 19
    lines = (path.parent / "metrics.jsonl").read_text().splitlines()
    assert info.training["mean_f1"] == figures["mean_f1"]
    assert all(json.loads(line)["metrics"]["mean_f1"] != figures["mean_f1"] for line in lines)


def test_what_gains_nothing_elsewhere_is_not_done(checkpoint, monkeypatch):
    path, samples = checkpoint
    monkeypatch.setattr(module, "_gains", lambda *_: [0.001, -0.002, -0.002])
    bias = load_segmenter(path)[0].decoder.classifier.bias
    shift_classes(path, samples, 4, CPU)
    network, info = load_segmenter(path)
    assert torch.equal(network.decoder.classifier.bias, bias)
    assert not any(info.training["class_offsets"])
    assert info.training["class_offsets_gain"] == -0.0005


@pytest.mark.parametrize("scale", [1, 0.5])
def test_pixels_are_those_of_the_labels(monkeypatch, scale):
    """Whatever the stride of the logits, they are upsampled as a file does it."""
    samples = Samples(open_part("synthetic:400", "search-score"), 64)
    seen = framed_samples(samples.dataset, 64, scale)
    monkeypatch.setattr(module, "MOST_PIXELS", 500 * scale**2 * len(samples))  # of 4096 an image
    torch.manual_seed(0)
    drawn = torch.randn(len(samples), 19, 16, 16)
    given = iter(drawn.split(4))
    network = SimpleNamespace(input=lambda images: images, network=lambda _: next(given))
    pixels = module._pixels(network, samples, scale, 4, CPU)

    places = slice(1, None, 3)
    truth = torch.stack([seen[0, n][1][places, places] for n in range(len(samples))])
    known = truth != IGNORED
    assert torch.equal(pixels.labels, truth[known].long())
    upsampled = interpolate(drawn, 64, mode="bilinear")[:, :, places, places].movedim(1, 0)
    torch.testing.assert_close(pixels.logits, upsampled[:, known])
    assert torch.equal(pixels.images, known.nonzero()[:, 0])
    half = pixels.half(1)
    assert set(half.images.tolist()) == set(range(1, len(samples), 2))
    assert torch.equal(half.labels, truth[1::2][known[1::2]].long())
