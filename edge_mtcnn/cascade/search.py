"""``Search``: one image through the whole cascade, in the order in which it happens.

    image -> levels -> P-Net -> windows -> R-Net -> finalists -> O-Net -> mirror check -> faces

The stages are in ``pnet``, ``rnet`` and ``onet``, the sampling of pixels in ``pyramid``. The
networks come in as callables, the threads as a ``map``, and the image as a function that makes it,
called when the first pixel is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from edge_mtcnn.cascade.boxes import nms, overlap_of, square
from edge_mtcnn.cascade.candidates import Candidates, Found
from edge_mtcnn.cascade.exposure import AutoExposed, Brightened, Brightness
from edge_mtcnn.cascade.known import KnownFaces, vectors
from edge_mtcnn.cascade.networks import Map, Networks
from edge_mtcnn.cascade.onet import ONET, ONET_FEATURES, finish, look_again
from edge_mtcnn.cascade.pnet import propose
from edge_mtcnn.cascade.pyramid import AreaSampler, OctaveSampler, Sampler, pyramid_scales
from edge_mtcnn.cascade.rnet import RNET, refine
from edge_mtcnn.cascade.scoring import ScoreModel
from edge_mtcnn.cascade.trace import Trace
from edge_mtcnn.cascade.turn import Turn, merged
from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options import QUARTER_TURNS, DetectorOptions
from edge_mtcnn.options.checks import check_int
from edge_mtcnn.types import NETWORKS, Faces, Float32Array, FloatArray, ImageArray

__all__ = ["SAME_FIND", "Search"]


class Search:
    """The search for faces in one image, prepared once for several looks at it.

    Args:
        image: makes the (H, W, 3) uint8 image; called at most once.
        size: its H and W, pixels.
        options: what to look for.
        networks: P-, R- and O-Net.
        run: shares jobs among threads.
        bgr: the image is BGR instead of RGB.
        score: model of the calibrated score; ``None`` for O-Net's confidence, without a mirror
            check.
        known: known false faces to leave out; needs ``score``.
        include_known: return them with their names instead.
        timings: attach ``Timings`` to each result.
        turn: how the image was turned; boxes and landmarks of faces are those before.

    Attributes:
        left_out: known false faces that the last ``near`` or ``everywhere`` left out.
    """

    def __init__(
        self,
        image: Callable[[], ImageArray],
        size: tuple[int, int],
        options: DetectorOptions,
        networks: Networks,
        run: Map,
        *,
        bgr: bool,
        score: ScoreModel | None,
        known: KnownFaces | None = None,
        include_known: bool = False,
        timings: bool = False,
        turn: Turn | None = None,
    ) -> None:
        self._image = image
        self._size = size
        self._turn = turn
        self._upright_size = turn.upright_size if turn else size
        self._options = options
        self._networks = networks
        # Read once: a device that fails during the search leaves its place to the processor.
        self._canvas_sizes = networks.canvas_sizes
        together = bool(self._canvas_sizes)
        self._rnet_spec, self._onet_spec, self._features_spec = (
            spec._replace(together=together) for spec in (RNET, ONET, ONET_FEATURES)
        )
        self._run = run
        self._bgr = bgr
        self._score = score
        self._known = known
        self._include_known = include_known
        self.left_out = _no_faces(size)
        self._timings = timings
        self._scales = pyramid_scales(
            *size, options.min_face_size, options.scale_factor, options.max_face_size
        )
        self._levels: dict[int, ImageArray] = {}
        rules = zip(options.thresholds, options.nms, strict=True)
        self._rules = dict(zip(NETWORKS, rules, strict=True))  # threshold and overlap

    @property
    def level_count(self) -> int:
        """Levels of the image pyramid; 0 where the image is smaller than the smallest face."""
        return len(self._scales)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, pixels."""
        return self._size

    @property
    def gain(self) -> float:
        """Mean factor of the pixels' values, see ``DetectorOptions.exposure``; 1 for none."""
        exposure = self._options.exposure
        if isinstance(exposure, str):
            return self._brightness.gain if exposure == "auto" else 1.0
        return exposure

    def everywhere(self, boxes: npt.ArrayLike = ()) -> Faces:
        """Find all faces, at all ``angles`` of the options.

        Args:
            boxes: as for ``near``; they are looked at beside what P-Net proposes.

        Raises:
            ImageError: the image is too large or too narrow to be turned by one of the angles.
        """
        trace = Trace(self._options)
        looks = [self._look(_places(boxes, *self._size), range(self.level_count), trace)]
        angles = self._options.angles
        if angles == "fallback":
            angles = () if len(self._reported(looks[0])) else QUARTER_TURNS
        for angle in angles:
            look = self._turned(Turn(angle, self._size))
            looks.append(look._look(_NOWHERE, range(look.level_count), trace))
        # Known false faces take part, as another look may see them too without knowing them.
        return self._reported(merged(looks, self._options.nms[2]) if angles else looks[0])

    def near(self, boxes: npt.ArrayLike, levels: Sequence[int] = ()) -> Faces:
        """Find the faces at expected places and on some levels of the pyramid.

        R-Net and O-Net look at the boxes and at what P-Net proposes on the levels: following known
        faces through a video costs a fraction of a search everywhere. The image is not turned,
        whatever ``angles`` of the options are.

        Args:
            boxes: (M, 4) ``x1, y1, x2, y2``, source pixels, where faces are expected; M may be 0.
                A box beside the image, or more than twice as large, is left out.
            levels: indices of the levels, 0 the largest.

        Returns:
            The faces found, best first.

        Raises:
            OptionsError: ``boxes`` is not of shape (M, 4), or not of finite numbers; or ``levels``
                are not whole numbers from 0 on.
            IndexError: there is no such level.
        """
        places = _places(boxes, *self._size)
        if not isinstance(levels, (Sequence, np.ndarray)):
            raise OptionsError(f"levels must be a sequence of indices; got {shown(levels)}")
        for level in levels:
            check_int("each of levels", level, 0, None)
        trace = Trace(self._options)
        return self._reported(self._look(places, levels, trace))

    def _look(self, places: FloatArray, levels: Sequence[int], trace: Trace) -> Faces:
        """All stages and the score, on the image as this search turns it; known false faces too."""
        found = self._found(places, levels, trace)
        if self._score is None:
            return self._faces(found, found.scores, found.landmarks, trace)
        names = None
        readings = self._read_again(found, trace)
        if self._known is not None:
            names = self._known.among(self._turned_back(found), readings, self._upright_size)
            if not self._include_known:
                trace.known_false += sum(name is not None for name in names)
        scores = self._score.scores(found, readings)
        return self._faces(found, scores, self._score.landmarks(found, readings), trace, names)

    def _reported(self, faces: Faces) -> Faces:
        """The faces without known false faces, unless those are wanted."""
        if self._known is None or self._include_known:
            return faces
        known = np.array([name is not None for name in faces.known_false], dtype=bool)
        self.left_out = faces[known]
        return faces[~known]

    def quick(self, boxes: npt.ArrayLike) -> Faces:
        """Find faces that are known from the frame before: only O-Net looks at their boxes.

        Args, errors: as for ``near``.

        Returns:
            The faces found, best first; ``Face.score`` is O-Net's confidence.
        """
        places = _places(boxes, *self._size)
        trace = Trace(self._options)
        found = self._finish(_NO_CANDIDATES.after(places), trace)
        return self._faces(found, found.scores, found.landmarks, trace)

    def without_onet(self) -> Candidates:
        """Find all that R-Net takes for a face, in less time than ``everywhere``.

        Returns:
            Square boxes and R-Net's scores, best first. O-Net would drop many of those that show
            no face, and would refine the boxes.
        """
        found = self._refined(_NOWHERE, range(self.level_count), Trace(self._options))
        # R-Net's own NMS compares boxes before regression, which moves several to the same face.
        return found.take(nms(found.boxes, found.scores, self._rules["rnet"][1]))

    def readings(self) -> tuple[Found, list[Found]]:
        """All that O-Net finds, and its further readings, as the score model is fitted to them."""
        trace = Trace(self._options)
        found = self._found(_NOWHERE, range(self.level_count), trace)
        return found, self._read_again(found, trace)

    def values_at(self, box: npt.ArrayLike, angle: float = 0.0) -> Float32Array | None:
        """O-Net's values, (512,), of the find at a box (4,), source pixels.

        Args:
            box: of the find.
            angle: its ``Face.angle``, degrees.

        Returns:
            ``None`` when nothing is found there that overlaps the box.
        """
        trace = Trace(self._options)
        place = np.asarray(box, dtype=np.float64).reshape(1, 4)
        if angle:
            turn = Turn(angle, self._size)
            return self._turned(turn).values_at(turn.boxes_there(place))
        # Without the box first: as a window of its own it displaces others, and with them the find.
        for places in (_NOWHERE, _places(place, *self._size)):
            found = self._found(places, range(self.level_count), trace)
            overlaps = overlap_of(found.boxes, place)
            if overlaps.max(initial=0) >= SAME_FIND:
                break
        else:
            return None
        best = found.take([int(overlaps.argmax())])
        values: Float32Array = vectors(self._read_again(best, trace))[0]
        return values

    def _turned(self, turn: Turn) -> Search:
        """The search in the image turned."""
        return Search(
            lambda: turn.image(self._pixels),
            turn.size,
            self._options,
            self._networks,
            self._run,
            bgr=self._bgr,
            score=self._score,
            known=self._known,
            include_known=self._include_known,
            timings=self._timings,
            turn=turn,
        )

    def _turned_back(self, found: Found) -> Found:
        """The faces with their boxes before the image was turned."""
        boxes = self._turn.boxes_back(found.boxes) if self._turn else found.boxes
        return found._replace(boxes=boxes)

    @cached_property
    def _pixels(self) -> ImageArray:
        return self._image()

    @cached_property
    def _brightness(self) -> Brightness:
        return Brightness(self._pixels)

    @cached_property
    def _sampler(self) -> Sampler:
        image, exposure = self._pixels, self._options.exposure
        sampler: Sampler
        if self._options.resampling == "area":
            sampler = AreaSampler(image, bgr=self._bgr)
        else:
            smallest = self._scales[-1] if self._scales else 1.0
            finest = self._brightness.finest_octave if exposure == "auto" else 0
            sampler = OctaveSampler(image, smallest, bgr=self._bgr, finest=finest)
        if exposure == "auto":
            return AutoExposed(sampler) if self._brightness.lacks_light else sampler
        return sampler if isinstance(exposure, str) else Brightened(sampler, exposure)

    def _found(self, places: FloatArray, levels: Sequence[int], trace: Trace) -> Found:
        """The stages one after the other."""
        return self._finish(self._refined(places, levels, trace), trace)

    def _refined(self, places: FloatArray, levels: Sequence[int], trace: Trace) -> Candidates:
        """The stages before O-Net."""
        pixels = self._pixels_of(levels)
        trace.levels += tuple((pixel.shape[0], pixel.shape[1]) for pixel in pixels)
        trace.lap("pyramid_ms")

        scales = [self._scales[level] for level in levels]
        proposed = propose(
            pixels,
            scales,
            self._networks.pnet,
            *self._rules["pnet"],
            self._run,
            trace.best_cells,
            level_overlap=self._options.level_nms,
            canvas_sizes=self._canvas_sizes,
        )
        # Expected places are certain: no cap drops them, and R-Net's NMS prefers them.
        windows = trace.best("pnet", proposed).after(places)
        trace.rnet_windows += len(windows.boxes)
        trace.lap("pnet_ms")

        refined = refine(
            windows,
            self._sampler,
            self._networks.rnet,
            *self._rules["rnet"],
            self._run,
            spec=self._rnet_spec,
        )
        finalists = trace.best("rnet", refined)
        trace.lap("rnet_ms")
        return finalists

    def _pixels_of(self, levels: Sequence[int]) -> list[ImageArray]:
        """The levels' images, each made once."""
        missing = [level for level in levels if level not in self._levels]
        scales = [self._scales[level] for level in missing]
        make = self._sampler.level
        # Levels from octaves cost less than sharing them among threads would.
        shared = self._options.resampling == "area"
        made = self._run(make, scales) if shared else [make(scale) for scale in scales]
        self._levels.update(zip(missing, made, strict=True))
        return [self._levels[level] for level in levels]

    def _finish(self, finalists: Candidates, trace: Trace) -> Found:
        """O-Net on each finalist, with its features where the mirror check follows."""
        networks, checked = self._networks, self._score is not None
        found = finish(
            finalists,
            self._sampler,
            networks.onet_features if checked else networks.onet,
            *self._rules["onet"],
            self._run,
            spec=self._features_spec if checked else self._onet_spec,
        )
        trace.onet_windows += len(finalists.boxes)
        found = trace.best("onet", found)
        trace.lap("onet_ms")
        return found

    def _read_again(self, found: Found, trace: Trace) -> list[Found]:
        """The mirror check."""
        readings = look_again(
            found,
            self._sampler,
            self._networks.onet_features,
            self._run,
            spec=self._features_spec,
        )
        trace.lap("mirror_ms")
        return readings

    def _faces(
        self,
        found: Found,
        scores: FloatArray,
        landmarks: FloatArray,
        trace: Trace,
        known_false: npt.NDArray[np.object_] | None = None,
    ) -> Faces:
        """What is reported: the faces from the lowest confidence on, best first."""
        best_first = np.argsort(-scores, kind="stable")
        rows = best_first[scores[best_first] >= self._options.confidence]
        turn = self._turn
        return Faces(
            self._turned_back(found).boxes[rows],
            scores[rows],
            turn.points_back(landmarks[rows]) if turn else landmarks[rows],
            confidences=found.scores[rows],
            angles=np.full(len(rows), turn.angle) if turn else None,
            known_false=None if known_false is None else known_false[rows],
            image_size=self._upright_size,
            timings=trace.timings(self.gain) if self._timings else None,
        )


