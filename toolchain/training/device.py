"""Where a network computes, and in which memory order."""

import ctypes
import sys
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from export.system.errors import UnavailableError, UsageError

Network = TypeVar("Network", bound=nn.Module)


def torch_device(name: str) -> torch.device:
    """Return the device called ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: there is no such name.
        UnavailableError: torch cannot use that device here.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"--device {name} is not known; it is cpu or cuda:N")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UnavailableError(
            f"--device {name}: torch {torch.__version__} finds {torch.cuda.device_count()} CUDA "
            "devices; install a CUDA build of torch and the driver, or use --device cpu"
        )
    # Images are all of one size, so that it pays to look for the fastest way once.
    torch.backends.cudnn.benchmark = kind == "cuda"
    if kind == "cpu":
        _keep_freed_memory()
    return torch.device(name)


def on_device(network: Network, device: torch.device) -> Network:
    """Move a network to a device, its convolutions in channels-last order, which is faster."""
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed, since the next step asks for the same sizes again.

    By default it gives maps of features back to the kernel, which then fills new pages with zeros:
    a sixth of the processor's time in a training step at 256 pixels, a quarter at 416. See
    mallopt(3).
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        trim_threshold, mmap_max = -1, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
