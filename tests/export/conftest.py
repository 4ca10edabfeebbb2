from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_network import SIZE, SmallNetwork, make_metadata
from torch import nn

from export.onnx_file.writing import export_onnx
from export.runtimes.base import Array


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = SmallNetwork()
    network(torch.randn(4, 3, SIZE, SIZE))  # gives the batch norms statistics to fold
    network.eval()
    with torch.no_grad():
        network.head.weight *= 10  # untrained logits are nearly equal; trained ones are not
    return network


@pytest.fixture(scope="session")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return export_onnx(
        network, path, metadata=make_metadata(), input_size=SIZE, output="probabilities"
    )


@pytest.fixture(scope="session")
def pictures() -> list[tuple[str, Array]]:
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (6, 8, 8, 3), np.uint8)
    large = coarse.repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    noise = generator.integers(0, 30, large.shape, np.uint8)
    return [(f"picture {i}", image) for i, image in enumerate(large // 2 + noise)]
