import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data" / "celebamask-hq-mini"
SHARED_LOGS = Path(__file__).parents[2] / "shared" / "logs"


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
