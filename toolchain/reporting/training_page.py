"""One training as one HTML page: how it went, each class, left against right, pictures."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import plotly.graph_objects as go

from export.system.errors import DataError
from export.system.files import parse_json, read_text, write_text
from toolchain.datasets.base import Pixels
from toolchain.datasets.splits import first, open_part
from toolchain.reporting.figures import SCORE, styled
from toolchain.reporting.markup import card, section
from toolchain.reporting.standalone import Figures, standalone_page
from toolchain.settings.base import FILE_NAME, read_record
from toolchain.settings.training_settings import TrainingSettings
from toolchain.training.checkpoints import CheckpointInfo, read_checkpoint
from toolchain.training.evaluation import Model, open_model
from toolchain.training.inspection import Inspection, inspect, sheet
from toolchain.training.start import CHOSEN_BY

NAME = "training.html"
PICTURES = 6
SIDE = 192


def write_training_page(folder: Path) -> Path:
    """Write the page of a training beside its checkpoints, about 5 MB.

    It shows the best epoch's network on the images by which that epoch was chosen, some of which
    are in it: the page is for whoever may see the data.

    Args:
        folder: of the training.

    Returns:
        The file.

    Raises:
        DataError: a file of the training or of the data cannot be read.
    """
    best = folder / "best.pt"
    settings = read_record(folder / FILE_NAME, TrainingSettings)[0]
    info, _ = read_checkpoint(best)
    model = open_model(best)
    found = inspect(model, open_part(settings.data, CHOSEN_BY, settings.dataset))
    history = _read_history(folder / "metrics.jsonl")
    figures = Figures()
    sections = [
        _header(folder, info, found),
        _curves(history, figures),
        _classes(found),
        _sides(found),
        _sheet("Worst pictures", model, found, found.worst[:PICTURES]),
        _sheet("Pictures by chance", model, found, _by_chance(found)),
    ]
    output = folder / NAME
    write_text(output, standalone_page(f"Training: {folder.name}", sections, figures))
    return output


def _read_history(path: Path) -> list[dict[str, Any]]:
    try:
        history = [parse_json(line) for line in read_text(path).splitlines()]
        return [
            {"epoch": each["epoch"], "loss": each["loss"], "mean_f1": each["metrics"]["mean_f1"]}
            for each in history
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"is no record of epochs ({error}); train again") from None


def _header(folder: Path, info: CheckpointInfo, found: Inspection) -> str:
    matrix, training = found.matrix, info.training
    facts = {
        "Mean F1": f"{matrix.mean_f1:.3f}",
        "Without rare classes": _share(found.mean_f1_without_rare),
        "Mean IoU": f"{matrix.miou:.3f}",
        "Epoch": f"{training['epochs']}",
        "Pixels": f"{info.network_size} of {info.input_size}",
        "Encoder": info.encoder,
        "Trained on": f"{training['images']} images",
    }
    items = "".join(f"<div><dt>{key}</dt><dd>{escape(v)}</dd></div>" for key, v in facts.items())
    genotype = escape(info.genotype)
    return (
        f'<p class="kicker">Training</p><h1>{escape(folder.resolve().name)}</h1>'
        f'<p class="soft">The best epoch on the {len(found.images)} images of {CHOSEN_BY} that it '
        "was chosen by; what it is worth, nastool evaluate says on images that nothing was chosen "
        f"by. {escape(info.licence)}</p>"
        f"{card(f'<dl class=facts>{items}</dl>')}"
        f'<div class="genotype"><button data-copy="{genotype}">Copy</button>'
        f"<code>{genotype}</code></div>"
    )


def _curves(history: Sequence[dict[str, Any]], figures: Figures) -> str:
    epochs = [record["epoch"] for record in history]
    curves = {
        "Mean F1 of the averaged weights": (SCORE, [record["mean_f1"] for record in history]),
        "Loss": ("Mean over the epoch", [record["loss"] for record in history]),
    }
    plots = ""
    for title, (axis, values) in curves.items():
        line = {"color": "var(--run-0)", "width": 2}
        trace = go.Scatter(x=epochs, y=values, mode="lines+markers", line=line)
        plots += figures.place(title, styled([trace], x="Epoch", y=axis))
    return section("How it went", "", f'<div class="grid">{plots}</div>')


def _classes(found: Inspection) -> str:
    names, rare = found.images.label_set.classes, found.rare
    rows = "".join(
        f'<tr><td class="text" data-value="{escape(name)}">{escape(name)}</td>'
        f"{_cell(found.matrix.f1[k])}{_cell(found.boundary_f1[k])}{_cell(found.shares[k])}"
        f'<td class="text">{"rare" if k in rare else ""}</td></tr>'
        for k, name in enumerate(names)
    )
    return section(
        "Classes",
        "F1 is of all pixels; boundary F1 of those on edges, which may lie two pixels of 512 "
        "apart: it tells of thin parts. Click a heading to sort.",
        _table(["Class", "F1", "Boundary F1", "Images that have it", ""], rows),
    )


def _sides(found: Inspection) -> str:
    label_set, f1 = found.images.label_set, found.matrix.f1
    pairs = [(a, b) for a, b in label_set.swaps if f1[a] is not None and f1[b] is not None]
    if not pairs:
        return ""
    rows = "".join(
        f'<tr><td class="text">{escape(label_set.classes[a])}, {escape(label_set.classes[b])}</td>'
        f"{_cell(f1[a])}{_cell(f1[b])}{_cell(abs((f1[a] or 0) - (f1[b] or 0)))}</tr>"
        for a, b in pairs
    )
    return section(
        "Left and right",
        "One side much worse than the other: faces that look one way, or masks that mix them up.",
        _table(["Pair", "First", "Second", "Difference"], rows),
    )


def _by_chance(found: Inspection) -> list[int]:
    chosen = set(first(found.images, PICTURES).names)
    return [place for place, name in enumerate(found.images.names) if name in chosen]


def _sheet(title: str, model: Model, found: Inspection, places: Sequence[int]) -> str:
    rows, names = sheet(model, found.images.subset(places), SIDE), found.images.names
    cards = "".join(
        card(
            "".join(map(_picture, row))
            + f'<p class="soft">{escape(names[place])}: F1 {found.scores[place]:.3f}</p>'
        )
        for place, row in zip(places, rows, strict=True)
    )
    return section(
        title,
        "The picture, its labels, what the network says. F1 here is the mean over one picture.",
        f'<div class="sheet">{cards}</div>',
    )


def _picture(pixels: Pixels) -> str:
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f'<img alt="" src="data:image/jpeg;base64,{b64encode(encoded.tobytes()).decode()}">'


def _table(heads: Sequence[str], rows: str) -> str:
    columns = "".join(
        f'<th class="{"" if place else "text"}"><button>{head}</button></th>'
        for place, head in enumerate(heads)
    )
    return (
        f'<div class="card scroll"><table><thead><tr>{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(value: float | None) -> str:
    return f'<td data-value="{"" if value is None else value}">{_share(value)}</td>'


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
