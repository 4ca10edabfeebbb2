"""The page in a real browser, whose camera shows a file."""

import base64
import json
import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from demo_samples import PALETTE
from web_samples import GREY, HEIGHT, WIDTH, frame_with_face, serving

from demo.geometry import Fit
from demo.parser import FaceParser
from demo.web.site import Site
from toolchain.datasets.synthetic import SyntheticFaces

pytestmark = pytest.mark.browser

READY = "!document.getElementById('place').disabled && !document.getElementById('camera').disabled"
PIXELS = """(() => {
  const canvas = document.getElementById("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let at = 0; at < data.length; at += 8192) {
    text += String.fromCharCode(...data.subarray(at, at + 8192));
  }
  return [canvas.width, canvas.height, btoa(text)];
})()"""
LABEL = """(async () => {
  const { Labeller } = await import("/labeller.js");
  const answers = [];
  let labeller;
  for (const text of %s) {
    const bytes = Uint8ClampedArray.from(atob(text), (letter) => letter.charCodeAt(0));
    const size = Math.sqrt(bytes.length / 4);
    labeller ??= await Labeller.open("processor", 2, size);
    const picture = await createImageBitmap(new ImageData(bytes, size));
    const { labels } = await labeller.labelSquare(picture);
    let answer = "";
    for (let at = 0; at < labels.length; at += 8192) {
      answer += String.fromCharCode(...labels.subarray(at, at + 8192));
    }
    answers.push(btoa(answer));
  }
  labeller.close();
  return answers;
})()"""
OPEN = """(async () => {
  const bytes = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "%s", { type: "%s" }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
})()"""


def text(page, element):
    return page.evaluate(f"document.getElementById('{element}').textContent")


def pixels(page):
    """Return what the canvas shows, int [H, W, 3] RGB."""
    width, height, data = page.evaluate(PIXELS)
    shown = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    return shown[..., :3].astype(int)


def settled(page, holds):
    """Return what the canvas shows as soon as something holds of it; after ten seconds anyway."""
    for _ in range(100):
        if holds(shown := pixels(page)):
            break
        time.sleep(0.1)
    return shown


def choose(page, effect, strength=0.5):
    page.evaluate(
        "document.querySelector('[name=strength]').value = "
        f"{strength}; document.querySelector('[value={effect}]').click()"
    )


def drop(page, contents, name, kind):
    page.evaluate("document.getElementById('parts').replaceChildren()")
    page.evaluate(OPEN % (base64.b64encode(contents).decode(), name, kind))


def show(page, frame):
    """Let the page show a picture with a face."""
    drop(page, cv2.imencode(".png", frame)[1].tobytes(), "face.png", "image/png")
    page.wait("document.getElementById('parts').children.length")


@pytest.fixture(scope="module")
def opened(page, page_url):
    page.open(page_url)
    page.wait(READY)
    return page


@pytest.fixture
def portrait(opened):
    """Show a picture with a face in its upper left corner, a fourth of its height."""
    show(opened, frame_with_face(30, 50))
    return opened


def test_camera(opened):
    opened.evaluate("document.getElementById('camera').click()")
    opened.wait("Number(document.getElementById('rate').textContent) > 1")
    opened.wait("document.getElementById('parts').children.length == 4")
    label = opened.evaluate("document.getElementById('canvas').ariaLabel")
    assert label == "A face with overlay; seen: skin, hair, upper lip, nose"
    assert opened.evaluate("document.getElementById('canvas').className") == "mirrored"
    stages = opened.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#stages div')]"
        ".map((row) => [...row.children].map((part) => part.textContent)))"
    )
    assert list(stages) == ["capture", "preprocess", "inference", "mend", "draw"]
    assert all(float(value.removesuffix(" ms")) >= 0 for value in stages.values())
    assert int(text(opened, "dropped")) >= 0
    # Stopped, the camera is let go.
    opened.evaluate("document.getElementById('camera').click()")
    assert opened.evaluate("document.getElementById('video').srcObject") is None
    assert text(opened, "camera") == "Start camera"


