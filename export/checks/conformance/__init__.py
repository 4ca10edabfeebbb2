"""The contract of a runtime as checks with names, for the tests and for users' own machines.

`CHECKS` run on every `Target` (a runtime on a device). The tests run them where they can;
``nastool doctor --selftest`` runs them where the hardware is, and writes a report to send.
"""

from export.checks.conformance.contract import CHECKS, Check, Result, Target, run_check
from export.checks.conformance.report import selftest, targets

# Importing them registers them.
from export.checks.conformance import checks, gpu, model_files, tensorrt  # isort: skip

__all__ = [
    "CHECKS",
    "Check",
    "Result",
    "Target",
    "checks",
    "gpu",
    "model_files",
    "run_check",
    "selftest",
    "targets",
    "tensorrt",
]
