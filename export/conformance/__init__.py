"""The contract of a runtime as checks with names, for the tests and for users' own machines.

`CHECKS` run on every `Target` (a runtime on a device). The tests run them where they can;
``nastool doctor --selftest`` runs them where the hardware is, and writes a report to send.
"""

from export.conformance.contract import CHECKS, Check, Result, Target, run_check
from export.conformance.report import selftest, targets

# Importing them registers them.
from export.conformance import checks, files, gpu, tensorrt  # isort: skip

__all__ = [
    "CHECKS",
    "Check",
    "Result",
    "Target",
    "checks",
    "files",
    "gpu",
    "run_check",
    "selftest",
    "targets",
    "tensorrt",
]
