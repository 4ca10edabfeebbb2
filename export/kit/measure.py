"""The program of a kit: time its graphs on this device, and write what they took into one file."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from export.kit.journal import Journal, JournalError
from export.kit.protocol import BusyError, Compared, Protocol
from export.kit.runners import RUNNERS, MissingError
from export.machine import environment
from export.machine.processor import MOST_THREADS, usable_cores

KIT_VERSION = 2
KIT, INPUTS, EXPECTED = "kit.json", "inputs.npz", "expected.npz"
# Of the pixels of a network's labels, with those that nastool has computed.
LEAST_AGREEMENT = {"fp32": 0.99, "fp16": 0.9, "int8": 0.5}
SAY_SECONDS = 5.0


class KitError(Exception):
    """Something about the kit or the command is wrong; says what, and what to do."""


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 0 done, 1 busy or wrong, 2 misused, 3 missing.

    Args:
        folder: the kit's.
        arguments: of the command line.
    """
    try:
        kit = read_kit(folder)
        chosen = _parse(kit, arguments)
        return measure(folder, kit, chosen)
    except (KitError, JournalError) as error:
        print(f"measure.py: {error}", file=sys.stderr)
        return 2
    except MissingError as error:
        print(f"measure.py: {error}", file=sys.stderr)
        return 3
    except BusyError as error:
        print(f"measure.py: {error}; the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("measure.py: interrupted; the same command goes on", file=sys.stderr)
        return 130


def read_kit(folder: Path) -> dict[str, Any]:
    """Read what a kit says of itself.

    Raises:
        KitError: there is none, or it is of another version.
    """
    try:
        kit = json.loads((folder / KIT).read_text(encoding="utf-8"))
        version = kit["kit_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{folder / KIT} cannot be read ({error}); copy the whole kit") from None
    if version != KIT_VERSION:
        raise KitError(
            f"{folder / KIT}: kit_version is {version}, this program's {KIT_VERSION}; copy the "
            "whole kit"
        )
    return dict(kit)


def _parse(kit: dict[str, Any], arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="measure.py",
        description="Measure this device. Let nothing else run meanwhile. Once it is done, bring "
        "the file back: nastool profile-device --from-kit FILE makes the latency table.",
    )
    parser.add_argument("--device", default=kit["device"], help="default: %(default)s")
    parser.add_argument(
        "--threads", type=int, help="CPU threads; default: the physical cores that may be used"
    )
    parser.add_argument("--output", type=Path, default=Path("samples.jsonl"))
    parser.add_argument(
        "--max-drift",
        type=float,
        default=100 * kit["max_drift"],
        help="per cent by which fixed work may run slower than at its best; default: %(default)g",
    )
    chosen = parser.parse_args(arguments)
    if (chosen.device == "cpu") != (kit["device"] == "cpu"):
        raise KitError(f"the graphs are for {kit['device']}, not for {chosen.device}")
    if chosen.threads is not None and not 1 <= chosen.threads <= MOST_THREADS:
        raise KitError(f"--threads must be 1 to {MOST_THREADS}, not {chosen.threads}")
    if not 0 < chosen.max_drift < math.inf:
        raise KitError(f"--max-drift must be a number above 0, not {chosen.max_drift}")
    return chosen


def measure(folder: Path, kit: dict[str, Any], chosen: argparse.Namespace) -> int:
    """Time what has not been timed yet, and note it in the file; return the exit code."""
    begun = time.monotonic()
    threads = (chosen.threads or usable_cores()) if chosen.device == "cpu" else None
    with np.load(str(folder / INPUTS)) as arrays:
        inputs = dict(arrays.items())

    def feed(name: str, shape: Sequence[int], dtype: Any) -> np.ndarray:
        if dtype == np.uint8:
            return inputs["image"]
        planes = inputs[f"planes {shape[2]}x{shape[3]}"]
        return planes[np.arange(shape[1]) % len(planes)][None].astype(dtype)

    runner = RUNNERS[kit["runtime"]](chosen.device, threads, kit["precision"], feed)
    device = environment.device_facts(chosen.device)
    journal = Journal(
        chosen.output,
        {
            "kit": kit["id"],
            "kit_version": KIT_VERSION,
            "settings": kit["settings"],
            "runtime": kit["runtime"],
            "runtime_version": runner.version,
            "runtime_settings": runner.settings,
            "device": chosen.device,
            "device_facts": device,
            "threads": threads,
            "max_drift": chosen.max_drift / 100,
            "seconds": kit["seconds"],
        },
        resume=True,
        anew="give another --output to start anew",
    )
    print(f"{next(iter(device.values()), None)}, {kit['runtime']} {runner.version}", flush=True)
    agreement = _check(folder, kit, runner)
    protocol = Protocol(
        runner.open,
        folder / kit["sentinel"],
        threads or 1,
        kit["seconds"],
        chosen.max_drift / 100,
        say=lambda line: print(line, flush=True),
    )
    graphs = {job["key"]: [folder / graph for graph in job["graphs"]] for job in kit["jobs"]}
    protocol.compare_all(sorted(graphs), graphs.__getitem__, journal, _progress(len(graphs)))
    journal.end(
        {
            "agreement": agreement,
            "environment": environment.describe(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1),
        }
    )
    protocol.close()
    print(f"done; bring back {chosen.output}: nastool profile-device --from-kit {chosen.output}")
    return 0


def _progress(total: int) -> Callable[[Compared, int, bool], Compared]:
    """Say every few seconds how many of so many measurements are done, and how long it takes."""

    def watch(compared: Compared, left: int, again: bool) -> Compared:
        what = "measured at one speed of the machine" if again else "measured"
        begun = said = time.monotonic()
        for number, found in enumerate(compared, 1):
            yield found
            now = time.monotonic()
            if now - said > SAY_SECONDS or number == left:
                said = now
                seconds = (now - begun) / number * (left - number)
                done = total - left + number
                print(f"{done} of {total} {what}, {seconds:.0f} s left", flush=True)

    return watch


def _check(folder: Path, kit: dict[str, Any], runner: Any) -> float:
    """Compare some networks' labels with those that nastool computed; return the agreement."""
    agreements: list[float] = []
    with np.load(str(folder / EXPECTED)) as expected:
        for graph in kit["checked"]:
            found = runner.labels(folder / graph)
            agreements.append(float(np.mean(found == expected[graph])))
    worst = min(agreements, default=1.0)
    least = LEAST_AGREEMENT[kit["precision"]]
    if worst < least:
        raise KitError(
            f"labels agree with nastool's in {worst:.1%} of the pixels, below {least:.0%}: this "
            "runtime computes something else; try another version of it"
        )
    return worst
