import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import onnx
import pytest
from chromium import Page
from demo_samples import CLASSES, PALETTE, SIZE, tiny_model
from web_samples import frame_with_face, serving

import demo.web.site
from demo.web.site import Site
from export.onnx_file.metadata import ModelMetadata

BUILT = Path(demo.web.site.__file__).parent / "page" / "onnxruntime"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def page_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the page's sources, taken for them, with a stand-in of the built part."""
    here = tmp_path / "web"
    ignored = shutil.ignore_patterns("onnxruntime", "node_modules", "__pycache__")
    shutil.copytree(BUILT.parents[1], here, ignore=ignored)
    (here / "page" / "onnxruntime").mkdir()
    (here / "page" / "onnxruntime" / "runtime.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(demo.web.site, "HERE", here)
    return here


@pytest.fixture(scope="session")
def built() -> None:
    if not BUILT.is_dir():
        pytest.skip("the page is not built: make web")


@pytest.fixture(scope="session")
def chromium(built: None) -> str:
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip(f"none of {', '.join(NAMES)} is installed")


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the fake camera shows again and again: a face that wanders to the right."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    frames = [cv2.imencode(".jpg", frame_with_face(60 + 4 * step, 90))[1] for step in range(20)]
    path.write_bytes(b"".join(frame.tobytes() for frame in frames))
    return path


@pytest.fixture(scope="session")
def web_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_model()
    ModelMetadata(classes=CLASSES, palette=PALETTE, input_size=SIZE, licence="none needed").write(
        model
    )
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def page_url(built: None, web_model: Path) -> Iterator[str]:
    """Serve the page with the tiny model."""
    with serving(Site.make(web_model)) as url:
        yield url


@pytest.fixture(scope="module")
def page(chromium: str, camera: Path) -> Iterator[Page]:
    with Page(chromium, camera, "--window-size=1280,900") as opened:
        opened.call("Emulation.setHardwareConcurrencyOverride", hardwareConcurrency=2)
        yield opened
