"""Pictures as people have them, and as nobody should: read, or refused in one line."""

import struct
import unicodedata
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from export.system.errors import DataError
from export.system.numbers import MOST_PIXELS
from toolchain.datasets.image_files import open_picture, read_image, read_mask

GREY = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21


def png(side: int) -> bytes:
    """Return a black PNG of one bit a pixel, so that it compresses a thousandfold."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(1 + (side + 7) // 8)) for _ in range(side)]
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = b"".join(rows) + packer.flush()
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    path = tmp_path_factory.mktemp("bomb") / "bomb.png"
    path.write_bytes(png(15_000))
    assert path.stat().st_size < 40_000
    assert MOST_PIXELS < 15_000**2
    return path


@pytest.mark.parametrize("read", [read_image, read_mask, open_picture])
def test_a_picture_that_unpacks_to_hundreds_of_megabytes_is_refused(bomb, read):
    with pytest.raises(DataError, match="has more than 120 million pixels"):
        read(bomb)


@pytest.mark.parametrize("which", ["images", "masks"])
def test_the_command_line_says_so_in_a_line(cli, tmp_path, make_layout, bomb, which):
    layout = make_layout("folder")
    (tmp_path / which / "2.png").write_bytes(bomb.read_bytes())
    result = cli("faces", "--data", layout.spec, "--output", tmp_path / "out")
    assert result.code == 2
    assert "2.png: has more than 120 million pixels; shrink it" in result.err.splitlines()[-1]


def test_a_text_in_a_picture_that_unpacks_to_much_is_refused(tmp_path):
    text = PngInfo()
    text.add_text("a", "x" * 20_000_000, zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image \(Decompressed "):
        read_image(tmp_path / "a.png")


def tiff(*entries, tail=b""):
    """Return EXIF of tags, each with type, count and four bytes."""
    content = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for *head, value in entries:
        content += struct.pack("<HHI", *head) + value
    return b"Exif\0\0" + content + bytes(4) + tail


TURN = (0x112, 3, 1, struct.pack("<HH", 6, 0))
AT = struct.pack("<I", 38)
ODD = {
    "rational over 0": tiff(TURN, (0x11A, 5, 1, AT), tail=struct.pack("<II", 72, 0)),
    "rational 0 / 0": tiff(TURN, (0x11A, 5, 1, AT), tail=bytes(8)),
    "rational without end": tiff(TURN, (0x11A, 5, 1, struct.pack("<I", 10**9))),
    "rational of bytes": tiff(TURN, (0x11A, 7, 4, b"\xff" * 4)),
    "rational nan": tiff(TURN, (0x11A, 12, 1, AT), tail=struct.pack("<d", float("nan"))),
    "least rational": tiff(TURN, (0x11A, 10, 1, AT), tail=struct.pack("<ii", -(2**31), -1)),
    "a circle": tiff(TURN, (0x8769, 4, 1, struct.pack("<I", 8))),
    "orientation 0 / 0": tiff((0x112, 5, 1, struct.pack("<I", 26)), tail=bytes(8)),
    "orientation in words": tiff((0x112, 2, 4, b"six\0")),
    "two orientations": tiff((0x112, 3, 2, struct.pack("<HH", 6, 3))),
    "orientation 99": tiff((0x112, 3, 1, struct.pack("<HH", 99, 0))),
    "cut off": tiff(TURN)[:20],
    "noise": b"Exif\0\0" + b"\xff" * 40,
    "nothing": b"Exif\0\0",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_exif_is_no_error(tmp_path, make_layout, kind):
    """What says which way is up is followed where it can be read."""
    layout = make_layout("folder")
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:32] = 255
    Image.fromarray(colours).save(tmp_path / "images" / "a.jpg", exif=ODD[kind])
    (tmp_path / "images" / "a.png").unlink()
    image = layout.open().read(2).image
    turned = {"top": image[:9].mean() > 200, "right": image[:, -9:].mean() > 200}
    unknown = ("orientation 0 / 0", "orientation in words", "orientation 99")
    upright = kind in (*unknown, "cut off", "noise", "nothing")
    assert turned == {"top": upright, "right": not upright}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_of_another_kind_is_not_opened_under_a_known_name(tmp_path, suffix):
    """Pillow would hand PostScript to a program that runs it."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match="of no format that is known"):
        read_image(path)


def test_a_picture_without_an_end_is_refused(tmp_path):
    (tmp_path / "a.png").symlink_to("/dev/zero")
    (tmp_path / "b.png").mkdir()
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match=f"{name}: is not a file"):
            read_image(tmp_path / name)


def test_greys_of_16_bits_are_scaled_as_opencv_does(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read, cv2.imread(str(tmp_path / "a.png")))
    assert len(np.unique(read)) > 200


