"""``python -m export verify-single``: compares a file with ``FaceDetector``, image by image.

The settings are those of the file. Faces are matched by overlap, best first. A matched face agrees
if box and landmarks are within 1 pixel, or 2 % of a face above 100 pixels, and its score within
0.02.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edge_mtcnn import FaceDetector, Faces
from edge_mtcnn.cascade.boxes import overlap_of
from edge_mtcnn.cli.terminal import Progress, plural, write_line, write_message
from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.files import find_images
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.images.reading import IMAGE_FAILURES
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.types import Float32Array, ImageArray

__all__ = ["Agreement", "OneFile", "main"]

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SAME_COUNT, SAME_FACE = 0.98, 0.99
"""Shares of images with the same number of faces, and of matched faces that agree."""
PIXELS, SHARE, LARGE, SCORE = 1.0, 0.02, 100.0, 0.02
SAME_FIND = 0.5
"""Smallest IoU of two boxes of one face."""
ROW = "{:40} {:>12} {:>9} {:>8}"


class OneFile:
    """A file of ``python -m export single``, opened.

    Args:
        path: the file.

    Attributes:
        options: what it looks for.
        size: height and width of its images; ``None`` for any.
        max_faces: most faces that it returns; ``None`` for all.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"{path} is no file; write one with 'python -m export single'")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
            metadata = self._session.get_modelmeta().custom_metadata_map
            settings = json.loads(metadata["settings"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises types of its own
            raise ValueError(
                f"{path} is not a file of 'python -m export single': {error}"
            ) from None
        self.size: tuple[int, int] | None = settings.pop("size") and tuple(
            self._session.get_inputs()[0].shape[:2]
        )
        self.max_faces: int | None = settings.pop("max_faces")
        self.options = DetectorOptions.from_dict(settings)

    def __call__(self, image: ImageArray) -> Faces:
        """The faces in an image, (H, W, 3) uint8 RGB."""
        boxes, scores, confidences, landmarks = self._session.run(None, {"image": image})
        return Faces(boxes, scores, landmarks, confidences=confidences, image_size=image.shape[:2])


@dataclass
class Agreement:
    """What the comparison of images gave; add them one by one."""

    images: int = 0
    same_count: int = 0
    faces: int = 0
    matched: int = 0
    agreeing: int = 0
    differences: Mapping[str, list[float]] = field(
        default_factory=lambda: {"box": [], "landmarks": [], "score": []}
    )

    def add(self, expected: Faces, got: Faces) -> bool:
        """Count one image; whether both have the same number of faces."""
        same = len(expected) == len(got)
        self.images += 1
        self.same_count += same
        self.faces += len(expected)
        for row, other in _pairs(expected.boxes, got.boxes):
            found, again = expected[row], got[other]
            differences = (
                float(np.abs(np.subtract(found.box, again.box)).max()),
                float(np.abs(expected.landmarks[row] - got.landmarks[other]).max()),
                abs(found.score - again.score),
            )
            for values, difference in zip(self.differences.values(), differences, strict=True):
                values.append(difference)
            size = (found.width + found.height) / 2
            limit = SHARE * size if size > LARGE else PIXELS
            self.matched += 1
            self.agreeing += max(differences[:2]) <= limit and differences[2] <= SCORE
        return same

    def report(self) -> tuple[str, bool]:
        """A table, and whether the targets are met."""
        rows, good = [ROW.format("", "number", "share", "target")], True
        for name, part, whole, target in (
            ("images with the same number of faces", self.same_count, self.images, SAME_COUNT),
            ("matched faces that agree", self.agreeing, self.matched, SAME_FACE),
        ):
            share = part / whole if whole else 1.0
            good &= share >= target
            rows.append(ROW.format(name, f"{part} / {whole}", f"{share:.2%}", f"{target:.0%}"))
        for name, values in self.differences.items():
            largest = max(values, default=0.0)
            median = float(np.median(values)) if values else 0.0
            rows.append(f"difference of {name}: median {median:.2g}, largest {largest:.2g}")
        return "\n".join(rows), good


def main(arguments: list[str]) -> int:
    """Compare and print; 0 the targets are met, 1 they are not or an image failed, 2 cannot run."""
    parser = argparse.ArgumentParser(
        prog="python -m export verify-single",
        description="Compare a file of 'python -m export single' with FaceDetector.",
        epilog="example:\n  python -m export verify-single mtcnn.onnx photos/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file")
    parser.add_argument(
        "folders",
        nargs="*",
        default=[str(SAMPLES)],
        metavar="FOLDER",
        help="photos, or folders of them and their subfolders (samples/)",
    )
    given = parser.parse_args(arguments)
    try:
        file = OneFile(given.file)
        paths = find_images(given.folders, recursive=True)
    except (ValueError, OSError) as error:
        write_message(f"error: {error}")
        return 2
    agreement, failed = Agreement(), 0
    progress = Progress(len(paths), "image")
    with FaceDetector(file.options) as detector, contextlib.closing(progress):
        for path in paths:
            try:
                image = _fitting(read_image(path), file.size)
                expected, got = detector.detect(image)[: file.max_faces], file(image)
            except (*IMAGE_FAILURES, EdgeMTCNNError) as error:
                failed += 1
                with progress.writing():
                    write_message(f"error: {path}: {error}")
            else:
                if not agreement.add(expected, got):
                    with progress.writing():
                        write_line(f"{path}: {plural(len(expected), 'face')}, file: {len(got)}")
            progress.step()
    if not agreement.images:
        write_message("error: no image could be read")
        return 1
    text, good = agreement.report()
    write_line(text)
    return 0 if good and not failed else 1


def _fitting(image: ImageArray, size: tuple[int, int] | None) -> ImageArray:
    """The image in the size that the file takes, cut off or with a black margin."""
    if size is None:
        return image
    fitting = np.zeros((*size, 3), dtype=np.uint8)
    part = image[: size[0], : size[1]]
    fitting[: part.shape[0], : part.shape[1]] = part
    return fitting


def _pairs(boxes: Float32Array, others: Float32Array) -> Iterator[tuple[int, int]]:
    """Rows of boxes that show one face; the best of the first choose first."""
    if not len(others):
        return
    free = np.ones(len(others), dtype=bool)
    for row, overlaps in enumerate(overlap_of(boxes[:, None], others)):
        other = int(np.where(free, overlaps, 0).argmax())
        if free[other] and overlaps[other] > SAME_FIND:
            free[other] = False
            yield row, other
