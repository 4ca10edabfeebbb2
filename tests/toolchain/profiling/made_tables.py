"""Latency tables with made-up figures, in no time."""

from toolchain.profiling.correction import Correction
from toolchain.profiling.entries import Difference, recipes, solve
from toolchain.profiling.networks import Shape
from toolchain.profiling.provenance import Provenance, device_name
from toolchain.profiling.table import Entry, LatencyTable


def made_table(
    encoders: tuple[str, ...] = ("mobilenetv2",), input_size: int = 512, **provenance
) -> LatencyTable:
    """Make a table of this machine in which every measured difference is 1 ms."""
    from export.runtimes import get_runtime

    shape = Shape(image=(input_size, input_size))
    values = {
        "environment": {},
        "runtime": "onnxruntime",
        "runtime_version": get_runtime("onnxruntime").version(),
        "device": "cpu",
        "device_name": device_name("cpu"),
        "precision": "fp32",
        "threads": 2,
        "settings": {},
        "input_size": shape.image,
        "classes": shape.classes,
        "aggregation": shape.aggregation,
        "encoders": list(encoders),
        "tail": "boundaries",
        "seed": 0,
        "date": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "version": "0",
    }
    made = Provenance(**{**values, **provenance})
    measured = [(recipe, Difference(4.0, 0.1, 7)) for recipe in recipes(shape, made.backbones)]
    measured = [
        (recipe, found._replace(latency_ms=1.0) if () in recipe.units.values() else found)
        for recipe, found in measured
    ]
    return LatencyTable(
        provenance=made,
        entries={
            unit.name: Entry(
                latency_ms=found.latency_ms,
                iqr_ms=found.iqr_ms,
                samples=found.samples,
                method=method,
            )
            for unit, found, method in solve(measured)
        },
        correction=Correction(constant_ms=0.5, weights=dict.fromkeys(encoders, 2.0), spread=0.1),
    )
