"""Faces with labels: readers of datasets, drawn faces, augmentation.

A new kind of dataset is one module with a `FaceDataset` that registers itself, an import below,
and a layout in ``tests/toolchain/datasets`` on which the conformance tests run.
"""

from toolchain.datasets import celebamask_hq, eg1800, folder, helen  # each registers itself
from toolchain.datasets.base import FaceDataset, Sample, Split, resize_sample
from toolchain.datasets.labels import LabelSet
from toolchain.datasets.registry import kinds, open_dataset

__all__ = [
    "FaceDataset",
    "LabelSet",
    "Sample",
    "Split",
    "celebamask_hq",
    "eg1800",
    "folder",
    "helen",
    "kinds",
    "open_dataset",
    "resize_sample",
]
