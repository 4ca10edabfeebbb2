import os
import sys
import time

import psutil
import pytest

from export.kit import contention as module
from export.kit.contention import Contention, allowed_cores, busy_seconds


class Machine:
    """Clocks of a machine of two cores."""

    def __init__(self, monkeypatch):
        self.seconds = self.own = self.others = self.stolen = 0.0
        monkeypatch.setattr(module, "allowed_cores", lambda: {0, 1})
        monkeypatch.setattr(module.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(module.time, "process_time", lambda: self.own)
        busy = lambda cores: self.own + self.others + self.stolen  # noqa: E731
        monkeypatch.setattr(module, "busy_seconds", busy)

    def pass_time(self, seconds, own=0.0, others=0.0, stolen=0.0):
        self.seconds += seconds
        self.own += own * seconds
        self.others += others * seconds
        self.stolen += stolen * seconds


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


def test_cores_that_do_not_tell_are_quiet(monkeypatch):
    monkeypatch.setattr(module, "busy_seconds", lambda cores: None)
    contention = Contention(1)
    time.sleep(module.SPAN_SECONDS)
    assert contention.share() == 0.0


STAT = """cpu  300 0 0 9000 0 0 0 0 0 0
cpu0 100 10 20 3000 400 5 6 7 50 0
cpu1 200 0 0 3000 0 0 0 0 0 0
cpu10 1 1 1 1 1 1 1 1 0 0
intr 12345
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_seconds_of_the_allowed_cores_alone(tmp_path):
    (tmp_path / "stat").write_text(STAT)
    ticks = os.sysconf("SC_CLK_TCK")
    # Neither idle nor waiting for a disk; guests are in the users' time already.
    assert module._linux({0}, str(tmp_path / "stat")) == pytest.approx(148 / ticks)
    assert module._linux({0, 1}, str(tmp_path / "stat")) == pytest.approx(348 / ticks)
    assert module._linux({0}, str(tmp_path / "nowhere")) is None


def test_seconds_agree_with_another_reader_of_them():
    cores = allowed_cores()
    found = busy_seconds(cores)
    each = [times for core, times in enumerate(psutil.cpu_times(percpu=True)) if core in cores]
    guests = sum(getattr(t, "guest", 0) + getattr(t, "guest_nice", 0) for t in each)
    idle = sum(t.idle + getattr(t, "iowait", 0) for t in each)
    assert found == pytest.approx(sum(map(sum, each)) - idle - guests, abs=2)
