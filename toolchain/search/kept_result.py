"""The last result of a search whose database could not be written any longer, in a file beside it.

A candidate takes minutes to train; another program may lock a database for longer than a search
waits for it.
"""

from pathlib import Path
from typing import Self

from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict

from export.system.errors import DataError
from export.system.files import read_json, validated, write_json
from toolchain.architecture import Architecture
from toolchain.search.stored_trials import Finite, Rescored
from toolchain.search.trial import Trial

NAME = "unstored.json"


class KeptResult(BaseModel):
    """How a trial ended, or what a longer training of one gave.

    Attributes:
        number: of the trial.
        rescored: what the longer training gave; None: the trial ended, and the others say how; see
            `toolchain.search.storage.StudyStorage.finish`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    candidate: Trial | None = None
    state: TrialState = TrialState.FAIL
    values: list[Finite] | None = None
    expected: Finite | None = None
    excess: Finite | None = None
    rescored: Rescored | None = None

    def is_of(self, architecture: Architecture) -> bool:
        """Say whether it is how the trial of an architecture ended."""
        return self.candidate is not None and self.candidate.architecture == architecture

    def save(self, folder: Path) -> bool:
        """Write it into a run's folder; say whether that could be done."""
        if not folder.is_dir():  # somebody has removed it
            return False
        try:
            write_json(folder / NAME, self.model_dump(mode="json"))
        except (DataError, OSError):  # the disk may be what the database has no room on
            return False
        return True

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` has written; None: there is nothing.

        Raises:
            DataError: the file is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        return validated(cls, read_json(path), path, "remove it: that candidate is trained again")
