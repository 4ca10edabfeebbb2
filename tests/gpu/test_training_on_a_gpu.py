"""Training images that stay on a GPU. Skips where torch sees none."""

import numpy as np
import pytest
import torch

from toolchain.datasets import open_dataset
from toolchain.settings.training_settings import AugmentationSettings, TrainingSettings
from toolchain.training.batch_augmentation import BatchAugmentation
from toolchain.training.resident import upload
from toolchain.training.samples import Samples
from toolchain.training.trainer import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU"),
]


def test_batches_are_varied_as_on_the_cpu_and_without_waiting():
    faces = open_dataset("synthetic:24")
    settings = AugmentationSettings(noise=0.0)
    made = []
    for name in ("cpu", "cuda:0"):
        stock = upload(Samples(faces, 128), torch.device(name))
        change = BatchAugmentation(*stock, faces.label_set, settings)
        change(np.arange(24), np.random.default_rng(0))
        if name != "cpu":
            torch.cuda.set_sync_debug_mode("error")
        try:
            images, labels = change(np.arange(24), np.random.default_rng(1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        made.append((images.cpu(), labels.cpu()))
    (images, labels), (others, other_labels) = made
    assert (labels == other_labels).float().mean() > 0.999
    assert (images.float() - others).abs().mean() < 2


def test_a_training_goes_on_where_it_was(tmp_path):
    settings = {
        "data": "synthetic:120", "genotype": "[[2], [[0, 2], [1, 4]]]", "encoder": "ghostnet-0.1",
        "input_size": 64, "device": "cuda:0", "rare_share": 0.2,
    }  # fmt: skip
    train(TrainingSettings.of(**settings, epochs=1), tmp_path)
    result = train(TrainingSettings.of(**settings, epochs=2), tmp_path, resume=True)
    assert result.epochs == 2
    assert np.isfinite(result.metrics["mean_f1"])
