"""The models that come with this installation, by their names."""

from pathlib import Path
from typing import Any

from export.system.errors import UnavailableError
from export.system.inputs import Input, ModelFile

MODELS = ("fast", "balanced", "accurate")
PRECISIONS = ("fp32", "int8")


def shipped_model(name: str = "balanced", precision: str = "fp32") -> Path:
    """Return a model that comes with this installation.

    Raises:
        UnavailableError: none does, or not in this precision.
    """
    folder = Path(__file__).parent / "models"
    suffix = "" if precision == "fp32" else f"-{precision}"
    path = folder / f"{name}{suffix}.onnx"
    if path.is_file():
        return path
    there = sorted(path.stem for path in folder.glob("*.onnx"))
    which = f" {name} in {precision}" if there else ""
    others = f"; there are {', '.join(there)}" if there else ""
    raise UnavailableError(
        f"no model{which} ships with this installation: pass --model FILE{others}"
    )


def model_file(model: str, precision: str = "fp32") -> Path:
    """Return the file of a model: one that ships, by its name, or the file that is named."""
    return shipped_model(model, precision) if model in MODELS else Path(model)


class Model(Input):
    """The name of a model that ships, or a file; stays the text that it is."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Take any text."""
        return str(value)

    def problem(self, value: Any) -> str | None:
        """See `Input`."""
        problem = None if value in MODELS else ModelFile().problem(Path(value))
        if problem == "does not exist":
            problem += f"; give an ONNX file, or one that ships: {', '.join(MODELS)}"
        return problem
