"""Cameras that wake slowly, vanish and come back; a stream over HTTP."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from demo_samples import square_at

from demo.sources import open_source
from demo.sources.cameras import Camera, is_camera
from export.system.errors import UnavailableError


@pytest.mark.parametrize(
    ("where", "camera"),
    [
        ("0", True),
        ("/dev/video2", True),
        ("rtsp://user:word@10.0.0.5:554/live", True),
        ("http://10.0.0.5/video.mjpg", True),
        ("dshow:1", True),
        ("msmf:0", True),
        ("holiday.mp4", False),
        ("C:/films/holiday.mp4", False),
        ("file://holiday.mp4", False),
    ],
)
def test_what_is_a_camera(where, camera):
    assert is_camera(where) == camera


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("0", "webcam-0"),
        ("/dev/video2", "webcam-dev-video2"),
        ("msmf:1", "webcam-1"),
        ("rtsp://user:secret@10.0.0.5/live", "webcam-10-0-0-5-live"),
    ],
)
def test_names_are_fit_for_files_and_hold_no_password(where, name):
    assert Camera(where).name == name


def test_backends_are_asked_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *which: asked.append(which) or FakeClosed())
    for where in ("dshow:1", "msmf:0", "0"):
        Camera(where).open()
    assert asked == [(1, cv2.CAP_DSHOW), (0, cv2.CAP_MSMF), (0, cv2.CAP_ANY)]


class FakeClosed:
    """A capture that does not open."""

    def isOpened(self):  # noqa: N802
        return False

    def set(self, *_):
        return False

    def release(self):
        pass


def test_first_frames_may_fail(fake_camera):
    # It has one frame only: a reader that comes late gets the newest.
    fake_camera(frames=1, seconds=0.001, asleep=20)
    with open_source("0") as source:
        assert int(next(iter(source)).image[0, 0, 0]) == 0


def test_a_camera_that_never_wakes_is_unavailable(fake_camera, monkeypatch):
    monkeypatch.setattr("demo.sources.cameras.WAKING", 0.1)
    camera = fake_camera(frames=9, seconds=0.001, asleep=10_000)
    with pytest.raises(UnavailableError, match="camera 0 gives no picture"):
        open_source("0")
    assert camera.released


def test_a_camera_that_vanishes_is_waited_for(cli, model, fake_camera, monkeypatch):
    fake_camera(frames=9999, seconds=0.002, vanishes=5, absent=6)
    monkeypatch.setattr("demo.sources.cameras.ABSENT", 30)  # a busy machine sleeps long
    result = cli("demo", "--model", model, "--source", 0, "--no-display", "--json", "--limit", 20)
    assert result.code == 0, result.err
    assert result.document["frames"] == 20
    assert "camera 0 gives no picture: waiting" in result.err
    assert "camera 0 is back" in result.err


def test_a_camera_that_stays_away_ends_with_1(cli, model, fake_camera, tmp_path):
    fake_camera(frames=99, seconds=0.01, vanishes=5)
    output = tmp_path / "me.mp4"
    result = cli(
        "demo", "--model", model, "--source", 0, "--no-display", "--json", "--output", output
    )
    assert result.code == 1
    assert "FAILED: camera 0 vanished and stayed away" in result.err
    assert 1 <= result.document["frames"] <= 5
    with open_source(output) as made:
        assert len(list(made)) == result.document["frames"]


class MotionJpeg(BaseHTTPRequestHandler):
    """What a camera in the network serves: JPEG files without end, frame k at column 2 k."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(self.server.frames):
            jpeg = cv2.imencode(".jpg", square_at(number % 40 * 2))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return
            time.sleep(0.005)

    def log_message(self, *_):
        pass


@pytest.fixture
def network_camera():
    server = ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg)
    server.daemon_threads = True
    server.frames = 10_000
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_stream_over_http(network_camera):
    where = f"http://127.0.0.1:{network_camera.server_port}/live.mjpg"
    with open_source(where) as source:
        frames = [frame for frame, _ in zip(source, range(5), strict=False)]
    assert source.live
    assert len({frame.name for frame in frames}) == 5
    assert all(frame.image.shape == (90, 160, 3) for frame in frames)
    lefts = [int(np.flatnonzero(frame.image[65, :, 2] > 128)[0]) for frame in frames]
    assert lefts == sorted(lefts)
    assert lefts[-1] > lefts[0], "the picture goes on"


def test_a_stream_that_is_not_there(capfd):
    with pytest.raises(UnavailableError, match=r"camera http://127.0.0.1:9/live gives no picture"):
        open_source("http://127.0.0.1:9/live")
    assert capfd.readouterr().err == ""
