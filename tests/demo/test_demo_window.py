"""The window's keys, with a stand-in everywhere and with a real window where there is a display."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_samples import write_video

import demo.window
from demo import player

WEBCAM = Path(demo.window.__file__).with_name("webcam.py")


class FakeWindow:
    """Presses prepared keys, one for each picture shown, and remembers the pictures."""

    def __init__(self, keys):
        self.keys, self.shown, self.captions, self.closed = list(keys), [], [], False

    def __call__(self, title):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def show(self, image, caption, at_least_ms=0):
        self.shown.append(image.copy())
        self.captions.append(caption)
        return self.keys.pop(0) if self.keys else "q"


@pytest.fixture
def watch(cli, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(player, "display_works", lambda: True)

    def play(keys, *arguments):
        window = FakeWindow(keys)
        monkeypatch.setattr(player, "Window", window)
        result = cli("demo", "--model", model, "--json", *arguments)
        assert result.code == 0, result.err
        return result.document, window

    return play


def test_q_quits(watch, video):
    document, window = watch(["", "", "q"], "--source", video)
    assert document["frames"] == len(window.shown) == 3


def test_a_video_plays_to_its_end(watch, video):
    document, _ = watch([""] * 99, "--source", video)
    assert document["frames"] == 12


def test_e_takes_the_next_effect(watch, picture):
    document, window = watch(["e", "e", "e", "e", "n"], "--source", picture)
    effects = [caption.split(",")[0] for caption in window.captions]
    assert effects == ["overlay", "blur", "background", "recolour", "overlay"]
    assert np.array_equal(window.shown[0], window.shown[4])
    assert not np.array_equal(window.shown[0], window.shown[2])
    assert document["frames"] == 1


def test_space_holds_a_video_until_space(watch, video):
    document, window = watch(["", " ", "", "", " ", "q"], "--source", video)
    assert all(np.array_equal(window.shown[1], held) for held in window.shown[2:5])
    assert document["frames"] == 3


def test_s_saves_what_is_shown(watch, picture):
    _, window = watch(["e", "s", "q"], "--source", picture)
    assert np.array_equal(cv2.imread("picture-blur.png"), window.shown[1])


def test_images_wait_for_a_key(watch, folder):
    document, window = watch(["", "", "n", "", "n"], "--source", folder)
    assert document["frames"] == 2
    assert len(window.shown) == 5


def test_what_is_written_is_what_was_shown_last(watch, picture, tmp_path):
    _, window = watch(["e", "n"], "--source", picture, "--output", tmp_path / "out.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "out.png")), window.shown[-1])


@pytest.fixture
def display():
    """An X display: the one there is, or a virtual one."""
    if "DISPLAY" in os.environ:
        yield os.environ["DISPLAY"]
        return
    if not shutil.which("Xvfb"):
        pytest.skip("DISPLAY is not set and Xvfb is not installed")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as number:
        name = f":{number.readline().strip()}"
    yield name
    server.terminate()
    server.wait()


@pytest.mark.display
def test_real_window(display, model, tmp_path):
    video = write_video(tmp_path / "clip.avi", 12)
    environment = {**os.environ, "DISPLAY": display}
    started = time.monotonic()
    process = subprocess.run(
        [
            sys.executable, str(WEBCAM), "--model", str(model), "--source", str(video),
            "--output", str(tmp_path / "out.mp4"), "--json",
        ],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert '"frames": 12' in process.stdout
    assert "no display" not in process.stderr
    assert time.monotonic() - started > 11 / 20, "a video is shown at its own speed"
