"""What a training begins with. All that can be wrong with its inputs shows here, in seconds."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
from torch import nn

from export.system.errors import UsageError
from toolchain.datasets.base import FaceDataset, join
from toolchain.datasets.photographs import Photographs
from toolchain.datasets.seen import SeenImages
from toolchain.datasets.splits import Part, first, open_part
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import Segmenter, build_segmenter
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.checkpoints import is_checkpoint, read_checkpoint
from toolchain.training.device import torch_device
from toolchain.training.initialisation import load_initial_weights
from toolchain.training.samples import some_images
from toolchain.training.training_loss import load_teacher

CHOSEN_BY: Part = "search-score"
"""The part by which the best epoch is chosen; what is reported on val and test stays unseen."""


@dataclass(frozen=True)
class Start:
    """Images, and networks with their first weights.

    Attributes:
        device: that trains.
        parts: of the data, that are trained on.
        images: to train on.
        choosing: images by which the best epoch is chosen.
        faceless: pictures that nobody is in; None: none are given.
        network: that is trained, on the CPU.
        origin: one line that says what of its weights is not drawn.
        teacher: whose outputs it learns beside the labels, on the device; None: no teacher.
        inherited: the images that initial weights and teacher were trained on; None: not known.
    """

    device: torch.device
    parts: tuple[Part, ...]
    images: FaceDataset
    choosing: FaceDataset
    faceless: FaceDataset | None
    network: Segmenter
    origin: str
    teacher: nn.Module | None
    inherited: SeenImages | None

    @classmethod
    def of(cls, settings: TrainingSettings) -> Self:
        """Open what the settings name, and draw the rest by their seed.

        Raises:
            UsageError: the genotype, the encoder or the device is not known.
            UnavailableError: the device is not here.
            DataError: the data, weights or teacher cannot be used.
        """
        device = torch_device(settings.device)
        parts: tuple[Part, ...] = ("train",)
        if settings.with_search_images:
            parts += ("search-train",)
        data, kind, size = settings.data, settings.dataset, settings.network_size
        # Batch norm needs two images; of a further part any number is welcome.
        opened = [open_part(data, p, kind, least=2 if p == "train" else 0) for p in parts]
        images = first(join(*opened), settings.limit_images)
        choosing = open_part(data, CHOSEN_BY, kind)
        classes = images.label_set.classes
        folder = settings.faceless_images
        faceless = Photographs(folder) if folder and settings.augment else None

        torch.manual_seed(settings.seed)
        network = build_segmenter(
            Genotype.parse(settings.genotype),
            settings.encoder,
            len(classes),
            settings.aggregation,
        )
        origin = f"random weights, of the encoder too: {settings.encoder} has no --weights"
        if settings.weights:
            origin = load_initial_weights(network, settings.weights, some_images(images, size))
        if settings.start_share and not _are_of(network, classes, settings.weights):
            raise UsageError(
                f"--start-share {settings.start_share:g} needs --weights of a whole network of "
                "this architecture and these classes: its checkpoint"
            )
        teacher = None
        if settings.teacher:
            teacher = load_teacher(settings.teacher, classes, device)
        ancestors = [path for path in (settings.weights, settings.teacher) if path]
        inherited = _seen_by(ancestors)
        return cls(device, parts, images, choosing, faceless, network, origin, teacher, inherited)

    def seen(self) -> SeenImages | None:
        """Return all images that the trained network will have seen; None where not known."""
        if self.inherited is None:
            return None
        given = [images for images in (self.images, self.faceless) if images]
        return SeenImages.of(*given).union([self.inherited])

    def digests(self) -> dict[str, str]:
        """Return digests of the images, by a name for messages."""
        named = {
            "--data (images to train on)": self.images,
            "--data (images to choose by)": self.choosing,
        }
        if self.faceless:
            named["--faceless-images"] = self.faceless
        return {
            name: sha256(SeenImages.of(images).encode().encode()).hexdigest()
            for name, images in named.items()
        }


def _are_of(network: Segmenter, classes: tuple[str, ...], weights: Path | None) -> bool:
    """Tell whether weights are a checkpoint of the same network."""
    if weights is None or not is_checkpoint(weights):
        return False
    info = read_checkpoint(weights)[0]
    own = (str(network.genotype), network.encoder_name, network.aggregation, classes)
    return own == (info.genotype, info.encoder, info.aggregation, info.label_set.classes)


def _seen_by(files: Iterable[Path]) -> SeenImages | None:
    """Return the images of our data that the networks in some files were trained on."""
    seen = SeenImages()
    for file in files:
        # Encoders from elsewhere were trained on data from elsewhere.
        if is_checkpoint(file):
            known = read_checkpoint(file)[0].seen_images
            if known is None:
                return None
            seen = seen.union([known])
    return seen
