import subprocess
import sys

import pytest

# Pages that the kernel fills in the last of some steps, each of which has 210 MiB and frees them.
PROGRAM = """
import resource, torch
from toolchain.training.device import torch_device
torch_device("cpu")
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(count, 2**18) for count in (40, 10, 80, 20, 60)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([step() for _ in range(12)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has this setting")
def test_freed_memory_is_used_again_without_the_kernel():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert int(run.stdout) < 1000, run.stderr