def test_the_fastest_place_is_measured_and_another_can_be_chosen(opened):
    show(opened, frame_with_face(130, 90))
    opened.wait("document.getElementById('measured').textContent")
    measured = text(opened, "measured")
    assert re.fullmatch(
        r"Measured at the start: processor, 2 threads [\d.]+ ms; processor, 1 thread [\d.]+ ms\.",
        measured,
    )
    two, one = map(float, re.findall(r"([\d.]+) ms", measured))
    place = "document.getElementById('place')"
    assert opened.evaluate(f"{place}.value") == f"processor {2 if two <= one else 1}"
    other = f"processor {1 if two <= one else 2}"
    opened.evaluate(f"{place}.value = '{other}'; {place}.dispatchEvent(new Event('change'))")
    opened.wait(f"!{place}.disabled")
    show(opened, frame_with_face(130, 90))
    assert opened.evaluate(f"{place}.value") == other


def test_nothing_is_asked_of_any_other_place(opened, page_url):
    asked = [event["request"] for event in opened.told("Network.requestWillBeSent")]
    assert len(asked) > 8
    assert {urlsplit(request["url"]).netloc for request in asked} == {urlsplit(page_url).netloc}
    assert {request["method"] for request in asked} == {"GET"}
    assert opened.told("Network.webSocketCreated") == []
    assert opened.told("Runtime.exceptionThrown") == []
    refused = opened.evaluate(
        "fetch('https://example.com/', { mode: 'no-cors' }).then(() => 'sent', () => 'refused')"
    )
    assert refused == "refused"


def test_overlay_lies_where_the_face_is(portrait):
    choose(portrait, "overlay", 0.5)
    shown = pixels(portrait)
    skin, hair = (np.array(PALETTE[label]) for label in (1, 2))
    assert np.abs(shown[100, 40] - (np.array((255, 0, 0)) + skin) / 2).max() <= 2
    assert np.abs(shown[40, 60] - (np.array((0, 255, 0)) + hair) / 2).max() <= 2
    assert shown[200, 250].tolist() == [GREY] * 3
    # As exact as if the face filled the picture: edges lie within two pixels.
    changed = np.abs(shown - frame_with_face(30, 50)[..., ::-1]).max(-1) > 20
    rows, columns = np.nonzero(changed)
    found = [columns.min(), columns.max(), rows.min(), rows.max()]
    assert np.abs(np.array(found) - (30, 89, 30, 109)).max() <= 2


def test_blur_keeps_the_person(opened):
    frame = frame_with_face(130, 90)
    frame[:, 10:40:2] = 20  # stripes in the background
    show(opened, frame)
    choose(opened, "blur", 1)
    # The picture before may be looked at still.
    shown = settled(opened, lambda found: found[110, 140].tolist() == [255, 0, 0])
    assert shown[110, 140].tolist() == [255, 0, 0]
    assert np.ptp(shown[120, 20:30]) < 20 < np.ptp(frame[120, 20:30].astype(int))
    # No halo of the person's red around it.
    assert np.abs(shown[120, 118] - GREY).max() <= 8


