"""The files of the page, and the same as a folder for any static host."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Self

from demo.effects.overlay import FULL_NAMES
from demo.parser import FaceParser
from export.onnx_file.metadata import ModelMetadata
from export.system.errors import UnavailableError
from export.system.files import whole_folder

HERE = Path(__file__).parent
INDEX = "index.html"
MODEL = "model.onnx"
MARK = "model.json"
# By what the names of classes have in them. A face is followed by its skin and features: hair and
# clothes reach too far from it, and what is worn is seen where there is no face.
FEATURES = ("brow", "eye", "nose", "mouth", "lip")
PARTS = {
    "face": ("face", "skin", *FEATURES),
    "features": FEATURES,
    "hair": ("hair",),
    "lips": ("lip",),
}
GLASSES = ("glass", "eye_g")
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)
# The second to fourth isolate the page, without which browsers give its WebAssembly one thread.
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Site:
    """Everything that the page consists of; it asks for nothing else.

    Attributes:
        files: by their address below the page's: a file as it is, or its contents.
    """

    files: Mapping[str, Path | bytes]

    @classmethod
    def make(cls, model: Path | None = None) -> Self:
        """Put the page together with a model, by default the one that ships.

        Raises:
            DataError: the file is not a model that labels faces.
            UnavailableError: there is no model, or the page has not been built.
        """
        page = HERE / "page"
        if not (page / "onnxruntime").is_dir():
            raise UnavailableError(
                "the page lacks the runtime for browsers, which is not in the sources: run "
                "'make web' once in the folder of nastool (needs Node.js 20 or newer)"
            )
        files: dict[str, Path | bytes] = {
            path.relative_to(page).as_posix(): path
            for path in sorted(page.rglob("*"))
            if path.is_file()
        }
        index = Template((page / INDEX).read_text(encoding="utf-8"))
        files[INDEX] = index.substitute(policy=POLICY).encode()
        with FaceParser(model) as parser:
            files[MODEL] = parser.path
            files[MARK] = json.dumps(describe(parser.path.stem, parser.metadata)).encode()
        return cls(files)

    def read(self, address: str) -> bytes:
        """Return the contents of a file.

        Raises:
            KeyError: there is none of this address.
        """
        file = self.files[address]
        return file if isinstance(file, bytes) else file.read_bytes()

    def write(self, folder: str | Path) -> None:
        """Write the page as a folder for any static host, whole or not at all.

        Raises:
            DataError: the folder cannot be written, or holds something else than such a page.
        """
        lines = [f"{name}: {value}" for name, value in HEADERS.items()]
        readme = Template((HERE / "host.md").read_text(encoding="utf-8"))
        # Static hosts such as Netlify and Cloudflare Pages take headers from a file of this name.
        notes = {
            "README.md": readme.substitute(headers="\n".join(lines)).encode(),
            "_headers": "\n  ".join(["/*", *lines, ""]).rstrip(" ").encode(),
        }
        with whole_folder(folder, "a page of nastool demo", marks=(MARK, INDEX)) as new:
            for address, file in {**self.files, **notes}.items():
                path = new / address
                path.parent.mkdir(exist_ok=True)
                if isinstance(file, bytes):
                    path.write_bytes(file)
                else:
                    shutil.copyfile(file, path)


def describe(name: str, metadata: ModelMetadata) -> dict[str, Any]:
    """Return what the page must know of a model, JSON-ready.

    Args:
        name: of the model, for people.
        metadata: what its file says.
    """
    return {
        "name": name,
        "input_size": metadata.input_size,
        "classes": [FULL_NAMES.get(label, label.replace("_", " ")) for label in metadata.classes],
        "palette": metadata.palette,
        "parts": {part: _labels(metadata.classes, words) for part, words in PARTS.items()},
        "licence": metadata.licence,
    }


def _labels(classes: Sequence[str], words: Sequence[str]) -> list[int]:
    return [
        label
        for label, name in enumerate(classes)
        if label and _has(name, words) and not _has(name, GLASSES)
    ]


def _has(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)
