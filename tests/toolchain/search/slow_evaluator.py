"""An evaluator of the stand-in's score that takes a moment and stops where it is told to.

Apart from the tests: workers import it, and torch, which it does not need, would take seconds.
"""

import hashlib
import os
import time

from stand_in import score

from toolchain.search.trial import CandidateError, Evaluation, Failure


def evaluate(candidate):
    """Return a score that follows from the candidate; the phases tell the process."""
    time.sleep(0.02)
    if candidate.number % 17 == 5:
        raise CandidateError(Failure.NOT_FINITE, "the loss")
    final = score(candidate.architecture.genotype)
    # The score after stage 0 says something of the final one, and not everything.
    luck = hashlib.sha256(str(candidate.architecture.genotype).encode()).digest()[0] / 255
    early = final * (0.5 + 0.3 * luck)
    stopped = candidate.stop_below is not None and early < candidate.stop_below
    return Evaluation(None if stopped else final, {"process": float(os.getpid())}, early)


def make_evaluator():
    """Start a worker."""
    return evaluate
