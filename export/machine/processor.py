"""The CPU: which one it is, and what of it this process may use.

Part of a kit (`export.kit`): Python 3.8, and psutil only where it is there.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Extensions that runtimes choose their kernels by: with others, latencies are another device's.
EXTENSIONS = {
    **{name: name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni")},
    **{name: name for name in ("amx_int8", "amx_bf16", "asimd", "asimdhp", "i8mm", "bf16", "sve")},
    "asimddp": "dotprod",
}
CGROUPS = Path("/sys/fs/cgroup")
DEVICES = Path("/sys/devices/system/cpu")
MOST_THREADS = 1024
"""Threads, or processes, at once."""


def describe() -> dict[str, Any]:
    """Return what tells this CPU from others, and how it is set up; what is not known is None.

    Keys: ``model`` (its name), ``vendor``, ``family``, ``number`` (the vendor's numbers of family
    and model: one name may be of several generations), ``parts`` (ARM's cores, by their numbers),
    ``board`` (of single-board computers), ``vector`` (extensions), ``cores``, ``threads`` (that it
    has), ``usable`` (`usable_cores`), ``governor``, ``mhz`` (as found).
    """
    return {
        **identity(_read("/proc/cpuinfo"), _read("/proc/device-tree/model")),
        "cores": _physical_cores(),
        "threads": os.cpu_count(),
        "usable": usable_cores(),
        "governor": _read(DEVICES / "cpu0/cpufreq/scaling_governor"),
        "mhz": _mhz(),
    }


def identity(cpuinfo: str | None, board: str | None) -> dict[str, Any]:
    """Return the first keys of `describe`, which do not change while a machine is what it is.

    Args:
        cpuinfo: Linux's ``/proc/cpuinfo``, of this or of another machine; None where there is none.
        board: Linux's ``/proc/device-tree/model``, likewise.
    """
    if cpuinfo is None:
        return _elsewhere()
    blocks = [dict(_fields(block)) for block in re.split(r"\n\s*\n", cpuinfo.strip())]
    first = blocks[0] if blocks else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    parts = {
        f"{block['CPU implementer']}/{block['CPU part']}"
        for block in blocks
        if "CPU implementer" in block and "CPU part" in block
    }
    return {
        "model": first.get("model name") or board or (platform.machine() or None),
        "vendor": first.get("vendor_id") or first.get("CPU implementer"),
        "family": first.get("cpu family"),
        "number": first.get("model"),
        "parts": sorted(parts),
        "board": board,
        "vector": [name for flag, name in EXTENSIONS.items() if flag in flags],
    }


def _elsewhere() -> dict[str, Any]:
    """Return `identity` on systems other than Linux."""
    try:
        import cpuinfo

        found = cpuinfo.get_cpu_info()
    except Exception:  # it runs other programs, and code that it makes
        found = {}
    flags = set(found.get("flags", ()))
    return {
        "model": found.get("brand_raw") or platform.processor() or platform.machine() or None,
        "vendor": found.get("vendor_id_raw"),
        "family": _text(found.get("family")),
        "number": _text(found.get("model")),
        "parts": [],
        "board": None,
        "vector": [name for flag, name in EXTENSIONS.items() if flag in flags],
    }


def usable_cores() -> int:
    """Return how many threads can run at full speed at once; at least 1.

    Those of the physical cores that this process is allowed on, and no more than its control group
    has time for.
    """
    allowed = allowed_cores()
    cores = {_read(DEVICES / f"cpu{n}/topology/thread_siblings_list") or str(n) for n in allowed}
    # Elsewhere than on Linux nothing tells which are siblings.
    physical = len(cores) if sys.platform == "linux" else _physical_cores() or len(cores)
    return max(1, min(len(cores), physical, *(int(quota) for quota in _quotas())))


def allowed_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _quotas(root: Path = CGROUPS, groups: str | None = None) -> Iterator[float]:
    """Yield the cores' worth of time that each control group above this process has.

    Args:
        root: where they are mounted.
        groups: ``/proc/self/cgroup``.
    """
    text = groups if groups is not None else _read("/proc/self/cgroup") or ""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container sees its own group as the root, whatever the path says.
        for group in (Path(path), *Path(path).parents):
            for mount in (root, root / "cpu", root / "cpu,cpuacct", root / "unified"):
                folder = mount / str(group).lstrip("/")
                limit = (_read(folder / "cpu.max") or "").split()
                quota = _read(folder / "cpu.cfs_quota_us")
                period = _read(folder / "cpu.cfs_period_us")
                if not limit and quota and period:
                    limit = [quota, period]
                if len(limit) == 2 and limit[0] not in ("max", "-1"):
                    yield float(limit[0]) / float(limit[1])


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def _physical_cores() -> int | None:
    try:
        import psutil

        return psutil.cpu_count(logical=False)
    except ImportError:
        return None


def _mhz() -> int | None:
    try:
        import psutil

        frequency = psutil.cpu_freq()
    except Exception:  # of many kinds, on boards and in containers
        return None
    return round(frequency.current) if frequency else None


def _read(path: str | Path) -> str | None:
    """Return a system file's text; None where there is none, or none on this system."""
    if sys.platform != "linux":
        return None
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
