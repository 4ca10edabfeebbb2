"""``nastool faces``: write a dataset as a folder."""

from pathlib import Path

import click

from export.console import Outcome, command


@command("faces")
@click.option("--data", default="synthetic:100", show_default=True, help="Folder or synthetic.")
@click.option("--dataset", help="Kind of the data; recognised by its layout when left out.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to fill.")
def faces(data: str, dataset: str | None, output: Path) -> Outcome:
    """Write a dataset as a folder of images/ and masks/, the layout that every command reads.

    Masks are PNGs whose palette index is the label. With synthetic data this shows what your own
    folder should look like; with another layout it converts it.

    \b
      nastool faces --data synthetic:100 --output faces
    """
    from toolchain.datasets import open_dataset
    from toolchain.datasets.writing import write_folder

    samples = open_dataset(data, kind=dataset)
    write_folder(samples, output)
    document = {"output": str(output), "images": len(samples), "licence": samples.licence}
    return Outcome(document, f"{len(samples)} pairs in {output}")