def test_recolour_keeps_lightness(portrait):
    choose(portrait, "recolour", 1)
    portrait.evaluate(
        "{ const hair = document.querySelector('[name=hair]'); hair.value = '#0000ff';"
        " hair.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    red, green, blue = settled(portrait, lambda found: found[40, 60].argmax() == 2)[40, 60]
    assert blue > max(red, green)
    weights = np.array((0.3, 0.59, 0.11))
    assert weights @ (red, green, blue) == pytest.approx(weights @ (0, 255, 0), abs=4)
    assert pixels(portrait)[100, 40].tolist() == [255, 0, 0]


def test_picture_without_a_face(portrait):
    # The one before is still being looked at.
    empty = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    drop(portrait, cv2.imencode(".png", empty)[1].tobytes(), "empty.png", "image/png")
    portrait.wait("document.getElementById('status').textContent == 'No face is found.'")


def test_video(opened, tmp_path):
    path = tmp_path / "clip.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 20, (WIDTH, HEIGHT))
    for step in range(20):
        writer.write(frame_with_face(30 + 8 * step, 90))
    writer.release()
    drop(opened, path.read_bytes(), "clip.webm", "video/webm")
    opened.wait("document.getElementById('parts').children.length == 4")
    assert opened.evaluate("document.getElementById('canvas').className") == ""
    # It begins again at its end, and a pause holds it.
    opened.wait("document.getElementById('video').currentTime > 0.8")
    opened.wait("document.getElementById('video').currentTime < 0.4")
    opened.evaluate("document.getElementById('pause').click()")
    assert opened.evaluate("document.getElementById('video').paused") is True


@pytest.mark.parametrize(("name", "kind"), [("notes.txt", "text/plain"), ("cut.mp4", "video/mp4")])
def test_files_that_cannot_be_shown(opened, name, kind):
    drop(opened, b"no picture", name, kind)
    opened.wait(f"document.getElementById('status').textContent.startsWith('{name} is no')")
    assert opened.evaluate(READY)


def test_camera_that_vanishes(opened):
    opened.evaluate("document.getElementById('camera').click()")
    opened.wait("document.getElementById('camera').textContent == 'Stop camera'")
    # What the browser does when it is unplugged; the fake one cannot be.
    track = "document.getElementById('video').srcObject.getTracks()[0]"
    opened.evaluate(f"{track}.dispatchEvent(new Event('ended'))")
    assert text(opened, "status").startswith("The camera is gone")
    assert text(opened, "camera") == "Start camera"


def test_camera_that_is_refused(opened):
    opened.allow_camera(False)
    try:
        opened.evaluate("document.getElementById('camera').click()")
        opened.wait("document.getElementById('status').textContent.includes('was not allowed')")
    finally:
        opened.allow_camera(True)


@pytest.fixture(scope="module")
def shipped_url(built):
    with serving(Site.make()) as url:
        yield url


def test_labels_are_those_of_python(page, shipped_url):
    # Of frames without a boundary between classes older runtimes made an error, and the one for
    # browsers is older than Python's.
    with FaceParser(threads=1) as parser:
        size = (parser.size, parser.size)
        pictures = [
            cv2.resize(SyntheticFaces(1).read(0).image, size),
            np.zeros((*size, 3), np.uint8),
        ]
        fit = Fit.make(size, parser.size, "letterbox")
        expected = [parser(picture[None], fit).labels for picture in pictures]
    page.open(shipped_url + "model.json")
    colours = [cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA).tobytes() for picture in pictures]
    answer = page.evaluate(LABEL % json.dumps([base64.b64encode(one).decode() for one in colours]))
    assert len(np.unique(expected[0])) > 12
    for wanted, found in zip(expected, answer, strict=True):
        labels = np.frombuffer(base64.b64decode(found), np.uint8).reshape(wanted.shape)
        assert (labels == wanted).mean() >= 0.999


@pytest.fixture
def hosted(built, web_model, tmp_path):
    """Serve the exported page as a static host does that sets no header."""
    Site.make(web_model).write(tmp_path / "site")
    handler = partial(QuietHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_static_host_without_headers(page, hosted):
    page.open(hosted)
    page.wait(READY)
    assert page.evaluate("self.crossOriginIsolated") is False
    places = "[...document.getElementById('place').options].map((place) => place.value)"
    assert page.evaluate(places) == ["processor 1"]
    show(page, frame_with_face(30, 50))
    assert text(page, "parts") == "skinhairupper lipnose"
    # Its policy is in the page itself.
    refused = page.evaluate(
        "fetch('https://example.com/', { mode: 'no-cors' }).then(() => 'sent', () => 'refused')"
    )
    assert refused == "refused"
