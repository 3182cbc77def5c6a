"""Labelled images of ``calibrate`` and ``evaluate``: their arguments, and progress over them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.mounting import add_mounting_arguments, mounting_from
from edge_mtcnn.cli.terminal import Progress, plural, printable, write_message

if TYPE_CHECKING:
    from edge_mtcnn.thresholds import Failure, LabelledImage

__all__ = ["MeasuringProgress", "add_annotation_arguments", "mounted"]


def add_annotation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how annotations are read and matched, and how images are turned."""
    parser.add_argument(
        "--format",
        choices=("wider", "coco", "yolo"),
        help="format of the annotations (default: by file name)",
    )
    parser.add_argument(
        "--category",
        metavar="NAME",
        help="category (COCO) or class number (YOLO) of faces; needed when there are several",
    )
    parser.add_argument(
        "--iou",
        type=float,
        default=0.5,
        metavar="0..1",
        help="lowest overlap of a detection with an annotated face (default: %(default)g)",
    )
    add_mounting_arguments(parser)


def mounted(images: Iterable[LabelledImage], args: argparse.Namespace) -> list[LabelledImage]:
    """The images turned as the flags say, with their annotations."""
    mounting = mounting_from(args)
    return [replace(image, mounting=mounting) for image in images]


class MeasuringProgress:
    """Progress and errors while images are measured, and how to continue after Ctrl-C.

    with MeasuringProgress(images, journal) as (listener, notify):
        evaluate(detector, images, journal=journal, listener=listener, notify=notify)
    """

    def __init__(self, images: Sequence[LabelledImage], journal: Path | None) -> None:
        self._total = len(images)
        self._done = 0
        self._journal = journal
        self._progress = Progress(len(images), "image")

    def __enter__(
        self,
    ) -> tuple[Callable[[LabelledImage, Failure | None], None], Callable[[str], None]]:
        return self._add, self._notice

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.close()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            resume = (
                f"; {printable(self._journal)} keeps them: run the same command to continue"
                if self._journal
                else ""
            )
            write_message(
                f"interrupted after {self._done} of {plural(self._total, 'image')}{resume}"
            )

    def _add(self, _image: LabelledImage, failure: Failure | None) -> None:
        self._done += 1
        if failure is not None:
            with self._progress.writing():
                where = "" if failure.name in failure.reason else f"{printable(failure.name)}: "
                write_message(f"error: {where}{printable(failure.reason)}")
        self._progress.step()

    def _notice(self, text: str) -> None:
        with self._progress.writing():
            write_message(printable(text))
