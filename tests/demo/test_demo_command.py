import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from demo_samples import GREEN, PALETTE, RED, square_at, write_video
from PIL import Image

import demo.shipped
from demo import window
from demo.colours import COLOUR_BLIND
from demo.smoothing import Smoother
from demo.sources import open_source

STAGES = {"capture", "preprocess", "inference", "postprocess", "draw", "write"}
WEBCAM = Path(demo.shipped.__file__).with_name("webcam.py")


@pytest.fixture
def run(cli, model):
    """Run the command on the tiny model without a window."""
    as_it_is = ("--no-display", "--json", "--fit", "letterbox")
    return lambda *arguments: cli("demo", "--model", model, *as_it_is, *arguments)


def frames_of(path):
    with open_source(path) as source:
        return [frame.image for frame in source]


def duration(path):
    with av.open(str(path)) as container:
        return container.duration / 1e6


def overlaid(colour, label, opacity):
    return [
        round((1 - opacity) * value + opacity * paint)
        for value, paint in zip(colour, reversed(PALETTE[label]), strict=True)
    ]


def test_image(run, picture, tmp_path):
    output = tmp_path / "drawn.png"
    result = run("--source", picture, "--output", output, "--opacity", 0.5, "--no-outlines")
    assert result.code == 0, result.err
    assert result.document["frames"] == 1
    assert set(result.document["stages_ms"]) == STAGES
    assert all(value > 0 for value in result.document["stages_ms"].values())
    drawn = cv2.imread(str(output))
    assert drawn.shape == (90, 160, 3)
    assert drawn[5, 5].tolist() == [0, 0, 0]
    assert np.abs(drawn[57, 80] - np.array(overlaid(RED, 1, 0.5))).max() <= 1
    assert np.abs(drawn[30, 80] - np.array(overlaid(GREEN, 2, 0.5))).max() <= 1


def test_pictures_without_a_face_are_counted(cli, model, folder, tmp_path):
    """What these pictures show has no features of a face."""
    arguments = ("--no-display", "--source", folder, "--output", tmp_path / "parsed")
    result = cli("demo", "--model", model, *arguments)
    assert result.code == 0, result.err
    said = "no face was found in 2 of 2 frames; --fit letterbox labels frames as they are"
    assert said in result.err
    assert said not in cli("demo", "--model", model, *arguments, "--fit", "letterbox").err


def test_folder_keeps_names_and_sizes(run, folder, tmp_path):
    output = tmp_path / "parsed"
    result = run("--source", folder, "--output", output)
    assert result.document["frames"] == 2
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "b.jpg"]
    assert cv2.imread(str(output / "a.png")).shape == (120, 100, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".webm"])
def test_video(run, tmp_path, suffix):
    source = write_video(tmp_path / "clip.avi", 12)
    output = tmp_path / f"drawn{suffix}"
    result = run("--source", source, "--output", output, "--smooth", 0)
    assert result.code == 0, result.err
    assert result.document["frames"] == 12
    assert result.document["fps"] > 0
    with open_source(output) as made:
        assert made.fps == pytest.approx(20)
        images = [frame.image for frame in made]
    assert len(images) == 12
    assert images[0].shape == (90, 160, 3)
    # The overlay follows the square: its colour is in the last frame where the square is.
    assert np.abs(images[11][57, 52] - np.array(overlaid(RED, 1, 0.45))).max() < 40
    assert images[11][57, 8].max() < 40


@pytest.mark.parametrize("effect", ["blur", "background", "recolour"])
def test_effects(run, picture, tmp_path, effect):
    output = tmp_path / "drawn.png"
    result = run(
        "--source", picture, "--effect", effect, "--background", "teal", "--output", output
    )
    assert result.document["effect"] == effect
    drawn = cv2.imread(str(output))
    if effect == "background":
        assert drawn[5, 5].tolist() == [128, 128, 0]
    if effect == "recolour":
        assert drawn[30, 80].tolist() != list(GREEN)
    assert drawn[57, 80].tolist() == list(RED)


def test_limit_and_measuring_only(run, video):
    result = run("--source", video, "--limit", 5)
    assert result.document["frames"] == 5
    assert result.document["output"] is None
    assert result.document["stages_ms"]["write"] is None


