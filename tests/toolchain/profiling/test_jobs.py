import numpy as np

from export.kit.journal import Measurements
from export.kit.protocol import Protocol
from toolchain.architecture import Architecture
from toolchain.genotype import Genotype
from toolchain.profiling import jobs as module
from toolchain.profiling.jobs import key_of, measure_all
from toolchain.profiling.networks import Shape


class Stopwatch(Protocol):
    """Of a machine that is slow while it measures some networks for the first time."""

    seconds, max_drift = 0.1, 0.1

    def __init__(self, slow: set[str]):
        self.slow, self.sentinel_ms = slow, 1.0
        self.measured: list[str] = []

    def each(self, keys, measure):
        for key in keys:
            self.sentinel_ms = 1.5 if key in self.slow and key not in self.measured else 1.0
            self.measured.append(key)
            yield key, measure(key)

    def compare(self, models):
        return np.array([[self.sentinel_ms]])


def test_what_was_measured_at_another_speed_is_measured_once_more(monkeypatch, caplog):
    monkeypatch.setattr(module, "models_of", lambda *_: [])
    networks = [
        Architecture(Genotype.parse(f"{operation} [0,1]"), "ghostnet-0.1") for operation in range(7)
    ]
    keys = [key_of(network) for network in networks]
    found = Measurements()
    found.add(keys[6], np.array([[9.0]]), 1.05)  # known from before
    found.add("of an earlier plan", np.array([[9.0]]), 1.5)
    stopwatch = Stopwatch({keys[1], keys[4]})
    with caplog.at_level("INFO"):
        measure_all(stopwatch, networks, Shape(), found)
    assert stopwatch.measured == [*keys[:6], keys[1], keys[4]]
    assert "2 of 7 graphs were measured at another speed of the machine" in caplog.text
    assert [found.measured[key].item() for key in keys] == [1, 1, 1, 1, 1, 1, 9]
    assert found.at_other_speeds(0.1) == ["of an earlier plan"]
