"""Reading files of torch from anywhere: no code of theirs runs, and no damage goes unnoticed."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from export.system.errors import DataError


def read_torch(path: str | Path) -> Any:
    """Read a file that ``torch.save`` has written, on the CPU, tensors and plain values only.

    Raises:
        DataError: it is missing, no file of torch, truncated, compressed (what it unpacks to would
            have no bound), or its bytes are not those that were written: torch keeps a checksum of
            every tensor in its archive, and does not check it.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(path, "does not exist" if not path.exists() else "is not a file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                    raise DataError(path, "is compressed within, which torch does not do")
                damaged = archive.testzip()
            if damaged:
                raise DataError(path, f"is damaged (in {damaged}); copy or make it again")
        # Sparse tensors may point beyond their ends; torch 2.11 warns unless it is told to look.
        with torch.sparse.check_sparse_tensor_invariants():
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # torch.load raises whatever its unpickler met
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else ""
        raise DataError(
            path, f"is not a torch file, or is truncated ({reason or type(error).__name__})"
        ) from None
