"""``edge-mtcnn detect``: find faces in photos, report them, draw them and cut them out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    calibration_from,
    open_detector,
    options_from,
    sample_photo,
    warn_of_mismatch,
)
from edge_mtcnn.cli.inputs import add_path_arguments, no_images
from edge_mtcnn.cli.mounting import mounting_from
from edge_mtcnn.cli.outputs import (
    JsonLines,
    names_a_file,
    outside,
    picture_file,
    picture_folder,
    unique_names,
)
from edge_mtcnn.cli.terminal import Progress, plural, printable, write_line, write_message
from edge_mtcnn.errors import ImageError
from edge_mtcnn.types import faces_entry, score_text

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.images.mounting import Mounting
    from edge_mtcnn.types import Faces, ImageArray

_EXAMPLE = """\
edge-mtcnn detect team.jpg --annotate marked.png
edge-mtcnn detect holiday/ --annotate marked/ --crops faces/
edge-mtcnn detect holiday/ --recursive --json faces.jsonl
edge-mtcnn detect scans/ --angles fallback --annotate marked/
edge-mtcnn detect 'cam*/*.jpg' --min-face-size 60 --json - | jq .faces"""

_NOTES = """\
Boxes are x, y, width, height in pixels of the upright image, best face first: turned as its EXIF
orientation says, and then by --rotate and --flip. Scores in text and
pictures are rounded down to four digits; --json has all of them. With --json FILE the lines are
written to FILE.part, which is renamed to FILE at the end, also after Ctrl-C. Pictures that already
exist in the folders of --annotate and --crops are replaced."""

_BOXES_PER_LINE = 8


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``detect``."""
    parser = add_command(
        commands,
        "detect",
        "find faces in photos, in folders of photos or in the sample photo",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    add_path_arguments(parser)
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write one JSON object per photo and line; - for standard output",
    )
    parser.add_argument(
        "--annotate",
        metavar="DIR",
        help="write a copy of each photo with its faces marked to DIR; for a single photo this may"
        " be a file, such as marked.png",
    )
    parser.add_argument("--crops", metavar="DIR", help="write each face as a PNG to DIR")
    parser.add_argument(
        "--crop-style",
        choices=("aligned", "margin"),
        default="aligned",
        help="aligned: eyes level, 112x112, for recognition; margin: the box and a fifth around it"
        " (default: %(default)s)",
    )
    add_config_argument(parser)
    add_detector_arguments(parser, angles=True)
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Detect faces in all inputs; 1 when some of them failed."""
    from edge_mtcnn.files import find_images, folders_without_images

    detector_options, runtime_options = options_from(args)
    mounting = mounting_from(args)
    arguments = args.paths
    if not arguments:
        arguments = [str(sample_photo())]
        write_message(f"no path given, so the sample photo is used: {arguments[0]}")
    inputs = find_images(arguments, recursive=args.recursive)
    inputs = outside(filter(None, (args.annotate, args.crops)), arguments, inputs)
    empty_folders = folders_without_images(arguments, recursive=args.recursive)
    calibration = calibration_from(args)
    with open_detector(detector_options, runtime_options, calibration) as detector:
        warn_of_mismatch(calibration, detector, args)
        pictures = _Pictures(args, arguments, inputs, [*inputs, *empty_folders])
        with _Report(args.json, [*inputs, *empty_folders]) as report:
            for folder in empty_folders:
                report.failed(folder, no_images(folder, recursive=args.recursive))
            _detect_all(detector, inputs, mounting, pictures, report)
    return 1 if report.failures else 0


def _detect_all(
    detector: FaceDetector,
    inputs: Sequence[Path],
    mounting: Mounting,
    pictures: _Pictures,
    report: _Report,
) -> None:
    from edge_mtcnn.images.reading import IMAGE_FAILURES, PhotoFile

    photos = [PhotoFile(path, mounting) for path in inputs]
    with closing(detector.detect_many(photos)) as results:
        for index, (photo, found) in enumerate(zip(photos, results, strict=True)):
            try:
                if isinstance(found, ImageError):
                    raise found
                if pictures.wanted(found):  # read again, so that no picture waits in memory
                    pictures.write(index, photo.read(), found)
            except IMAGE_FAILURES as error:  # noqa: PERF203 - the others are still searched
                report.failed(photo.path, error)
            else:
                report.found(photo.path, found)


class _Pictures:
    """The pictures to write: photos with marked faces, and faces cut out."""

    def __init__(
        self,
        args: argparse.Namespace,
        arguments: Sequence[str],
        inputs: Sequence[Path],
        reported: Sequence[Path],
    ) -> None:
        self._cut = _aligned_crops if args.crop_style == "aligned" else _margin_crops
        self._marked = self._single = None
        if args.annotate and names_a_file(args.annotate):
            self._single = picture_file("--annotate", args.annotate, reported)
        elif args.annotate:
            self._marked = picture_folder("--annotate", args.annotate, inputs)
        self._crops = args.crops and picture_folder("--crops", args.crops, inputs)
        self._names = unique_names(arguments, inputs) if self._marked else []
        self._stems = unique_names(arguments, inputs, stems=True) if self._crops else []

    def wanted(self, faces: Faces) -> bool:
        """Whether there is any to write for an input with these faces."""
        return bool(self._marked or self._single or (self._crops and len(faces)))

    def write(self, index: int, image: ImageArray, faces: Faces) -> None:
        """Write the pictures of one input, each completely or not at all."""
        marked = self._marked / self._names[index] if self._marked else self._single
        if marked:
            from edge_mtcnn.images.drawing import draw_faces

            _save(marked, draw_faces(image, faces))
        if self._crops and len(faces):
            stem = self._crops / self._stems[index]
            for number, crop in enumerate(self._cut(image, faces), start=1):
                if crop.size:  # else the box is completely outside the photo
                    _save(stem.with_name(f"{stem.name}_face{number}.png"), crop)


def _aligned_crops(image: ImageArray, faces: Faces) -> Iterable[ImageArray]:
    from edge_mtcnn.images.crops import aligned_faces

    return aligned_faces(image, faces)


def _margin_crops(image: ImageArray, faces: Faces) -> Iterable[ImageArray]:
    from edge_mtcnn.images.crops import cropped_faces

    return cropped_faces(image, faces)


def _save(path: Path, image: ImageArray) -> None:
    from edge_mtcnn.images.writing import write_image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)
    except OSError as error:  # it may name a folder or a temporary file instead of the picture
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None


class _Report:
    """A report for each input, and a summary at the end, also of an interrupted run."""

    def __init__(self, json: str | None, inputs: Sequence[Path]) -> None:
        self._json = JsonLines(json, inputs) if json else None
        self._progress = Progress(len(inputs), "image")
        # Standard output has the reasons of failures already. A file does not disturb the bar.
        self._to_people = json != "-"
        self._json_writing: Callable[[], AbstractContextManager[None]] = (
            nullcontext if self._to_people else self._progress.writing
        )
        self._total = len(inputs)
        self._started = time.perf_counter()
        self._images = 0
        self._faces = 0
        self.failures = 0

    def __enter__(self) -> _Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.close()
        if self._json is not None:
            self._json.close()
        if kind is None:
            write_message(self._summary())
        elif issubclass(kind, KeyboardInterrupt):
            done = self._images + self.failures
            write_message(f"interrupted after {done} of {self._total}: {self._summary()}")

    def found(self, path: Path, faces: Faces) -> None:
        """Report the faces of one image, which may be none."""
        self._images += 1
        self._faces += len(faces)
        height, width = faces.image_size
        if self._json is not None:
            with self._json_writing():
                self._json.write({"path": str(path), **faces_entry(faces)})
        else:
            with self._progress.writing():
                write_line(f"{printable(path)}: {width}x{height}, {_faces_text(faces)}")
        self._progress.step()

    def failed(self, path: Path, error: BaseException) -> None:
        """Report why an input gave no result."""
        self.failures += 1
        reason = str(error) or type(error).__name__
        if self._json is not None:
            with self._json_writing():
                self._json.write({"path": str(path), "error": reason})
        if self._to_people:
            where = "" if str(path) in reason else f"{printable(path)}: "
            with self._progress.writing():
                write_message(f"error: {where}{printable(reason)}")
        self._progress.step()

    def _summary(self) -> str:
        seconds = time.perf_counter() - self._started
        rate = f", {self._images / max(seconds, 1e-9):.1f} images/s" if self._images else ""
        return (
            f"{plural(self._images, 'image')}, {plural(self._faces, 'face')},"
            f" {self.failures} failed{rate}"
        )


def _faces_text(faces: Faces) -> str:
    """The faces of one image for people, best first."""
    if not len(faces):
        return "no faces"
    texts = []
    for face in faces[:_BOXES_PER_LINE]:
        x, y, width, height = face.to_dict()["box"]
        texts.append(f"{width}x{height} at ({x}, {y}) {score_text(face.score)}")
    more = len(faces) - len(texts)
    rest = f"; {more} more (--json lists all)" if more else ""
    return f"{plural(len(faces), 'face')}: {'; '.join(texts)}{rest}"
