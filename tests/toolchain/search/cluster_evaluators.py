"""Evaluators that Ray's workers import. Nothing here needs torch, which takes seconds to import."""

import os
import time

import numpy as np
from stand_in import score

from toolchain.search.trial import CandidateError, Evaluation, Failure


def node():
    import ray

    return ray.get_runtime_context().get_node_id()


class Scorer:
    """Evaluates by the stand-in's formula, or fails in the way that is listed for a number.

    Who evaluated a candidate is in a file of its number. Victim: of all workers, the first that
    gets a candidate of that number or later never ends; the file ``victim`` names its process.
    """

    def __init__(self, folder, ways, victim=None, spared_node=None):
        self.folder, self.ways, self.victim = folder, ways, victim
        self.spared = node() == spared_node

    def __call__(self, candidate):
        with open(self.folder / str(candidate.number), "a") as file:
            print(os.getpid(), node(), file=file)
        way = self.ways.get(candidate.number)
        if way == "memory":
            raise CandidateError(Failure.OUT_OF_MEMORY, "no room")
        if way == "bug":
            raise ValueError("a bug")
        if way == "exit":
            os._exit(3)
        if way == "slow" or self.is_victim(candidate.number):
            time.sleep(60)
        time.sleep(0.05)
        return Evaluation(score(candidate.architecture.genotype))

    def is_victim(self, number):
        if self.victim is None or number < self.victim or self.spared:
            return False
        try:
            with open(self.folder / "victim", "x") as file:
                print(number, os.getpid(), file=file)
        except FileExistsError:
            return False
        return True


class SlowStart(Scorer):
    def __init__(self, folder):
        time.sleep(3)
        super().__init__(folder, {1: "exit"})


class Holder:
    """Holds arrays as a search's memory does; its score says how those of a worker differ."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __call__(self, candidate):
        expected = make_arrays()
        same = all(np.array_equal(self.arrays[name], expected[name]) for name in expected)
        # An array that lies in Ray's shared memory cannot be written: no copy of it was made.
        shared = not any(array.flags.writeable for array in self.arrays.values())
        return Evaluation(float(same and shared and len(self.arrays) == len(expected)))


def make_arrays():
    generator = np.random.default_rng(0)
    return {
        "images": generator.integers(0, 256, (100, 64, 64, 3), np.uint8),
        "features": generator.standard_normal((50, 16, 16, 24)).astype(np.float16),
    }


def broken():
    raise ImportError("no such thing")
