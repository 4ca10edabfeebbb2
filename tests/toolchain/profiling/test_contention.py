from types import SimpleNamespace

import psutil
import pytest

from toolchain.profiling import contention as module
from toolchain.profiling.contention import Contention


class Machine:
    """Clocks of a machine of two cores."""

    def __init__(self, monkeypatch):
        self.seconds = self.idle = self.own = self.others = self.stolen = 0.0
        monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(psutil, "cpu_times", self.times)
        own = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=self.own, system=0.0))
        monkeypatch.setattr(psutil, "Process", lambda: own)

    def times(self):
        fields = {"user": self.own + self.others, "idle": self.idle, "steal": self.stolen}
        return SimpleNamespace(_asdict=lambda: fields)

    def pass_time(self, seconds, own=0.0, others=0.0, stolen=0.0):
        self.seconds += seconds
        self.own += own * seconds
        self.others += others * seconds
        self.stolen += stolen * seconds
        self.idle += (2 - own - others - stolen) * seconds


@pytest.mark.parametrize(
    ("threads", "others", "stolen", "share"),
    [
        (2, 0.0, 0.0, 0.0),
        (2, 0.5, 0.0, 0.5),
        (2, 0.3, 0.2, 0.5),
        (1, 0.9, 0.0, 0.0),  # the other core is free for others
        (1, 1.0, 0.25, 0.25),
    ],
)
def test_share_of_the_cores_in_use(monkeypatch, threads, others, stolen, share):
    machine = Machine(monkeypatch)
    contention = Contention(threads)
    for _ in range(10):
        machine.pass_time(0.1, own=1.0, others=others, stolen=stolen)
        found = contention.share()
    assert found == pytest.approx(share)


def test_says_nothing_of_short_spans_and_forgets_long_ones(monkeypatch):
    machine = Machine(monkeypatch)
    contention = Contention(2)
    machine.pass_time(0.2, others=1.0)
    assert contention.share() == 0.0
    machine.pass_time(0.4, others=1.0)
    assert contention.share() == pytest.approx(1.0)
    for _ in range(8):
        machine.pass_time(0.1)
        quiet = contention.share()
    assert quiet == 0.0
