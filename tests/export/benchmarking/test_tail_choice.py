import numpy as np
import pytest

from export.benchmarking.tail_choice import fastest_tail
from export.onnx_file.tail import TAILS
from export.system.errors import UsageError

LOGITS = np.random.default_rng(0).standard_normal((1, 5, 16, 16), np.float32)


def test_the_fastest_has_the_shortest_time() -> None:
    choice = fastest_tail(LOGITS, 64, 64, threads=1)
    assert choice.latency_ms.keys() == TAILS.keys()
    times = {name: ms for name, ms in choice.latency_ms.items() if ms}
    assert times[choice.name] == min(times.values()) > 0


def test_the_time_of_boundaries_is_that_of_the_picture() -> None:
    plain = np.zeros((1, 19, 128, 128), np.float32)
    plain[:, 3] = 1
    noise = np.random.default_rng(0).standard_normal(plain.shape, np.float32)
    quick, slow = (fastest_tail(x, 512, 512, threads=1).latency_ms for x in (plain, noise))
    assert (quick["boundaries"] or 0) < (slow["boundaries"] or 0) / 2


def test_unknown_runtime() -> None:
    with pytest.raises(UsageError, match="'none' is not known"):
        fastest_tail(LOGITS, 64, 64, runtime="none")
