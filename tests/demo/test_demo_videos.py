"""Files as they are: odd rates and sizes, damage, rotation, transparency, animation, sound."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from demo_samples import square_at
from PIL import Image
from video_samples import damage, even, facts, film, heard, red_columns, turn

from demo.sources import open_source

UNEVEN = [Fraction(k) for k in (0, 1, 2, 40, 41, 90)]  # hundredths of a second


@pytest.fixture
def run(cli, model):
    as_it_is = ("--no-display", "--json", "--fit", "letterbox", "--effect", "recolour")
    return lambda *arguments: cli("demo", "--model", model, *as_it_is, *arguments)


def read(path):
    with open_source(path) as source:
        return source, list(source)


@pytest.mark.parametrize(
    ("times", "last"),
    [
        even(3, Fraction(1, 2)),
        even(24, 480),
        even(12, Fraction(30_000, 1001)),
        ([at / 100 for at in UNEVEN], Fraction(1, 2)),
    ],
    ids=["0.5", "480", "29.97", "variable"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_keep_their_times(run, tmp_path, times, last, suffix):
    source, frames = read(film(tmp_path / "clip.mkv", times, last))
    assert [frame.timestamp for frame in frames] == pytest.approx(list(map(float, times)), abs=2e-3)
    output = tmp_path / f"drawn{suffix}"
    assert run("--source", source.path, "--output", output).code == 0
    made = facts(output)
    assert made["frames"] == len(times)
    assert made["seconds"] == pytest.approx(float(times[-1] + last), abs=0.02)
    _, again = read(output)
    assert [frame.timestamp for frame in again] == pytest.approx(list(map(float, times)), abs=2e-3)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mov", "h264"), (".mkv", "h264"), (".webm", "vp9"), (".avi", "mjpeg")],
)
@pytest.mark.parametrize("size", [(90, 160), (91, 161)], ids=["even", "odd"])
def test_what_players_get(run, tmp_path, suffix, codec, size):
    source = film(tmp_path / "clip.mkv", *even(6, 20), codec="ffv1", pixels="bgr0", size=size)
    output = tmp_path / f"drawn{suffix}"
    assert run("--source", source, "--output", output).code == 0
    made = facts(output)
    assert made["codec"] == codec
    if codec != "mjpeg":
        assert made["pixels"] == "yuv420p", "what browsers play"
    # With half the colours H.264 has even sides: a column and a row are repeated.
    even_size = tuple(side + side % 2 for side in size)
    assert made["size"] == (even_size if codec == "h264" else size)
    assert (made["frames"], round(made["seconds"], 2)) == (6, 0.3)
    _, frames = read(output)
    assert abs(red_columns(frames[5].image) - 10) <= 2


def test_a_damaged_frame_is_skipped_and_counted(run, tmp_path):
    source = film(tmp_path / "clip.mov", *even(12, 20), codec="mjpeg", pixels="yuvj420p")
    damage(source, 5)
    output = tmp_path / "drawn.mp4"
    result = run("--source", source, "--output", output)
    assert result.code == 0
    assert (result.document["frames"], result.document["damaged"]) == (11, 1)
    assert "1 damaged frames were skipped" in result.err
    assert facts(output)["seconds"] == pytest.approx(0.6, abs=0.01)


def test_a_file_cut_short_says_so(run, tmp_path):
    options = {"movflags": "faststart"}
    source = film(tmp_path / "clip.mp4", *even(20, 20), options=options)
    with av.open(str(source)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    source.write_bytes(source.read_bytes()[: ends[9]])
    output = tmp_path / "drawn.mp4"
    result = run("--source", source, "--output", output)
    assert result.code == 1
    assert f"{source}: 10 of 20 frames; the file is cut short" in result.err
    assert facts(output)["frames"] == result.document["frames"] == 10
    assert run("--source", source, "--limit", 5).code == 0


def test_pictures_are_turned_upright(tmp_path):
    path = film(tmp_path / "clip.mp4", *even(3, 20))
    turn(path, 90)
    _, (frame, *_) = read(path)
    assert frame.image.shape == (160, 90, 3)
    assert frame.image[30, 90 - 60].argmax() == 2, "what was left and low is left and high"


def test_transparent_video_lies_on_white(tmp_path):
    _, (frame, *_) = read(film(tmp_path / "clip.mov", *even(2, 20), codec="png", pixels="rgba"))
    assert (frame.image[:, 80:] == 255).all()
    assert (frame.image[5, 75] == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_image_lies_on_white(tmp_path, mode):
    image = Image.fromarray(cv2.cvtColor(square_at(0), cv2.COLOR_BGR2RGB))
    image.putalpha(
        Image.fromarray(np.repeat([[255, 0]], 80, axis=1).repeat(90, axis=0).astype("u1"))
    )
    path = tmp_path / "cut-out.png"
    image.convert("RGBA" if mode == "P" else mode).save(path)
    if mode == "P":
        image.quantize(16).save(path)
    _, (frame,) = read(path)
    assert (frame.image[:, 80:] == 255).all()
    assert (frame.image[5, 75] < 9).all()


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animation_is_a_video(run, tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    images = [Image.fromarray(cv2.cvtColor(square_at(20 * k), cv2.COLOR_BGR2RGB)) for k in range(3)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[100, 300, 200], loop=0)
    source, frames = read(path)
    assert (source.kind, source.total) == ("video", 3)
    assert [frame.timestamp for frame in frames] == pytest.approx([0, 0.1, 0.4])
    assert [abs(red_columns(frame.image) - 20 * k) <= 2 for k, frame in enumerate(frames)] == [
        True
    ] * 3
    output = tmp_path / "drawn.mp4"
    assert run("--source", path, "--output", output).code == 0
    assert facts(output)["seconds"] == pytest.approx(0.6, abs=0.01)


def test_still_gif_and_webp_are_images(tmp_path):
    for suffix in (".gif", ".webp"):
        path = tmp_path / f"still{suffix}"
        Image.fromarray(square_at(0)).save(path)
        source, frames = read(path)
        # OpenCV 4 reads no GIFs: they are videos of one frame then.
        kind = "image" if cv2.haveImageReader(str(path)) else "video"
        assert (source.kind, len(frames)) == (kind, 1)


def test_numbers_in_names_count(tmp_path):
    for number in (1, 2, 10, 9, 100):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), square_at(0))
    _, frames = read(tmp_path)
    assert [frame.name for frame in frames] == [f"frame{k}.png" for k in (1, 2, 9, 10, 100)]


@pytest.mark.parametrize(
    ("suffix", "sound", "kept"),
    [
        (".mp4", "aac", "aac"),
        (".mkv", "aac", "aac"),
        (".mov", "aac", "aac"),
        (".webm", "aac", "opus"),
        (".avi", "aac", "pcm_s16le"),
        (".webm", "libopus", "opus"),
    ],
)
def test_sound_is_kept(run, tmp_path, suffix, sound, kept):
    source = film(tmp_path / "clip.mkv", *even(20, 20), sound=sound)
    output = tmp_path / f"drawn{suffix}"
    assert run("--source", source, "--output", output).code == 0
    assert facts(output)["sound"] == [kept]
    assert heard(output) == pytest.approx(1, abs=0.06)
    assert run("--source", source, "--output", output, "--limit", 10).code == 0
    assert heard(output) == pytest.approx(0.5, abs=0.06), "no longer than the picture"


@pytest.fixture
def nearly_full_disk():
    """Files may have 60 kB: writing fails in the middle, as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="limits of files are POSIX's")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_a_full_disk_keeps_what_can_be_played(run, tmp_path, nearly_full_disk, suffix):
    rng = np.random.default_rng(0)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(40):
        noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)
    output = tmp_path / f"drawn{suffix}"
    result = run("--source", folder, "--output", output)
    assert result.code == 2, result.err
    assert "cannot be written (File too large); its first" in result.err
    assert len(result.err.splitlines()) == 1
    _, frames = read(output)
    assert 3 < len(frames) < 40
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_unwritable_place(run, tmp_path):
    source = film(tmp_path / "clip.mkv", *even(2, 20))
    (tmp_path / "file").write_text("not a folder")
    result = run("--source", source, "--output", tmp_path / "file" / "drawn.mp4")
    assert result.code == 2
    assert "drawn.mp4: cannot be written (" in result.err
