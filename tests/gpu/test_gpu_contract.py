"""The contract of a runtime on every GPU here. Skips, with its reason, where there is none."""

import pytest

from export.checks.conformance import CHECKS, Check, Target, run_check
from export.runtimes import RUNTIMES

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=list(RUNTIMES))
def target(request: pytest.FixtureRequest) -> Target:
    target = Target(request.param, "cuda:0")
    if trouble := target.trouble():
        if not trouble.broken:
            pytest.skip(trouble.reason)
        pytest.fail(trouble.reason)
    return target


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract_on_a_gpu(check: Check, target: Target) -> None:
    result = run_check(check, target)
    if result.outcome == "skipped":
        pytest.skip(str(result.reason))
    assert result.outcome == "passed", result.reason
