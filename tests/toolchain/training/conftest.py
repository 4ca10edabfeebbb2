from collections.abc import Callable

import pytest
import torch

from toolchain.datasets.labels import CELEBAMASK_HQ
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import Segmenter, build_segmenter
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.checkpoints import CheckpointInfo

GENOTYPE = "[[2, [0, 1, 0, 9]], [[0, 1], [2, 4]]]"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Sums over threads are rounded in another order: equal runs need one thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def info() -> CheckpointInfo:
    return CheckpointInfo(
        genotype=GENOTYPE,
        encoder="ghostnet-0.1",
        aggregation=8,
        label_set=CELEBAMASK_HQ,
        input_size=64,
        licence="none",
        training={"epochs": 3, "weights": None},
    )


@pytest.fixture
def network() -> Segmenter:
    torch.manual_seed(0)
    return build_segmenter(Genotype.parse(GENOTYPE), "ghostnet-0.1", 19, 8)


@pytest.fixture(scope="session")
def configure() -> Callable[..., TrainingSettings]:
    """Make the settings of a training that takes a second."""

    def make(**changes) -> TrainingSettings:
        tiny = {
            "data": "synthetic:24",
            "genotype": GENOTYPE,
            "encoder": "ghostnet-0.1",
            "aggregation": 8,
            "input_size": 64,
            "batch_size": 4,
            "epochs": 3,
            "keep_every": 2,
            "class_offsets": False,
        }
        return TrainingSettings.of(**{**tiny, **changes})

    return make