def test_folder_of_frames_from_a_video(run, video, tmp_path):
    run("--source", video, "--limit", 3, "--output", tmp_path / "frames")
    assert len(list((tmp_path / "frames").glob("clip-*.png"))) == 3


def test_webcam_recording_keeps_time(run, fake_camera, tmp_path):
    camera = fake_camera(frames=99, seconds=0.05)
    output = tmp_path / "me.mp4"
    started = time.perf_counter()
    result = run("--source", 0, "--output", output, "--limit", 20)
    spent = time.perf_counter() - started
    assert result.code == 0, result.err
    assert result.document["source"] == "webcam-0"
    assert camera.released
    assert 0.9 < duration(output) < spent


def test_text_for_people(cli, model, picture):
    result = cli("demo", "--model", model, "--no-display", "--source", picture, "--fps-overlay")
    assert result.code == 0
    assert "inference" in result.out
    assert "per second" in result.out


def test_without_a_display_frames_are_written(cli, model, picture, video, tmp_path, monkeypatch):
    monkeypatch.setattr(window, "display_works", lambda: False)
    monkeypatch.chdir(tmp_path)
    result = cli("demo", "--model", model, "--source", picture)
    assert result.code == 0
    assert "no display" in result.err
    assert "picture-overlay.png" in result.err
    assert cv2.imread("picture-overlay.png").shape == (90, 160, 3)
    cli("demo", "--model", model, "--source", video, "--effect", "blur")
    assert len(frames_of("clip-blur.mp4")) == 12


@pytest.mark.skipif(sys.platform != "linux", reason="the others always have a display")
def test_probe_without_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not window.display_works()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--source", "nowhere.mp4"], 2, "nowhere.mp4: does not exist"),
        (["--source", "notes.txt"], 2, "notes.txt: is neither an image nor a video"),
        (["--source", "hollow"], 2, "hollow: holds no images"),
        (["--source", "97"], 3, "camera 97 gives no picture: connect it"),
        (["--source", "a.png", "--effect", "sparkle"], 2, "'sparkle' is not one of"),
        (["--source", "a.png", "--smooth", "2"], 2, "--smooth"),
        (["--source", "a.png", "--frames", "0"], 2, "--frames"),
        (["--source", "a.png", "--limit", "0"], 2, "--frames"),
        (["--source", "a.png", "--background", "mauvish"], 2, "mauvish: is neither"),
        (["--source", "a.png", "--lips", "mauvish"], 2, "'mauvish' is not a colour"),
        (["--source", "a.png", "--output", "a.png"], 2, "would overwrite the source"),
        (["--source", "a.png", "--output", "."], 2, "would overwrite the source"),
        (["--source", "a.png", "--output", "out.xyz"], 2, "out.xyz: unknown format"),
        (["--source", "clip.avi", "--output", "out.png"], 2, "out.png: is one image"),
        (["--source", "a.png", "--runtime", "abacus"], 2, "runtime 'abacus' is not known"),
        (["--source", "a.png", "--device", "toaster"], 2, "device 'toaster' is not known"),
        (["--source", "a.png", "--model", "nowhere.onnx"], 2, "nowhere.onnx: does not exist"),
        (
            ["--source", "a.png", "--model", "notes.txt"],
            2,
            "notes.txt: cannot be opened as an ONNX model",
        ),
    ],
)
def test_wrong_use_is_one_line(run, tmp_path, monkeypatch, picture, arguments, code, line):
    monkeypatch.chdir(tmp_path)
    shutil.copy(picture, "a.png")
    write_video(Path("clip.avi"), 2)
    Path("notes.txt").write_text("not a picture\n" * 99)
    Path("hollow").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    result = run(*arguments)
    assert result.code == code
    assert line in result.err
    assert len(result.err.strip().splitlines()) <= 2
    assert result.out == ""
    after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before, "nothing written, nothing overwritten"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"output": "logits"}, "needs the output labels uint8 [1, 64, 64], but has logits"),
        ({"palette": None}, "metadata 'palette'"),
        ({"palette": "[[0, 0, 0]]"}, "1 colours for 8 classes"),
        ({"classes": None}, "has no metadata 'classes'"),
        ({"input_size": "32"}, "needs the input image uint8 [1, 32, 32, 3], but has image"),
    ],
)
def test_model_that_is_not_ours(cli, make_model, picture, changes, line):
    model = make_model(**changes)
    result = cli("demo", "--model", model, "--source", picture, "--no-display")
    assert result.code == 2
    assert line in result.err
    assert str(model) in result.err


