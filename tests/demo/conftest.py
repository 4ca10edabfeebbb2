from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
from demo_samples import CLASSES, PALETTE, SIZE, FakeCamera, square_at, tiny_model, write_video
from onnx import helper

from demo.sources import cameras
from export.onnx_file.metadata import ModelMetadata

ModelMaker = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> ModelMaker:
    """Write a model; keyword arguments replace or (None) remove its metadata."""

    def make(output: str = "labels", **metadata: str | None) -> Path:
        model = tiny_model(output)
        ModelMetadata(
            classes=CLASSES, palette=PALETTE, input_size=SIZE, licence="none needed"
        ).write(model)
        kept = {item.key: item.value for item in model.metadata_props} | metadata
        del model.metadata_props[:]
        helper.set_model_props(model, {key: text for key, text in kept.items() if text is not None})
        path = tmp_path / f"{output}.onnx"
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def model(make_model: ModelMaker) -> Path:
    return make_model()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), square_at(50))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "portraits"
    path.mkdir()
    cv2.imwrite(str(path / "b.jpg"), square_at(20))
    cv2.imwrite(str(path / "a.png"), square_at(60, 120, 100))
    (path / "notes.txt").write_text("not an image")
    return path


@pytest.fixture(params=[("clip.avi", "MJPG"), ("clip.mp4", "mp4v")], ids=["avi", "mp4"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, codec = request.param
    return write_video(tmp_path / name, 12, codec)


@pytest.fixture
def fake_camera(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCamera]:
    def install(frames: int, seconds: float, **behaviour: Any) -> FakeCamera:
        camera = FakeCamera(frames, seconds, **behaviour)
        monkeypatch.setattr(cv2, "VideoCapture", camera.opened)
        monkeypatch.setattr(cameras, "ABSENT", 0.3)
        monkeypatch.setattr(cameras, "RETRY", 0.02)
        return camera

    return install
