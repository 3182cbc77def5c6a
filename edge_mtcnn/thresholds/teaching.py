"""Makes known false faces from images: what the detector takes for a face where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.images.reading import IMAGE_FAILURES
from edge_mtcnn.known_false import KnownFalse, free_name

if TYPE_CHECKING:
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.thresholds.calibrator import Evidence

__all__ = ["remembered", "things_in"]


def things_in(
    path: str | Path,
    detector: FaceDetector,
    *,
    taken: Set[str],
    at_place: bool,
    added: str,
    mounting: Mounting,
) -> list[tuple[KnownFalse, float]]:
    """What is found in an image that shows no person, with the scores.

    Args:
        path: the image.
        detector: finds from its threshold on are taken; if there are none, the best one.
        taken: names that are in use.
        at_place: tie the things to their place in the frame.
        added: the date, as text.
        mounting: how the image is turned.

    Returns:
        The things that the detector does not know yet; empty when it knows all of them.

    Raises:
        ImageError, OSError: the image cannot be read.
        OptionsError: nothing is found in it.
    """
    image = mounting.applied(read_image(path))
    faces = detector.detect(image)
    if not len(faces):
        if len(detector.detect(image, include_known_false=True)):
            return []
        every_find = detector.options.every_find()
        faces = detector.detect(image, options=every_find)[:1]
    if not len(faces):
        raise OptionsError(f"nothing is found in {path}, so there is nothing to add; leave it out")
    things: list[tuple[KnownFalse, float]] = []
    for face in faces:
        name = free_name(Path(path).stem, taken | {thing.name for thing, _ in things})
        thing = detector.remember(image, face.box, name, at_place=at_place, added=added)
        things.append((thing, face.score))
    return things


def remembered(
    mistakes: Iterable[Evidence],
    detector: FaceDetector,
    *,
    kept: Iterable[KnownFalse] = (),
    at_place: bool = False,
    added: str = "",
    notify: Callable[[str], None] | None = None,
) -> list[tuple[KnownFalse, Evidence]]:
    """Remember mistakes of a calibration that are not remembered yet.

    Args:
        mistakes: non-faces that were detected.
        detector: the detector that was calibrated.
        kept: what the calibration file knows already.
        at_place: tie the things to their place in the frame.
        added: the date, as text.
        notify: called with a sentence about an image that cannot be read any more.
    """
    known = list(kept)
    things = []
    for mistake in mistakes:
        if mistake.box is None:
            continue
        name = free_name(Path(mistake.image.name).stem, {entry.name for entry in known})
        try:
            thing = detector.remember(
                mistake.image.mounting.applied(read_image(mistake.image.path)),
                mistake.box.tolist(),
                name,
                at_place=at_place,
                how="remember",
                added=added,
            )
        except (*IMAGE_FAILURES, OptionsError) as error:
            if notify is not None:
                notify(f"{mistake.image.name} is not remembered: {error}")
            continue
        if any(thing.vector == entry.vector for entry in known):  # the same find of the same image
            continue
        known.append(thing)
        things.append((thing, mistake))
    return things
