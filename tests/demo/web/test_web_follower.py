"""Where the page looks, and how it mends labels: its modules, called in a browser."""

import base64

import numpy as np
import pytest

pytestmark = pytest.mark.browser

SIZE = 128  # side of the labels
SKIN, NOSE, HAIR = 1, 2, 3
PARTS = "{ face: [1, 2], features: [2] }"
HOLE = 255


def face(labels, top, left, side, featured=True):
    labels[top : top + side, left : left + side] = SKIN
    if featured:
        third = side // 3
        labels[top + third : top + 2 * third, left + third : left + 2 * third] = NOSE
    return labels


def blank():
    return np.zeros((SIZE, SIZE), np.uint8)


def bytes_of(labels):
    text = base64.b64encode(labels.tobytes()).decode()
    return f"Uint8Array.from(atob('{text}'), (letter) => letter.charCodeAt(0))"


@pytest.fixture(scope="module")
def modules(page, page_url):
    """Open a file of the page's that runs nothing; its modules can be imported there."""
    page.open(page_url + "model.json")
    return page


@pytest.fixture
def follow(modules):
    """Let a new follower look at frames of 1280x720; each look is what it sees at a square.

    follow([labels, ...], margin=2) -> squares looked at, one more than there are labels.
    """

    def run(looks, margin=2):
        return modules.evaluate(
            f"""(async () => {{
              const {{ FaceFollower }} = await import("/follower.js");
              const follower = new FaceFollower({PARTS});
              const squares = [];
              for (const labels of [{", ".join(map(bytes_of, looks))}]) {{
                const square = follower.next(1280, 720, {margin});
                squares.push(square);
                follower.see(labels, square);
              }}
              return [...squares, follower.next(1280, 720, {margin})];
            }})()"""
        )

    return run


def test_looks_at_all_then_at_the_face(follow):
    # A fourth of the square of 1280 pixels in which the frame lies, from (320, 200) on.
    whole, close = follow([face(blank(), 48, 32, 32)])
    assert whole == {"x": 0, "y": -280, "side": 1280}
    assert close == pytest.approx({"x": 320 - 160, "y": 200 - 160, "side": 640}, abs=30)


def test_searches_ever_smaller_squares_until_something_is_found(follow):
    squares = follow([blank()] * 25 + [face(blank(), 40, 40, 48)])
    assert [square["side"] for square in squares[:26]] == [1280] + 3 * [720] + 21 * [360] + [1280]
    assert [square["x"] for square in squares[1:4]] == [0, 280, 560]
    # Whatever is half as large as the smallest lies in one of them.
    for left, top in ((0, 0), (1100, 540), (500, 170), (777, 333)):
        assert any(
            square["x"] <= left
            and square["y"] <= top
            and square["x"] + 360 >= left + 180
            and square["y"] + 360 >= top + 180
            for square in squares[4:25]
        )
    assert squares[26]["side"] == pytest.approx(2 * 1280 * 48 / SIZE, abs=40)


def test_skin_without_features_is_no_face(follow):
    labels = face(blank(), 64, 10, 60, featured=False)
    _, square = follow([face(labels, 8, 90, 24)])
    assert square["x"] + square["side"] / 2 == pytest.approx(1280 * 102 / SIZE, abs=20)


@pytest.mark.parametrize(("shift", "share"), [(3, 0), (30, 1)], ids=["tremor", "leap"])
def test_follows_no_tremor_and_every_leap(follow, shift, share):
    # The face fills half of the square looked at. A leap is half of it.
    looks = [face(blank(), 32, 32, 64), face(blank(), 32, 32 + shift, 64)]
    _, before, after = follow(looks)
    moved = (after["x"] - before["x"]) * SIZE / before["side"]
    assert moved == pytest.approx(share * shift, abs=3)


def test_a_face_that_is_lost_is_searched_for_again(follow):
    squares = follow([face(blank(), 48, 48, 32)] + [blank()] * 5)
    followed = squares[1]
    assert squares[1:6] == [followed] * 5  # a few looks without it are nothing
    assert squares[6]["side"] == 1280


def mended(modules, labels):
    text = modules.evaluate(
        f"""(async () => {{
          const {{ mend }} = await import("/person.js");
          const labels = {bytes_of(labels)};
          mend(labels);
          return btoa(String.fromCharCode(...labels));
        }})()"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(labels.shape)


def test_islands_go_and_holes_are_marked(modules):
    person = face(blank(), 20, 20, 60)
    labels = person.copy()
    labels[30:36, 30:36] = 0  # in the face
    labels[100:110, 100:110] = HAIR  # far from it, a thirty-sixth of its size
    expected = person.copy()
    expected[30:36, 30:36] = HOLE
    assert np.array_equal(mended(modules, labels), expected)


def test_a_second_person_and_a_bay_stay(modules):
    labels = face(face(blank(), 10, 10, 60), 80, 80, 40)
    labels[60:70, 30:40] = 0  # open to the background below
    assert np.array_equal(mended(modules, labels), labels)
