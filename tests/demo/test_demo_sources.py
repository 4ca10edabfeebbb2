import time

import cv2
import numpy as np
import pytest

from demo.sources import open_source
from export.system.errors import DataError, UnavailableError


def test_image(picture):
    with open_source(picture) as source:
        (frame,) = source
    assert (source.kind, source.total, source.name) == ("image", 1, "picture")
    assert frame.name == "picture.png"
    assert frame.image[25, 55].tolist() == [0, 0, 255]
    assert frame.capture_ms > 0


def test_folder_in_order_and_without_other_files(folder):
    with open_source(folder) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["a.png", "b.jpg"]
    assert [frame.image.shape for frame in frames] == [(120, 100, 3), (90, 160, 3)]
    assert (source.kind, source.total) == ("folder", 2)


def test_video_gives_every_frame_at_its_time(video):
    with open_source(str(video)) as source:
        frames = list(source)
    assert (source.kind, source.fps, source.total) == ("video", 20, 12)
    assert len(frames) == len({frame.name for frame in frames}) == 12
    assert [frame.timestamp for frame in frames] == pytest.approx(np.arange(12) / 20)
    reds = [np.flatnonzero(frame.image[25, :, 2] > 128).min() for frame in frames]
    assert np.abs(np.array(reds) - 2 * np.arange(12)).max() <= 1


def test_webcam_gives_the_newest_frame_to_a_slow_reader(fake_camera):
    camera = fake_camera(frames=40, seconds=0.005)
    seen = []
    with open_source("0") as source:
        for frame in source:
            seen.append(int(frame.image[0, 0, 0]))
            time.sleep(0.05)
    assert source.live
    assert source.dropped == 40 - len(seen)
    assert seen == sorted(set(seen))
    assert seen[-1] == 39, "the last frame is the newest"
    assert len(seen) < 20, "frames in between are dropped"
    assert camera.released


def test_leaving_early_stops_the_thread_and_frees_the_device(fake_camera):
    camera = fake_camera(frames=10_000, seconds=0.001)
    with open_source("0") as source:
        next(iter(source))
    assert camera.released
    given = camera.given
    time.sleep(0.02)
    assert camera.given == given


def test_leaving_a_file_early_does_not_hang(video):
    with open_source(video) as source:
        next(iter(source))


def test_damaged_image_in_a_folder_is_named(folder):
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes()[:40])
    with open_source(folder) as source, pytest.raises(DataError, match=r"c\.png.*damaged"):
        list(source)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.mp4: does not exist"):
        open_source(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("name", ["noise.mp4", "noise.png", "noise.txt", "empty.mp4"])
def test_neither_image_nor_video(tmp_path, name, capfd):
    path = tmp_path / name
    text = b"no picture at all\n" * 200
    path.write_bytes({"noise.txt": text, "empty.mp4": b""}.get(name, bytes(range(256)) * 40))
    with pytest.raises(DataError, match="neither an image nor a video"):
        open_source(path)
    assert capfd.readouterr().err == "", "OpenCV and FFmpeg stay silent"


def test_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match="holds no images"):
        open_source(tmp_path)


def test_no_camera(capfd):
    with pytest.raises(UnavailableError, match=r"camera 97 gives no picture: connect it.*--source"):
        open_source("97")
    assert capfd.readouterr().err == ""


@pytest.mark.camera
def test_real_camera():
    capture = cv2.VideoCapture(0)
    opened = capture.isOpened()
    capture.release()
    if not opened:
        pytest.skip("no camera 0")
    with open_source("0") as source:
        frames = [frame for frame, _ in zip(source, range(5), strict=False)]
    assert len({frame.timestamp for frame in frames}) == 5