SAME_FIND = 0.4
"""Smallest IoU of two boxes of one thing, found in changed copies of an image."""
_NOWHERE: FloatArray = np.zeros((0, 4))
_NO_CANDIDATES = Candidates(_NOWHERE, np.zeros(0, dtype=np.float32))


def _places(boxes: npt.ArrayLike, height: int, width: int) -> FloatArray:
    """The windows of expected places that can show a face of an image of this size, (M, 4)."""
    try:
        places = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionsError(f"boxes must be numbers of shape (M, 4); got {shown(boxes)}") from None
    if places.size == 0:
        return np.zeros((0, 4))
    if places.ndim != 2 or places.shape[1] != 4 or not np.isfinite(places).all():
        raise OptionsError(
            "boxes must be finite numbers of shape (M, 4), x1, y1, x2, y2; got the shape"
            f" {places.shape}"
        )
    first, last = places[:, :2], places[:, 2:]
    sides = last - first
    visible = (first < (width, height)) & (last > 0)
    plausible = (sides > 0) & (sides <= 2 * max(height, width))
    seen: FloatArray = np.trunc(square(places[(visible & plausible).all(axis=1)]))
    return seen


@lru_cache(maxsize=8)
def _no_faces(size: tuple[int, int]) -> Faces:
    """No face in an image of this size; a video needs it for every frame."""
    return Faces.empty(size)
