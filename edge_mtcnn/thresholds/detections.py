"""Runs the detector over many labelled images; failures are reported and skipped.

Several images are searched at once, and a journal can keep the detections. Used by ``calibrator``
and ``evaluation``. Imports ``journal``, ``labels``, the detector's types and ``images``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_mtcnn.errors import ImageError, OptionsError, shown
from edge_mtcnn.images.mounting import Mounting
from edge_mtcnn.images.reading import IMAGE_FAILURES, PhotoFile
from edge_mtcnn.options.checks import check_function, check_path, check_type
from edge_mtcnn.thresholds.journal import Journal
from edge_mtcnn.thresholds.labels.images import LabelledImage
from edge_mtcnn.types import Faces

if TYPE_CHECKING:
    from edge_mtcnn.detector import FaceDetector

__all__ = [
    "Failure",
    "Listener",
    "Measured",
    "Measurements",
    "check_measuring",
    "measure",
    "provenance",
]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """An image with its labels, in pixels of the turned image, and the faces that were found."""

    image: LabelledImage
    faces: Faces


@dataclass(frozen=True, slots=True)
class Failure:
    """An image without a result, and the reason."""

    name: str
    reason: str


Listener = Callable[[LabelledImage, Failure | None], None]
"""Called after each image, with its failure or ``None``."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """What the detector found in all images.

    All detections are held in memory, 64 bytes each. A detector reports at most 1,500 faces of an
    image unless ``max_candidates`` says otherwise, so an image takes at most 100 kB.

    Attributes:
        done: the images that could be read, in the order given.
        failures: the others.
        provenance: versions and options that the detections depend on.
    """

    done: tuple[Measured, ...]
    failures: tuple[Failure, ...]
    provenance: dict[str, Any]


def provenance(detector: FaceDetector) -> dict[str, Any]:
    """Versions and options that all finds of ``detector`` depend on, as plain values."""
    info = detector.info()
    known = json.dumps([entry.to_dict() for entry in detector.known_false])
    digest = {"known_false": hashlib.sha256(known.encode()).hexdigest()}
    return {
        "package_version": info["version"],
        "model_version": info["model_version"],
        "form": info["form"],
        "onnxruntime_version": info["onnxruntime"],
        "providers": list(info["providers"]),
        "detector_options": {**info["options"], "confidence": 0.0},
        **(digest if detector.known_false else {}),
    }


def check_measuring(
    detector: object, images: object, journal: object, listener: object, notify: object
) -> None:
    """Require what ``measure`` needs, before hours of work."""
    from edge_mtcnn.detector import FaceDetector  # not at import: it loads the runtime

    check_type("detector", detector, FaceDetector)
    if not isinstance(images, Sequence):
        raise OptionsError(f"images must be a list of LabelledImage; got {shown(images)}")
    for image in images:
        check_type("each of images", image, LabelledImage)
    if len({image.mounting for image in images}) > 1:
        raise OptionsError("all images must have the same mounting; measure the others separately")
    if journal is not None:
        check_path("journal", journal)
    for name, function in (("listener", listener), ("notify", notify)):
        if function is not None:
            check_function(name, function)


def measure(
    detector: FaceDetector,
    images: Sequence[LabelledImage],
    *,
    journal: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    notify: Callable[[str], None] | None = None,
) -> Measurements:
    """Detect in all images.

    Args:
        detector: finds the faces. Every find counts, whatever its option ``confidence`` is.
        images: the images to detect in.
        journal: file that keeps the detections; a second run detects only in the images it lacks.
        listener: called after each image.
        notify: called with a sentence on what the journal already has, or why it cannot be used.

    Raises:
        OSError: the journal cannot be written.
    """
    every_find = detector.options.every_find()
    setup = provenance(detector)
    mounting = images[0].mounting if images else Mounting()
    if mounting:
        setup["mounting"] = asdict(mounting)
    done, failures = [], []
    with Journal(journal, setup) if journal is not None else nullcontext() as notes:
        known = [notes.get(image.path) if notes else None for image in images]
        if notes is not None and notify is not None:
            reused = sum(faces is not None for faces in known)
            if notes.notice or reused:
                notify(notes.notice or f"{reused} of {len(images)} images are known from {journal}")
        unknown = [image for image, faces in zip(images, known, strict=True) if faces is None]
        photos = [PhotoFile(image.path, mounting) for image in unknown]
        with closing(detector.detect_many(photos, options=every_find)) as results:
            for image, faces in zip(images, known, strict=True):
                failure = fresh = None
                try:
                    if faces is None:
                        found = next(results)
                        if isinstance(found, ImageError):
                            raise found
                        faces = fresh = found
                    done.append(Measured(_labels_in_pixels(image, faces), faces))
                except IMAGE_FAILURES as error:
                    failure = Failure(image.name, _reason(error))
                    failures.append(failure)
                if notes is not None and fresh is not None:
                    # Outside the try: a full disk is not a failure of the image.
                    notes.add(image.path, fresh)
                if listener is not None:
                    listener(image, failure)
    return Measurements(tuple(done), tuple(failures), setup)


def _labels_in_pixels(image: LabelledImage, faces: Faces) -> LabelledImage:
    """The labels in pixels, turned as the image, if it has the size that the annotation states."""
    size = height, width = image.mounting.size(faces.image_size)
    if image.size not in {None, size}:
        stated = image.size or (0, 0)
        raise ImageError(
            f"annotated as {stated[1]}x{stated[0]}, but the upright image is {width}x{height}"
        )
    labels = image.in_pixels(height, width)
    if labels.boxes is None:
        return labels
    return replace(
        labels,
        boxes=image.mounting.boxes(labels.boxes, size),
        landmarks=image.mounting.landmarks(labels.landmarks, size),
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no such file: {error.filename}"
    return str(error) or type(error).__name__
