"""Measuring a device far away: a folder for it, and the table of what comes back.

A kit (`export.kit`) holds every graph of a profiling and the program that times them, which needs
Python 3.8, numpy and a runtime, but neither nastool nor torch nor the internet. It writes its raw
samples into one file; `toolchain.profiling.kit_samples` makes the fit and the certificate of that.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

import export
from export.kit import measure
from export.kit.runners import RUNNERS
from export.onnx_file.tail import DEFAULT_TAIL
from export.runtimes import open_session
from export.system.console import track
from export.system.errors import UsageError
from export.system.files import whole_folder
from toolchain.profiling.device import planned
from toolchain.profiling.face import face_image, feeds, soft_masks
from toolchain.profiling.jobs import export_parts, key_of, models_of
from toolchain.profiling.plan import Plan
from toolchain.profiling.stopwatch import sentinel

# What of nastool a kit holds, as it is.
FOLDERS = ("kit", "machine")
GRAPHS, WEIGHTS = "graphs", "weights.bin"
# Smaller tensors stay in the graph; runtimes want to see shapes and scalars there.
OUTSIDE_BYTES = 1024
# Pages of memory, so that weights can be mapped.
ALIGNMENT = 4096
PROGRAM = '''"""Measure this device: python3 measure.py --help"""

import sys
from pathlib import Path

try:
    from export.kit.measure import main
except ImportError as error:
    print(f"measure.py: {error}; install numpy", file=sys.stderr)
    sys.exit(3)

sys.exit(main(Path(__file__).parent))
'''


def write_kit(folder: Path, *, seconds: float = 0.1, **settings: Any) -> dict[str, Any]:
    """Write everything that a device needs to be measured without nastool.

    Args:
        folder: a new or empty one, or an earlier kit, which is replaced.
        seconds: to measure each graph, at least.
        settings: see `toolchain.profiling.device.planned`; ``threads`` are chosen on the device.

    Returns:
        ``kit`` (path), ``graphs`` (their number), ``size_bytes``.

    Raises:
        UsageError: a number or a name is wrong, or the runtime measures on this machine alone.
        DataError: the folder holds something else, or cannot be written.
    """
    plan = planned(**settings)
    made = plan.made
    if made.runtime not in RUNNERS:
        raise UsageError(f"--kit takes --runtime {' or '.join(RUNNERS)}, not {made.runtime}")
    # The simplest where nothing can be timed; see `Place.choose_tail`.
    made.tail = DEFAULT_TAIL if made.device == "cpu" else "resize"
    with whole_folder(folder, "a kit", marks=(measure.KIT,)) as new:
        export_parts(plan.shape, made.backbones)
        (new / GRAPHS).mkdir()
        _write(new, plan, seconds)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "kit": str(folder),
        "graphs": sum(path.suffix == ".onnx" for path in files),
        "size_bytes": sum(path.stat().st_size for path in files),
    }


def _write(folder: Path, plan: Plan, seconds: float) -> None:
    made, weights = plan.made, _Weights(folder / GRAPHS / WEIGHTS)
    jobs: list[dict[str, Any]] = []
    sizes: set[tuple[int, int]] = set()
    checked: dict[str, Any] = {}
    for job in track(plan.jobs, "Writing graphs", len(plan.jobs)):
        names: list[str] = []
        for content in models_of(job, plan.shape):
            name = f"{GRAPHS}/{len(jobs):04d}-{len(names)}.onnx"
            sizes |= weights.save(content, folder / name)
            names.append(name)
        jobs.append({"key": key_of(job), "graphs": names})
        if job in (plan.fresh or plan.fitted)[: len(made.backbones)]:
            with open_session(content) as session:
                (checked[name],) = session.run(feeds(session.inputs)).values()
    sizes |= weights.save(sentinel(), folder / GRAPHS / "sentinel.onnx")
    masks: dict[str, Any] = {
        f"planes {height}x{width}": soft_masks((height, width)) for height, width in sorted(sizes)
    }
    np.savez_compressed(folder / measure.INPUTS, image=face_image(made.input_size), **masks)
    np.savez_compressed(folder / measure.EXPECTED, **checked)
    document = {
        "kit_version": measure.KIT_VERSION,
        "id": kit_identity(plan),
        "settings": kit_settings(plan),
        "runtime": made.runtime,
        "device": made.device,
        "precision": made.precision,
        "seconds": seconds,
        "max_drift": made.max_drift,
        "sentinel": f"{GRAPHS}/sentinel.onnx",
        "checked": list(checked),
        "jobs": jobs,
    }
    (folder / measure.KIT).write_text(json.dumps(document, indent=1), encoding="utf-8")
    (folder / "measure.py").write_text(PROGRAM, encoding="utf-8")
    source = Path(export.__file__).parent
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in FOLDERS:
        shutil.copytree(source / name, folder / "export" / name, ignore=unwanted)
    shutil.copyfile(source / "__init__.py", folder / "export" / "__init__.py")
    shutil.copyfile(source / "kit" / "README.md", folder / "README.md")


class _Weights:
    """The weights of all graphs in one file: most have the same encoder."""

    def __init__(self, path: Path):
        self._path = path
        self._places: dict[bytes, int] = {}
        self._end = 0

    def save(self, content: bytes, path: Path) -> set[tuple[int, int]]:
        """Write a graph whose weights are elsewhere; return the sizes of its feature maps."""
        model = onnx.load_from_string(content)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) >= OUTSIDE_BYTES:
                self._move(tensor)
        for node in model.graph.node:
            # torch's stack traces, several times as long as the graph.
            del node.metadata_props[:]
        path.write_bytes(model.SerializeToString())
        inputs = [value.type.tensor_type for value in model.graph.input]
        maps = [value.shape.dim for value in inputs if value.elem_type == TensorProto.FLOAT]
        return {(dims[2].dim_value, dims[3].dim_value) for dims in maps}

    def _move(self, tensor: TensorProto) -> None:
        key = hashlib.sha256(tensor.raw_data).digest()
        if key not in self._places:
            self._places[key] = -(-self._end // ALIGNMENT) * ALIGNMENT
            with self._path.open("ab") as file:
                file.write(b"\0" * (self._places[key] - self._end) + tensor.raw_data)
            self._end = self._places[key] + len(tensor.raw_data)
        set_external_data(tensor, WEIGHTS, self._places[key], len(tensor.raw_data))
        tensor.ClearField("raw_data")


def kit_settings(plan: Plan) -> dict[str, Any]:
    """Return what the plan follows from."""
    made = plan.made
    return {
        **{name: getattr(made, name) for name in ("precision", "encoders", "classes")},
        **{name: getattr(made, name) for name in ("working_sizes", "aggregation", "seed", "tail")},
        "input_size": made.input_size[0],
        "fit_networks": plan.fit_networks,
        "certify_networks": plan.certify_networks,
        "version": made.version,
    }


def kit_identity(plan: Plan) -> str:
    """Return what is equal for kits of the same graphs."""
    content = [kit_settings(plan), *map(key_of, plan.jobs)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
