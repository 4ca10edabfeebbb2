"""What commands read besides files, and how it is recognised at a glance."""

from pathlib import Path
from typing import Any

import click

from export.system.inputs import Input, InputFile
from toolchain.settings.base import FILE_NAME, data_problem
from toolchain.settings.search_settings import NOT_A_RUN


class Data(Input):
    """A folder of images, or ``synthetic:COUNT[:SEED]``; stays the text that it is."""

    called = "data"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take any text."""
        return str(click.STRING.convert(value, param, ctx))

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return data_problem(value)


class RunFolder(Input):
    """The folder of a search."""

    called = "run"

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return None if (value / FILE_NAME).is_file() else NOT_A_RUN


class RunOrLog(Input):
    """The folder of a search, or the file of a published log."""

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return None if value.is_file() else RunFolder().problem(value)


class GenotypeText(Data):
    """A genotype's text, or the file that holds one."""

    called = "genotype"

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        return InputFile().problem(Path(value)) if value.endswith(".json") else None
