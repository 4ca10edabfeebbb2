"""From a frame to what the model says of it: where to look, the look, and steadiness."""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np

from demo.faces import KNOWN, PORTRAIT, Face, FaceFinder, FaceFollower, View, differs, search_places
from demo.geometry import Area, Fit
from demo.meter import Meter
from demo.parser import FaceParser, Look
from demo.smoothing import Smoother

Array = np.ndarray[Any, np.dtype[Any]]

REFINEMENTS = 2  # looks more, at most, to centre on a face that was just found
CANDIDATES = 2  # of each place that is searched


class Labeller:
    """Labels the frames of one stream with one model.

    Args:
        parser: the model.
        meter: receives the times.
        fit: ``face`` finds and follows the face, see `demo.faces`; ``letterbox`` and ``crop`` take
            the frame as it is, see `Fit.make`. So are the frames of a model whose classes have no
            face.
        smooth: strength of `Smoother`.
        stream: frames follow each other; else each is a picture for itself, and searched in full.

    Attributes:
        faceless: whether a face was looked for in the last frame, and not found.
    """

    def __init__(
        self, parser: FaceParser, meter: Meter, fit: str, smooth: float, stream: bool = True
    ):
        self.parser, self._meter, self.stream = parser, meter, stream
        self.faceless = False
        self.smoother = Smoother(smooth)
        self._finder = FaceFinder(parser.metadata.classes)
        self._fit_mode = fit if self._finder.certain or fit != "face" else "letterbox"
        self._follower = FaceFollower()
        self._search: Iterator[Area] | None = None
        self._square = np.empty(0, np.uint8)
        self._square_fit: Fit | None = None

    def __call__(self, image: Array, view: View = PORTRAIT) -> Look:
        """Return the look to draw with.

        Args:
            image: uint8 [H, W, 3] BGR.
            view: how much around the face is wanted.
        """
        self.faceless = False
        if self._fit_mode != "face":
            look = self._look(image, Fit.make(_shape(image), self.parser.size, self._fit_mode))
        elif (found := self._follow(image, view)) is not None:
            look = found
        else:
            # Without a face there is nobody, whatever single pixels may look like.
            self.faceless = True
            whole = Fit.make(_shape(image), self.parser.size, "letterbox")
            side = self.parser.size
            return Look(whole, np.zeros((side, side), np.uint8))
        with self._meter.measure("postprocess"):
            return self.smoother(look, self._square)

    def _follow(self, image: Array, view: View) -> Look | None:
        follower = self._follower
        if not self.stream:
            follower.face = None
        if follower.face is None:
            follower.learn(self._found(image))
        if follower.face is None:
            return None
        look = self._around(image, follower.face, view)
        follower.learn(self._best(look))
        return look

    def _found(self, image: Array) -> Face | None:
        """Search for a face: in one place of a frame of a stream, in all of a picture."""
        places = search_places(_shape(image))
        thorough = self._search is None or not self.stream
        if self._search is None:  # the first frame is a picture like any other
            self._search = cycle(places)
        searched = places if thorough else list(islice(self._search, 1))
        half_hidden: Face | None = None
        for place in searched:
            look = self._look(image, Fit.around(_shape(image), self.parser.size, place))
            for candidate in self._finder.faces(look)[:CANDIDATES]:
                face = self._centred(image, candidate)
                if face and face.features >= self._finder.certain:
                    self._search = cycle(places)
                    return face
                half_hidden = half_hidden or face
        return half_hidden if thorough else None

    def _centred(self, image: Array, candidate: Face) -> Face | None:
        """Look around what may be a face, until it is in the middle; None where it is none."""
        face: Face | None = candidate
        for _ in range(REFINEMENTS):
            face = self._best(self._around(image, candidate, PORTRAIT))
            if face is None or not differs(face, candidate):
                return face
            candidate = face
        return face

    def _best(self, look: Look) -> Face | None:
        faces = self._finder.faces(look)
        return faces[0] if faces and faces[0].features >= KNOWN else None

    def _around(self, image: Array, face: Face, view: View) -> Look:
        region = view.region(face, _shape(image))
        return self._look(image, Fit.around(_shape(image), self.parser.size, region))

    def _look(self, image: Array, fit: Fit) -> Look:
        with self._meter.measure("preprocess"):
            if fit != self._square_fit:
                self._square, self._square_fit = fit.new_square(), fit
            fit.to_square(image, self._square)
        with self._meter.measure("inference"):
            return self.parser(self._square, fit)


def _shape(image: Array) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