def test_effect_that_the_model_cannot_give(cli, make_model, picture):
    classes = json.dumps(["background", *"abcdefg"])
    result = cli(
        "demo", "--model", make_model(classes=classes), "--source", picture,
        "--no-display", "--effect", "recolour",
    )  # fmt: skip
    assert result.code == 2
    assert "has no class that it changes; it can do overlay, blur, background, labels" in result.err


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The folder of the models that ship, empty."""
    monkeypatch.setattr(demo.shipped, "__file__", str(tmp_path / "shipped.py"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_no_model_ships(cli, picture, shipped):
    result = cli("demo", "--source", picture, "--no-display")
    assert result.code == 3
    assert "no model ships with this installation: pass --model" in result.err


@pytest.mark.parametrize(
    ("files", "arguments", "taken"),
    [
        (["fast"], ["--model", "fast"], "fast"),
        (["fast", "balanced", "accurate"], [], "balanced"),
        (["fast", "balanced", "accurate"], ["--model", "accurate"], "accurate"),
        (["balanced", "balanced-int8"], ["--precision", "int8"], "balanced-int8"),
        (["balanced"], ["--model", "fast"], None),
        (["balanced"], ["--precision", "int8"], None),
    ],
)
def test_shipped_models_have_names(cli, model, picture, shipped, files, arguments, taken):
    for name in files:
        shutil.copy(model, shipped / f"{name}.onnx")
    result = cli("demo", "--source", picture, "--no-display", "--json", *arguments)
    if taken:
        assert result.document["model"] == str(shipped / f"{taken}.onnx")
    else:
        assert result.code == 3
        assert "ships with this installation" in result.err


def test_label_maps_are_for_other_programs(run, folder, tmp_path):
    output = tmp_path / "labels"
    result = run("--source", folder, "--effect", "labels", "--output", output)
    assert result.code == 0, result.err
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "b.png"]
    with Image.open(output / "a.png") as image:
        labels, palette = np.asarray(image), image.getpalette()
    assert labels.shape == (120, 100)
    assert (labels[57, 90], labels[30, 80], labels[5, 5]) == (1, 2, 0)
    assert palette[: 3 * len(PALETTE)] == [value for colour in PALETTE for value in colour]


def test_label_maps_are_no_film(run, video, tmp_path):
    result = run("--source", video, "--effect", "labels", "--output", tmp_path / "labels.mp4")
    assert result.code == 2
    assert "label maps are PNG files" in result.err
    assert run("--source", video, "--effect", "labels", "--output", tmp_path / "maps").code == 0
    assert len(list((tmp_path / "maps").iterdir())) == 12


def test_side_by_side(run, picture, tmp_path):
    run("--source", picture, "--effect", "side-by-side", "--output", tmp_path / "two.png")
    drawn = cv2.imread(str(tmp_path / "two.png"))
    assert drawn.shape == (90, 320, 3)
    assert np.array_equal(drawn[:, :160], cv2.imread(str(picture)))
    assert drawn[57, 240].tolist() != RED


def test_mirror(run, tmp_path):
    cv2.imwrite(str(tmp_path / "left.png"), square_at(0))
    for flag, name in (((), "as-it-is"), (("--mirror",), "mirrored")):
        run("--source", tmp_path / "left.png", "--output", tmp_path / f"{name}.png", *flag)
    plain, mirrored = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("as-it-is", "mirrored"))
    assert np.abs(plain[:, ::-1].astype(int) - mirrored).mean() < 1


def test_colours_for_the_colour_blind(run, picture, tmp_path):
    arguments = ("--no-outlines", "--opacity", 1, "--colours", "colour-blind")
    run("--source", picture, "--output", tmp_path / "drawn.png", *arguments)
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert np.abs(drawn[57, 80, ::-1].astype(int) - COLOUR_BLIND[0]).max() <= 1


class FakeVirtualCamera:
    """Stands in for the package pyvirtualcam, whose camera needs a driver of the system."""

    class PixelFormat:
        BGR = "bgr"

    def __init__(self):
        self.sent = []

    def Camera(self, width, height, fps, fmt):  # noqa: N802
        self.width, self.height, self.fps, self.fmt = width, height, fps, fmt
        return self

    def send(self, image):
        assert image.shape == (self.height, self.width, 3)
        self.sent.append(image)

    def close(self):
        self.closed = True


def test_virtual_camera(run, video, monkeypatch):
    camera = FakeVirtualCamera()
    monkeypatch.setitem(sys.modules, "pyvirtualcam", camera)
    result = run("--source", video, "--virtual-camera")
    assert result.code == 0, result.err
    assert (camera.fmt, camera.fps, camera.closed) == ("bgr", 20, True)
    assert len(camera.sent) == 12


def test_virtual_camera_without_its_package(run, video, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    result = run("--source", video, "--virtual-camera")
    assert result.code == 3
    assert "pip install 'nastool[virtual-camera]'" in result.err


def test_images_of_two_sizes_cannot_share_a_video(run, folder, tmp_path):
    result = run("--source", folder, "--output", tmp_path / "both.mp4")
    assert result.code == 2
    assert "cannot hold 100x120 and 160x90" in result.err
    assert not list(tmp_path.glob("*.mp4")), "no half video is left"


@pytest.mark.parametrize("side", [11_000, 20_000])
@pytest.mark.parametrize("flag", ["--source", "--background"])
def test_a_picture_that_unpacks_to_hundreds_of_megabytes_is_refused(
    run, picture, tmp_path, side, flag
):
    """Pillow warns of the smaller one alone."""
    bomb = tmp_path / "bomb.png"
    Image.new("1", (side, side)).save(bomb)
    assert bomb.stat().st_size < 60_000
    given = ("--effect", "background") if flag == "--background" else ()
    rest = ("--source", picture) if flag == "--background" else ()
    result = run(flag, bomb, *given, *rest, "--no-display", "--output", tmp_path / "a.png")
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert "bomb.png: has more than 120 million pixels; shrink it" in line
    assert not (tmp_path / "a.png").exists()


def test_broken_image_late_leaves_no_half_video(run, folder, tmp_path):
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff")
    result = run("--source", folder, "--output", tmp_path / "both.mp4")
    assert result.code == 2
    assert "b.jpg" in result.err
    assert not list(tmp_path.glob("*.mp4"))


def start(arguments, cwd):
    return subprocess.Popen(
        [sys.executable, str(WEBCAM), *map(str, arguments)],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run that a shell put in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_the_same_program_as_a_script(model, picture, tmp_path):
    arguments = ["--model", model, "--source", picture, "--no-display", "--json"]
    process = start(arguments, tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["frames"] == 1


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c_keeps_a_whole_video(model, tmp_path):
    source = write_video(tmp_path / "long.avi", 3000)
    output = tmp_path / "drawn.avi"
    process = start(
        ["--model", model, "--source", source, "--no-display", "--output", output], None
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        partial = list(tmp_path.glob(".partial-*"))
        if partial and partial[0].stat().st_size > 10_000:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "of 3000 frames" in err
    with open_source(output) as made:
        assert made.total is not None
        assert 0 < made.total < 3000
        assert sum(1 for _ in made) == made.total
    assert not list(tmp_path.glob(".partial-*"))


def test_ctrl_c_is_how_a_webcam_ends(run, fake_camera, tmp_path, monkeypatch):
    fake_camera(frames=1000, seconds=0.005)
    calls = []

    def interrupted_smoother(self, look, square):
        calls.append(look)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return look

    monkeypatch.setattr(Smoother, "__call__", interrupted_smoother)
    result = run("--source", 0, "--output", tmp_path / "me.mp4")
    assert result.code == 0
    assert result.document["frames"] == 4
    assert (tmp_path / "me.mp4").stat().st_size > 0


def test_help_is_a_manual_page(cli):
    result = cli("demo", "--help")
    assert result.code == 0
    for word in ("--fit", "camera", "q or Esc", "holiday.mp4"):
        assert word in result.out
