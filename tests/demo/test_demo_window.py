"""The window's keys, with a stand-in everywhere and with a real window where there is a display."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_samples import square_at, write_video

import demo.player
import demo.shipped
import demo.window
from demo.effects import VIEWS
from demo.sources import open_source

WEBCAM = Path(demo.window.__file__).with_name("webcam.py")


class FakeWindow:
    """Presses prepared keys, one at each look, and remembers the pictures."""

    def __init__(self, keys):
        self.keys, self.shown, self.captions, self.closed = list(keys), [], [], False
        self.full_screen = False

    def __call__(self, title, full_screen):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def show(self, image, caption):
        self.shown.append(image.copy())
        self.captions.append(caption)

    def key(self, seconds):
        time.sleep(min(seconds, 0.01))
        return self.keys.pop(0) if self.keys else "q"


@pytest.fixture
def watch(cli, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.window, "display_works", lambda: True)
    # Else a slow machine looks at the keyboard before there is a frame.
    monkeypatch.setattr(demo.player, "LOOK_SECONDS", 5)

    def play(keys, *arguments):
        window = FakeWindow(keys)
        monkeypatch.setattr(demo.window, "Window", window)
        result = cli("demo", "--model", model, "--fit", "letterbox", "--json", *arguments)
        assert result.code == 0, result.err
        return result.document, window

    return play


@pytest.fixture
def film(tmp_path):
    """A video of frames so short that each is looked at once."""
    return write_video(tmp_path / "film.avi", 12, fps=10_000)


@pytest.mark.parametrize("key", ["q", "\x1b"], ids=["q", "Esc"])
def test_keys_that_quit(watch, film, key):
    document, window = watch(["", "", key], "--source", film)
    assert document["frames"] == len(window.shown) == 3


def test_a_video_plays_to_its_end_at_its_speed(watch, video):
    started = time.perf_counter()
    document, _ = watch([""] * 9999, "--source", video)
    assert document["frames"] == 12
    assert time.perf_counter() - started >= 12 / 20


def test_e_takes_the_next_effect(watch, picture):
    document, window = watch([*"eeeeee", "n"], "--source", picture)
    effects = [caption.split(",")[0] for caption in window.captions]
    assert effects == [*VIEWS, "overlay"]
    assert np.array_equal(window.shown[0], window.shown[6])
    assert not np.array_equal(window.shown[0], window.shown[2])
    assert document["frames"] == 1


def test_e_leaves_out_what_the_model_cannot_do(cli, make_model, picture, monkeypatch, watch):
    classes = json.dumps(["background", *"abcdefg"])
    model = make_model(classes=classes)
    _, window = watch([*"eee", "n"], "--source", picture, "--model", model)
    effects = [caption.split(",")[0] for caption in window.captions]
    assert effects == ["overlay", "blur", "background", "labels"]


def test_space_holds_a_video_until_space(watch, film):
    document, window = watch(["", " ", "", "", " ", "q"], "--source", film)
    assert len(window.shown) == document["frames"] == 3
    assert window.keys == []


def test_s_saves_what_is_shown(watch, picture):
    _, window = watch(["e", "s", "q"], "--source", picture)
    assert np.array_equal(cv2.imread("picture-blur.png"), window.shown[1])


def test_images_wait_for_a_key(watch, folder):
    document, window = watch(["", "", "n", "", "n"], "--source", folder)
    assert document["frames"] == len(window.shown) == 2
    assert window.keys == []


def test_what_is_written_is_what_was_shown_last(watch, picture, tmp_path):
    _, window = watch(["e", "n"], "--source", picture, "--output", tmp_path / "out.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "out.png")), window.shown[-1])


@pytest.mark.parametrize("key", ["c", "[", "]", "h"])
def test_keys_that_change_what_is_shown(watch, picture, key):
    _, window = watch([key, "n"], "--source", picture)
    assert not np.array_equal(window.shown[0], window.shown[1])


def test_x_mirrors(watch, tmp_path):
    cv2.imwrite(str(tmp_path / "left.png"), square_at(0))
    _, window = watch(["x", "q"], "--source", tmp_path / "left.png")
    assert np.abs(window.shown[0][:, ::-1].astype(int) - window.shown[1]).mean() < 1


def test_r_records_until_r(watch, film):
    watch(["", "r", "", "", "r", "q"], "--source", film)
    with open_source("film-1.mp4") as made:
        assert len(list(made)) == 3


@pytest.mark.parametrize(
    ("effect", "output", "shown"),
    [
        ("overlay", "film.mp4", {"overlay", "blur", "background", "recolour", "labels"}),
        ("side-by-side", "film.mp4", {"side-by-side"}),
        ("labels", "maps", {"labels"}),
    ],
)
def test_e_keeps_to_what_is_being_written(watch, film, tmp_path, effect, output, shown):
    keys = [*"eeeeeeeee", "q"]
    arguments = ("--source", film, "--effect", effect, "--output", tmp_path / output)
    document, window = watch(keys, *arguments)
    assert document["frames"] == 10
    assert {caption.split(",")[0] for caption in window.captions} <= shown


def test_a_model_that_does_not_ship_changes_nothing(watch, film, monkeypatch, tmp_path):
    monkeypatch.setattr(demo.shipped, "__file__", str(tmp_path / "shipped.py"))
    document, _ = watch(["m", "", "", "", "q"], "--source", film)
    assert document["frames"] == 5
    assert document["model"].endswith("labels.onnx")


def test_f_covers_the_screen(watch, picture):
    _, window = watch(["f", "n"], "--source", picture)
    assert window.full_screen


def test_keys_work_while_the_camera_stalls(watch, fake_camera, monkeypatch):
    """It gives three frames, then nothing for a minute."""
    monkeypatch.setattr(demo.player, "LOOK_SECONDS", 0.02)
    camera = fake_camera(frames=99, seconds=0.001)
    read = camera.read

    def stalling():
        if camera.given == 3:
            time.sleep(60)
        return read()

    camera.read = stalling
    started = time.perf_counter()
    _, window = watch([*[""] * 9, "h", "", "q"], "--source", 0)
    assert not np.array_equal(window.shown[-1], window.shown[3]), "the help is on it"
    assert time.perf_counter() - started < 15


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
