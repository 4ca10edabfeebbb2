import contextlib
import functools
import gc
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Where a shell or nohup runs the tests in the background they ignore signals, and so would the
# programs that they start and interrupt; what has a handler here is the default there.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# torch's exporter makes objects by the hundred thousand: a tenth of the time went into looking for
# garbage.
gc.set_threshold(50_000, 20, 20)
# It lists its operators anew for every file: 0.7 of 2.5 s.
with contextlib.suppress(ImportError, AttributeError):
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))

REAL_DATA = Path(__file__).parents[2] / "shared" / "data" / "celebamask-hq-mini"
SHARED_LOGS = Path(__file__).parents[2] / "shared" / "logs"

# A machine at work on other things is no error; --hypothesis-profile long looks for hours.
settings.register_profile("quick", deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("long", settings.get_profile("quick"), max_examples=20_000)
settings.load_profile("quick")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a nastool command line in this process: cli("cost", "[[0], ...]") -> Result."""
    from toolchain.cli import run

    def call(*arguments: Any) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.exists():
        pytest.skip("no CelebAMask-HQ pairs in ../shared/data")
    return REAL_DATA


@pytest.fixture
def names_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the set into which go the names of the synthetic faces that this test reads."""
    from toolchain.datasets.synthetic import SyntheticFaces

    names: set[str] = set()
    read = SyntheticFaces.read

    def note(faces: SyntheticFaces, index: int) -> Any:
        names.add(faces.names[index])
        return read(faces, index)

    monkeypatch.setattr(SyntheticFaces, "read", note)
    return names


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount something really: mount("tmpfs", "size=2m"), mount(folder, "bind"); again to change it.

    Skips where that is not allowed.
    """
    target = tmp_path / "mounted"
    target.mkdir()
    mounted = False

    def call(source: str | Path, options: str) -> Path:
        nonlocal mounted
        kind = ["-t", "tmpfs"] if source == "tmpfs" else []
        command = ["mount", *kind, "-o", options, str(source), str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting is not allowed here")
        mounted = True
        return target

    yield call
    if mounted:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


@pytest.fixture
def read_only(mount: Callable[..., Path]) -> Callable[[Path], Path]:
    """Return a function that shows a folder at another place, where nobody can write."""

    def call(folder: Path) -> Path:
        mount(folder, "bind")
        return mount(folder, "remount,ro,bind")

    return call
