"""``nastool faces``: write a dataset as a folder."""

from pathlib import Path

import click

from export.system.command_line import command
from export.system.console import Outcome
from toolchain.cli.inputs import Data


@command("faces")
@click.option(
    "--data", type=Data(), default="synthetic:100", show_default=True, help="Folder or synthetic."
)
@click.option("--dataset", help="Kind of the data; recognised by its layout when left out.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
def faces(data: str, dataset: str | None, output: Path) -> Outcome:
    """Write a dataset as a folder of images/ and masks/, the layout that every command reads.

    Masks are PNGs whose palette index is the label, and labels.json says what the labels are. With
    synthetic data this shows what your own folder should look like; with another layout it converts
    it. Data with splits of its own keeps them, as train/, val/ and test/ with images/ and masks/ in
    each.

    \b
      nastool faces --data synthetic:100 --output faces
    """
    from toolchain.datasets import open_dataset
    from toolchain.datasets.writing import write_folder

    whole = open_dataset(data, kind=dataset)
    parts = [(split, open_dataset(data, split, dataset)) for split in whole.splits]
    write_folder(parts or [(None, whole)], output)
    document = {"output": str(output), "images": len(whole), "licence": whole.licence}
    return Outcome(document, f"{len(whole)} pairs in {output}")
