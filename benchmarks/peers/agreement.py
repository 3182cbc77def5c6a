"""Measure how far the faces of ``mtcnn`` 1.0.0 and those of ``MTCNN``, called in its form, agree.

Both get the same pixels and the defaults of 1.0.0. A face of one and a face of the other are the
same where their boxes overlap enough; each face has one partner at most. Differences are those of
the faces that both find at IoU 0.5: of a box, its edge that differs most.

    python -m benchmarks.peers --setup --peers mtcnn-1.0.0
    python -m benchmarks.peers.agreement --limit 60

Needs the environment of mtcnn 1.0.0, which the first command makes, and folders of photos.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.arguments import add_threads, runtime_options
from benchmarks.common.images import DATA, SAMPLES, image_files, read_rgb
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import Result, add_output, document, save, table
from benchmarks.peers.contest import Pixels
from benchmarks.peers.process import (
    DETECTING_SECONDS,
    ENVIRONMENTS,
    OPENING_SECONDS,
    PeerError,
    PeerProcess,
    interpreter,
)
from benchmarks.peers.specs import PEERS
from edge_mtcnn import MTCNN
from edge_mtcnn.runtime.workers import available_threads
from edge_mtcnn.thresholds.matching import inclusive_ious
from edge_mtcnn.types import FloatArray

PEER = "mtcnn-1.0.0"
SAME, NEARLY_EQUAL = 0.5, 0.9
BOX, CONFIDENCE, POINTS = slice(1, 5), 5, slice(6, 16)
"""Columns of the faces, as ``mtcnn`` 1.0.0 returns them in an array."""


@dataclass(slots=True)
class Agreement:
    """What was found in the images of one folder.

    Attributes:
        images: number of images.
        equal_counts: images in which both find the same number of faces.
        theirs, ours: number of faces.
        same, nearly_equal: faces with a partner at IoU 0.5 and 0.9.
        boxes: largest difference of an edge, pixels, of each face with a partner.
        shares: the same, per cent of the longer side of their box.
        points: mean distance of the landmarks, pixels.
        confidences: absolute differences.
        alone: confidences of their and of our faces without a partner.
    """

    images: int = 0
    equal_counts: int = 0
    theirs: int = 0
    ours: int = 0
    same: int = 0
    nearly_equal: int = 0
    boxes: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    points: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    alone: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def add(self, theirs: FloatArray, ours: FloatArray) -> None:
        """Compare the faces of one image, two arrays in the form of 1.0.0."""
        self.images += 1
        self.equal_counts += len(theirs) == len(ours)
        self.theirs += len(theirs)
        self.ours += len(ours)
        overlaps = inclusive_ious(theirs[:, BOX], ours[:, BOX])
        self.nearly_equal += len(partners(overlaps, NEARLY_EQUAL)[0])
        one, other = partners(overlaps, SAME)
        self.same += len(one)
        for confidences, faces, found in zip(self.alone, (theirs, ours), (one, other), strict=True):
            confidences += np.delete(faces[:, CONFIDENCE], found).tolist()
        first, second = theirs[one], ours[other]
        edges = np.abs(first[:, BOX] - second[:, BOX]).max(axis=1, initial=0)
        sides = (first[:, 3:5] - first[:, 1:3]).max(axis=1, initial=1)
        moves = (first[:, POINTS] - second[:, POINTS]).reshape(-1, 2, 5)
        self.boxes += edges.tolist()
        self.shares += (100 * edges / sides).tolist()
        self.points += np.linalg.norm(moves, axis=1).mean(axis=1).tolist()
        self.confidences += np.abs(first[:, CONFIDENCE] - second[:, CONFIDENCE]).tolist()

    def results(self, name: str) -> list[Result]:
        """The figures, named after the folder."""
        counts = {
            "images": self.images,
            "images with as many faces": self.equal_counts,
            "faces of theirs": self.theirs,
            "faces of ours": self.ours,
            "same faces": self.same,
            "nearly equal faces": self.nearly_equal,
        }
        results = [
            Result(name=f"agreement/{name}/{key}", unit="", value=count, better="none")
            for key, count in counts.items()
        ]
        for key, unit, samples in (
            ("box", "px", self.boxes),
            ("box by size", "%", self.shares),
            ("landmarks", "px", self.points),
            ("confidence", "", self.confidences),
            ("confidence of theirs alone", "", self.alone[0]),
            ("confidence of ours alone", "", self.alone[1]),
        ):
            results += [
                Result(
                    name=f"agreement/{name}/{key}/{rank}",
                    unit=unit,
                    value=round(float(np.percentile(samples, percent)), 5),
                    better="none",
                    detail={"faces": len(samples)},
                )
                for rank, percent in (("median", 50), ("95 % below", 95))
                if samples
            ]
        return results


def partners(overlaps: FloatArray, least: float) -> tuple[list[int], list[int]]:
    """Pairs of faces that overlap at least so much, the best first, each face at most once.

    Args:
        overlaps: (N, M) IoU of each face of one with each of the other.
        least: smallest overlap of a pair, 0..1.

    Returns:
        Rows and columns of the pairs.
    """
    rows: list[int] = []
    columns: list[int] = []
    for place in np.argsort(-overlaps, axis=None, kind="stable").tolist():
        row, column = divmod(place, overlaps.shape[1])
        if overlaps[row, column] < least:
            break
        if row not in rows and column not in columns:
            rows.append(row)
            columns.append(column)
    return rows, columns


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    options = _parser().parse_args(arguments)
    threads = options.threads or available_threads()
    folders = {folder.name: _chosen(folder, options.limit) for folder in options.folders}
    ours = MTCNN("face_and_landmarks_detection", runtime=runtime_options(threads))
    try:
        found = _compare(folders, ours, options.environments, threads)
    except PeerError as error:
        raise BenchmarkError(f"{PEERS[PEER].title}: {error}") from None
    results = [result for name, agreement in found.items() for result in agreement.results(name)]
    _print(found)
    settings = {"threads": threads, "limit": options.limit, "peer": PEERS[PEER].title}
    save(document("agreement", results, settings=settings), options.output)
    return 0


def _chosen(folder: Path, limit: int | None) -> list[Path]:
    """At most so many images of the folder, evenly spread."""
    if not folder.is_dir():
        raise BenchmarkError(f"there is no folder {folder}; name folders of photos")
    inside = [folder, *(path for path in sorted(folder.rglob("*")) if path.is_dir())]
    files = [file for part in inside for file in image_files(part)]
    if not files:
        raise BenchmarkError(f"there are no photos in {folder}")
    count = min(limit or len(files), len(files))
    return [files[len(files) * number // count] for number in range(count)]


def _compare(
    folders: dict[str, list[Path]], ours: MTCNN, environments: Path, threads: int
) -> dict[str, Agreement]:
    process = PeerProcess(interpreter(PEER, PEERS[PEER], environments), threads)
    found: dict[str, Agreement] = {}
    try:
        process.ask({"do": "open", "adapter": "mtcnn_1_rows", "threads": threads}, OPENING_SECONDS)
        for name, files in folders.items():
            found[name] = Agreement()
            for number, file in enumerate(files, 1):
                pixels = read_rgb(file)
                own = ours.predict(pixels, box_format="xyxy", output_type="numpy")
                found[name].add(_theirs(process, pixels), own)
                if number % 20 == 0:
                    print(f"{name}: {number} of {len(files)}", file=sys.stderr)
    finally:
        process.close()
    return found


def _theirs(process: PeerProcess, pixels: Pixels) -> FloatArray:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.npy"
        np.save(file, pixels[None])
        process.ask({"do": "load", "path": str(file)}, DETECTING_SECONDS)
        faces: Any = process.ask({"do": "find", "index": 0}, DETECTING_SECONDS)["found"]
    return np.array(faces, dtype=np.float64).reshape(-1, 16)


def _print(found: dict[str, Agreement]) -> None:
    rows = [
        (
            name,
            each.images,
            each.theirs,
            each.ours,
            each.same,
            each.nearly_equal,
            *(_both_ranks(s) for s in (each.boxes, each.shares, each.points, each.confidences)),
        )
        for name, each in found.items()
    ]
    header = ("folder", "images", "theirs", "ours", "IoU 0.5", "IoU 0.9")
    print(table(rows, (*header, "box px", "box %", "landmarks px", "confidence")))
    print("differences: the median; 95 % are below the second number")


def _both_ranks(samples: Sequence[float]) -> str:
    if not samples:
        return "-"
    middle, high = np.percentile(samples, [50, 95])
    return f"{middle:.3g}; {high:.3g}"


def _parser() -> argparse.ArgumentParser:
    parser = script_parser("benchmarks.peers.agreement", __doc__)
    parser.add_argument(
        "folders", nargs="*", type=Path,
        default=[SAMPLES, *(DATA / name for name in ("photos", "landmarks", "wider"))],
        help="folders of photos (the samples, and photos, landmarks and wider of the data folder)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N images of each folder, evenly spread"
    )
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS,
        help=f"folder of the environments ({ENVIRONMENTS.name})",
    )  # fmt: skip
    add_threads(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
