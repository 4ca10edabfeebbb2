"""A judge of the stand-in's score that takes a moment and stops what is hopeless.

Apart from the tests: workers import it, and torch, which it does not need, would take seconds.
"""

import hashlib
import os
import time

from stand_in import score

from toolchain.search.candidate import CandidateError, Evaluation, Failure


def judge(candidate):
    """Return a score that follows from the candidate; the split tells the given threshold."""
    time.sleep(0.02)
    if candidate.number % 17 == 5:
        raise CandidateError(Failure.NOT_FINITE, "the loss")
    final = score(candidate.genotype)
    # The score after stage 0 says something of the final one, and not everything.
    luck = hashlib.sha256(str(candidate.genotype).encode()).digest()[0] / 255
    early = final * (0.5 + 0.3 * luck)
    threshold = candidate.stop_below
    stopped = threshold is not None and early < threshold
    split = {"threshold": threshold or 0.0, "process": float(os.getpid())}
    return Evaluation(early if stopped else final, split, early, stopped)


def make_judge():
    """Start a worker."""
    return judge