def test_colours_of_16_bits_are_scaled_as_opencv_does(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([GREY, GREY[::-1], 65535 - GREY]))
    expected = cv2.imread(str(tmp_path / "a.png"))[..., ::-1]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_labels_of_16_bits_are_labels(tmp_path):
    labels = (GREY % 19).astype(np.uint16)
    Image.fromarray(labels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), labels)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has grey 64491; labels end at 255"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "kind", ["folder", "folder with splits", "eg1800", "helen", "celebamask-hq"]
)
@pytest.mark.parametrize(
    "name", ["._0.png", "._0.jpg", ".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store"]
)
def test_what_systems_leave_in_folders_is_not_read(make_layout, kind, name):
    layout = make_layout(kind)
    before = layout.open().names
    for folder in layout.folders:
        (folder / name).write_bytes(b"\0\5\x16\7 no picture")
    dataset = layout.open()
    assert dataset.names == before
    assert dataset.doubts() == []
    for sample in dataset:
        np.testing.assert_array_equal(sample.labels, layout.expected[sample.name])


def test_names_of_masks_as_people_write_them(make_layout):
    layout = make_layout("folder")
    for path in [*layout.image.parent.iterdir(), *layout.mask.parent.iterdir()]:
        mask = "_mask" if path.parent.name == "masks" else ""
        path.rename(path.with_name(f"{path.stem}{mask}{path.suffix.upper()}"))
    dataset = layout.open()
    assert dataset.names == ("2", "10", "a")
    for sample in dataset:
        np.testing.assert_array_equal(sample.labels, layout.expected[sample.name])
    (layout.mask.parent / "2.png").write_bytes((layout.mask.parent / "2_mask.PNG").read_bytes())
    with pytest.raises(DataError, match=r"2_mask\.PNG: and 2\.png are both for 2; remove one"):
        layout.open()


@pytest.mark.parametrize("kind", ["folder", "eg1800"])
def test_accents_may_be_written_as_a_mac_does(make_layout, kind):
    """Whose copies name one letter in two characters."""
    layout = make_layout(kind)
    name = "größe é"
    apart = unicodedata.normalize("NFD", name)
    assert apart != name
    old = layout.image.stem
    layout.image.rename(layout.image.with_name(apart + layout.image.suffix))
    layout.mask.rename(layout.mask.with_name(name + layout.mask.suffix))
    for listed in layout.image.parents[1].glob("*.txt"):
        listed.write_text(listed.read_text().replace(old, apart), encoding="utf-8")
    dataset = layout.open()
    assert name in dataset.names
    sample = dataset.read(dataset.names.index(name))
    np.testing.assert_array_equal(sample.labels, layout.expected[old])
    copy = layout.image.with_name(name + layout.image.suffix)
    copy.write_bytes(layout.image.with_name(apart + layout.image.suffix).read_bytes())
    with pytest.raises(DataError, match="shares its stem with"):
        layout.open()


def test_an_image_may_be_called_a_mask(make_layout):
    layout = make_layout("folder")
    for path in (layout.image, layout.mask):
        path.rename(path.with_name("2_mask.png"))
    assert layout.open().names == ("10", "2_mask", "a")


@pytest.mark.parametrize("kind", ["folder", "eg1800", "helen", "celebamask-hq"])
def test_a_mask_that_is_a_jpeg_is_refused_whatever_its_name(make_layout, kind):
    layout = make_layout(kind)
    Image.open(layout.mask).convert("L").save(layout.mask, format="JPEG", quality=100)
    with pytest.raises(DataError) as error:
        list(layout.open())
    assert str(error.value).startswith(f"{layout.mask}: is a JPEG, which changes labels")


@pytest.mark.parametrize("kind", ["folder", "eg1800", "celebamask-hq"])
@pytest.mark.parametrize("times", [2, 3, 8])
def test_masks_may_be_a_whole_number_smaller(make_layout, kind, times):
    layout = make_layout(kind)
    labels = layout.open().read(0).labels
    image = np.repeat(np.repeat(np.array(Image.open(layout.image)), times, 0), times, 1)
    Image.fromarray(image).save(layout.image, quality=100)
    sample = layout.open().read(0)
    np.testing.assert_array_equal(sample.labels, labels)
    assert sample.image.shape == (*labels.shape, 3)


@pytest.mark.parametrize("size", [(96, 96), (32, 32), (128, 64), (128, 192), (127, 128), (1, 1)])
@pytest.mark.parametrize("kind", ["folder", "eg1800"])
def test_masks_of_other_sizes_are_refused(make_layout, kind, size):
    layout = make_layout(kind)
    Image.open(layout.image).resize(size).save(layout.image)
    with pytest.raises(DataError, match=r"is 64x64 but its image is .*or the mask a whole number"):
        list(layout.open())
