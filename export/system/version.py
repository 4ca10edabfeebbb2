"""Which nastool this is."""

import tomllib
from importlib import metadata
from pathlib import Path

from export.system.errors import DataError

NAME = "nastool"


def version() -> str:
    """Return the version of this nastool, in a checkout that is not installed too."""
    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        pass
    from export.system.files import read_text  # pydantic takes longer than --help

    project = Path(__file__).parents[2] / "pyproject.toml"
    try:
        return str(tomllib.loads(read_text(project))["project"]["version"])
    except (DataError, ValueError, KeyError):
        return "unknown"
