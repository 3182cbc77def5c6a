"""``edge-mtcnn detect``: find faces in photos, report them, and draw or cut them out."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.common import (
    Progress,
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    complain,
    counted,
    native_messages_muted,
    open_detector,
    options_from,
    sample_photo,
    shown,
    write_line,
)
from edge_mtcnn.cli.outputs import JsonLines, face_entry, outside, picture_folder, unique_names
from edge_mtcnn.errors import ImageError

if TYPE_CHECKING:
    from edge_mtcnn.cli.common import Commands
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.types import Faces, ImageArray

_EXAMPLE = """\
edge-mtcnn detect team.jpg --annotate marked/
edge-mtcnn detect holiday/ --recursive --json faces.jsonl
edge-mtcnn detect 'cam*/*.jpg' --min-face-size 60 --json - | jq .faces"""

_NOTES = """\
Boxes are x, y, width, height in pixels of the upright image, best face first. With --json FILE
the lines gather in FILE.part, which becomes FILE at the end; after Ctrl-C, too, FILE then holds
what was done. Pictures that are already in the folders of --annotate and --crops are replaced."""

_BOXES_PER_LINE = 8
# What can be wrong with one input and leaves the others alone.
_FAILURES = (ImageError, OSError, MemoryError)


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``detect``."""
    parser = add_command(
        commands,
        "detect",
        "find the faces in photos, folders of photos or the sample photo",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="photo, folder or glob pattern; the packaged sample photo when left out",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="look in the folders of folders too"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write one JSON object per photo, a line each; - for standard output",
    )
    parser.add_argument(
        "--annotate", metavar="DIR", help="write each photo with its faces drawn into DIR"
    )
    parser.add_argument("--crops", metavar="DIR", help="write each face as a PNG into DIR")
    parser.add_argument(
        "--crop-style",
        choices=("aligned", "margin"),
        default="aligned",
        help="aligned: eyes level, 112x112, for recognition; margin: the box and a fifth around it",
    )
    add_config_argument(parser)
    add_detector_arguments(parser)
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Detect in all inputs; 1 when some of them failed."""
    from edge_mtcnn.files import find_images, folders_without_images

    detector_options, runtime_options = options_from(args)
    arguments = args.paths
    if not arguments:
        arguments = [str(sample_photo())]
        complain(f"no path given, so here is the sample photo {arguments[0]}")
    inputs = find_images(arguments, recursive=args.recursive)
    inputs = outside(filter(None, (args.annotate, args.crops)), arguments, inputs)
    barren = folders_without_images(arguments, recursive=args.recursive)
    with open_detector(detector_options, runtime_options, args.calibration) as detector:
        pictures = _Pictures(args, arguments, inputs)
        with native_messages_muted(), _Report(args.json, [*inputs, *barren]) as report:
            for folder in barren:
                report.failed(folder, no_images(folder, recursive=args.recursive))
            _detect_all(detector, inputs, pictures, report)
    return 1 if report.failures else 0


def no_images(folder: Path, *, recursive: bool) -> ImageError:
    """What is wrong with a folder that gives no image; shared with ``bench`` and ``tune``."""
    deeper = "" if recursive else "; --recursive looks in the folders there too"
    return ImageError(f"{folder}: no image files in this folder{deeper}")


def _detect_all(
    detector: FaceDetector, inputs: Sequence[Path], pictures: _Pictures, report: _Report
) -> None:
    def detect_one(index: int, image_of: Callable[[], ImageArray]) -> None:
        try:
            image = image_of()
            faces = detector.detect(image)
            pictures.write(index, image, faces)
        except _FAILURES as error:
            report.failed(inputs[index], error)
        else:
            report.found(inputs[index], faces)

    with closing(_read_ahead(inputs)) as reads:
        for index, image_of in enumerate(reads):
            detect_one(index, image_of)


def _read_ahead(paths: Sequence[Path]) -> Generator[Callable[[], ImageArray]]:
    """For each path a call that gives its image or raises; the next is read meanwhile."""
    from edge_mtcnn.image import read_image

    reader = ThreadPoolExecutor(1, thread_name_prefix="edge-mtcnn-reader")
    try:
        reads: deque[Future[ImageArray]] = deque()
        for index in range(len(paths)):
            wanted = paths[index + len(reads) : index + 2]
            reads.extend(reader.submit(read_image, path) for path in wanted)
            yield reads.popleft().result
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


class _Pictures:
    """The pictures that were asked for: photos with faces drawn, and cut-out faces."""

    def __init__(
        self, args: argparse.Namespace, arguments: Sequence[str], inputs: Sequence[Path]
    ) -> None:
        self._cut = _aligned_crops if args.crop_style == "aligned" else _margin_crops
        self._marked = args.annotate and picture_folder("--annotate", args.annotate, inputs)
        self._crops = args.crops and picture_folder("--crops", args.crops, inputs)
        self._names = unique_names(arguments, inputs) if self._marked else []
        self._stems = unique_names(arguments, inputs, stems=True) if self._crops else []

    def write(self, index: int, image: ImageArray, faces: Faces) -> None:
        """Write the pictures of one input, each whole or not at all."""
        if self._marked:
            from edge_mtcnn.drawing import draw_faces

            _save(self._marked / self._names[index], draw_faces(image, faces))
        if self._crops and len(faces):
            stem = self._crops / self._stems[index]
            for number, crop in enumerate(self._cut(image, faces), start=1):
                if crop.size:  # else the box lies wholly beside the photo
                    _save(stem.with_name(f"{stem.name}_face{number}.png"), crop)


def _aligned_crops(image: ImageArray, faces: Faces) -> Iterable[ImageArray]:
    from edge_mtcnn.alignment import aligned_faces

    return aligned_faces(image, faces)


def _margin_crops(image: ImageArray, faces: Faces) -> Iterable[ImageArray]:
    from edge_mtcnn.alignment import cropped_faces

    return cropped_faces(image, faces)


def _save(path: Path, image: ImageArray) -> None:
    from edge_mtcnn.files import write_image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)
    except OSError as error:  # of the photo's own folder, or of a temporary file
        raise OSError(f"cannot write {path}: {error.strerror or error}") from None


class _Report:
    """What is said of each input, and the summary at the end, also of an interrupted run."""

    def __init__(self, json: str | None, inputs: Sequence[Path]) -> None:
        self._json = JsonLines(json, inputs) if json else None
        self._progress = Progress(len(inputs), "image", mixed=json in (None, "-"))
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
            complain(self._summary())
        elif issubclass(kind, KeyboardInterrupt):
            done = self._images + self.failures
            complain(f"interrupted after {done} of {self._total}: {self._summary()}")

    def found(self, path: Path, faces: Faces) -> None:
        """Report the faces of one image, none included."""
        self._images += 1
        self._faces += len(faces)
        height, width = faces.image_size
        if self._json is not None:
            entry = {"path": str(path), "width": width, "height": height}
            with self._progress.writing():
                self._json.write({**entry, "faces": [face_entry(face) for face in faces]})
        else:
            with self._progress.writing():
                write_line(f"{shown(path)}: {width}x{height}, {_told(faces)}")
        self._progress.step()

    def failed(self, path: Path, error: BaseException) -> None:
        """Report why an input gave no result."""
        self.failures += 1
        reason = str(error) or type(error).__name__
        if self._json is not None:
            with self._progress.writing():
                self._json.write({"path": str(path), "error": reason})
        else:
            where = "" if str(path) in reason else f"{shown(path)}: "
            with self._progress.writing():
                complain(f"error: {where}{shown(reason)}")
        self._progress.step()

    def _summary(self) -> str:
        seconds = time.perf_counter() - self._started
        rate = (self._images + self.failures) / max(seconds, 1e-9)
        return (
            f"{counted(self._images, 'image')}, {counted(self._faces, 'face')},"
            f" {self.failures} failed, {rate:.1f} images/s"
        )


def _told(faces: Faces) -> str:
    """The faces of one image in a few words, best first."""
    if not len(faces):
        return "no faces"
    told = []
    for face in faces[:_BOXES_PER_LINE]:
        x, y, width, height = face.to_dict()["box"]
        told.append(f"{width}x{height} at ({x}, {y}) {face.score:.4f}")
    more = len(faces) - len(told)
    rest = f"; {more} more (--json tells all)" if more else ""
    return f"{counted(len(faces), 'face')}: {'; '.join(told)}{rest}"
