"""``edge-mtcnn collect``: save finds of a camera or video as pictures, to calibrate with them."""

from __future__ import annotations

import argparse
import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    check_positive,
)
from edge_mtcnn.cli.outputs import output_file, picture_folder
from edge_mtcnn.cli.stopping import Stop
from edge_mtcnn.cli.terminal import UsageError, plural, printable, write_line, write_message
from edge_mtcnn.cli.watch_arguments import (
    WATCH_PRESET,
    add_source_arguments,
    quieten_opencv,
    watch_options_from,
)
from edge_mtcnn.cli.watch_output import LiveLine

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.video import FaceTracker, Source
    from edge_mtcnn.video.collector import Collector
    from edge_mtcnn.video.rotation import RotationFinder

_EXAMPLE = """\
edge-mtcnn collect 0 finds/ --minutes 30 --report
edge-mtcnn collect rtsp://user:password@camera/stream finds/ --most 1000 --every 30
edge-mtcnn collect lobby.mp4 finds/ --fast --minutes 60"""

_NOTES = """\
This command writes pictures of people: into DIR/sure those with a score of at least --sure, into
DIR/unsure all others. Inform the people in view, and delete DIR when you have calibrated. Every
find is saved, whatever its score, when it appears, then again after --every seconds or when its
score changes much. A picture is cut out with some surroundings, so that 'calibrate' finds the face
again.

Label the pictures by moving them: those that show a person anywhere into DIR/sure, all others into
DIR/unsure. Then run 'edge-mtcnn calibrate DIR/sure DIR/unsure' with the same detector; the last
line of the output is that command. DIR/finds.jsonl has a line for each picture, with score,
confidence, boxes, time and track. Pictures that are in DIR are kept. SOURCE and the preset are as
for 'edge-mtcnn watch'. Ctrl-C stops; what was saved is complete."""

_TURN_SECONDS = 0.2
"""Longest time without a look at the clock, seconds."""


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``collect``."""
    parser = add_command(
        commands,
        "collect",
        "save finds of a camera or video as pictures of people, to calibrate with them",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument("source", metavar="SOURCE", help="camera, file, address or pipeline")
    parser.add_argument(
        "folder", metavar="DIR", help="folder for the pictures; one that exists is continued"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        metavar="M",
        help="stop after this time; for a file, time of the video (default: %(default)g)",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=500,
        metavar="N",
        help="stop after this number of pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds until the next picture of the same face (default: %(default)g)",
    )
    parser.add_argument(
        "--sure",
        type=float,
        default=0.9,
        metavar="0..1",
        help="lowest score of a picture in DIR/sure (default: %(default)g)",
    )
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        nargs="?",
        const="",
        help="write a page with thumbnails of all pictures in DIR, to DIR/report.html or FILE.html",
    )
    parser.add_argument(
        "--fast", action="store_true", help="process every frame of a file, as fast as possible"
    )
    add_source_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(parser, presets={"": WATCH_PRESET}, confidence=None)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect until the end, a limit or Ctrl-C; 1 when no frame came, or no more."""
    check_positive(args, "minutes", "most")
    if not 0 <= args.every < float("inf"):
        raise UsageError(f"--every must be at least 0; got {args.every:g}")
    if not 0 <= args.sure <= 1:
        raise UsageError(f"--sure must be in 0..1; got {args.sure:g}")
    quieten_opencv()
    from edge_mtcnn.calibration import calibrate_advice
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.video import FaceTracker, Source
    from edge_mtcnn.video.collector import INDEX, SURE, UNSURE, Collector
    from edge_mtcnn.video.rotation import RotationFinder
    from edge_mtcnn.video.source import devices
    from edge_mtcnn.video.source.captures import SourceSpec
    from edge_mtcnn.video.source.source import LOGGER

    logging.getLogger(LOGGER).setLevel(logging.ERROR)  # a lost source is shown here
    logging.getLogger(devices.__name__).setLevel(logging.WARNING)

    detector_options, runtime_options, options = watch_options_from(args, None)
    spec = SourceSpec(args.source)
    spec.check(options.source)
    is_file = spec.kind == "file"
    folder, page = _outputs(args, (SURE, UNSURE))
    place = printable(os.path.abspath(folder))  # noqa: PTH100 - links stay
    with ExitStack() as stack:
        live = stack.enter_context(LiveLine())
        detector = stack.enter_context(FaceDetector(detector_options, runtime_options))
        collector = Collector(
            detector,
            folder,
            source=spec.name,
            prefix=Path(spec.target).stem if is_file else None,
            every=args.every,
            sure=args.sure,
            most=args.most,
        )
        write_message(
            f"note: pictures of people are written to {place}, at most {args.most}, for"
            f" {args.minutes:g} minutes; Ctrl-C stops"
        )
        stop = stack.enter_context(Stop())
        tracker = FaceTracker(detector, options.tracker)
        source = stack.enter_context(Source(spec, options.source))
        finder = None
        if options.source.rotate == "auto":
            finder = RotationFinder(source, detector, options.presence.confidence)
        run_of = _Run(args, collector, tracker, finder, live, stop, is_file=is_file)
        try:
            run_of.follow(source)
        finally:
            live.clear()
            write_message(run_of.summary(place))
        advice = calibrate_advice(
            [os.fspath(folder / SURE), os.fspath(folder / UNSURE)],
            detector.options.to_dict(),
            args.config,
            "calibration.json",
        )
    if page is not None:
        from edge_mtcnn.thresholds.collected import write_page

        write_page(page, folder / SURE, folder / UNSURE, folder / INDEX, advice)
    if collector.sure + collector.unsure:
        write_message(
            f"next: sort the pictures, those with a person into {SURE}, all others into {UNSURE};"
            f" then {printable(advice)}"
        )
    if stop.signal is not None:
        return 128 + stop.signal
    if run_of.failure is None:
        return 0
    write_message(f"error: {printable(run_of.failure)}")
    return 1


def _outputs(args: argparse.Namespace, names: tuple[str, str]) -> tuple[Path, Path | None]:
    """Make the folders; the folder of the user, and the page to write."""
    if not args.folder:
        raise UsageError("DIR needs the name of a folder")
    folder = picture_folder("DIR", args.folder, [])
    for name in names:
        picture_folder("DIR", os.fspath(folder / name), [])
    if args.report is None:
        return folder, None
    report = args.report or os.fspath(folder / "report.html")
    return folder, output_file("--report", report, suffixes=(".html", ".htm"))


class _Run:
    """One run: its clock, its status line, and how it ended.

    Attributes:
        failure: why there were no frames, or no more.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        collector: Collector,
        tracker: FaceTracker,
        finder: RotationFinder | None,
        live: LiveLine,
        stop: Stop,
        *,
        is_file: bool,
    ) -> None:
        self.failure: str | None = None
        self._seconds = args.minutes * 60
        self._most = args.most
        self._collector = collector
        self._tracker = tracker
        self._finder = finder
        self._live = live
        self._stop = stop
        self._is_file = is_file
        self._frames = 0
        self._ended = "of an error"

    def follow(self, source: Source) -> None:
        """Save finds until the source, the time or the number ends."""
        from edge_mtcnn.errors import SourceError

        try:
            self._follow(source)
        except SourceError as error:
            self.failure = str(error)
            self._ended = "the source failed"
        if self.failure is None and not self._frames and self._stop.signal is None:
            self.failure = source.error or source.last_loss or f"no frame came from {source.name}"
        elif self.failure is None and self._finder is not None:
            self.failure = (
                "too few faces to find the rotation, so nothing was collected; name it, such as"
                " --rotate 90"
            )

    def _follow(self, source: Source) -> None:
        """As ``follow``; a source that is lost is waited for."""
        begin = time.monotonic()
        first: float | None = None
        lost = False
        while True:
            if self._stop.signal is not None:
                self._ended = "it was interrupted"
                return
            frame = source.read(_TURN_SECONDS)
            now = time.monotonic() - begin
            if frame is not None:
                first = frame.time if first is None else first
                # A file may be read faster or slower than it plays.
                now = frame.time - first if self._is_file else now
            elif self._is_file:
                now = 0.0
            if now >= self._seconds:
                self._ended = f"--minutes {self._seconds / 60:g} are over"
                return
            if frame is None:
                if source.state == "closed":
                    self._ended = "the video ended"
                    return
                if source.state == "lost" and not lost:
                    lost = True
                    self._tracker.reset()
                    self._say(
                        f"source lost: {source.last_loss}; it is opened again until it is back"
                    )
                continue
            if lost:
                lost = False
                self._say("source back")
            self._frames += 1
            if self._finder is not None:
                upright = self._finder.look(frame)
                if upright is None:  # pictures of people on their side are of no use
                    self._live.show("looking for faces to find the rotation")
                    continue
                frame, self._finder = upright, None
                self._say(f"rotation found: {source.mounting.rotate} degrees clockwise")
            tracks = self._tracker.update(frame.image, frame.time)
            for path in self._collector.add(frame, tracks):
                self._live.clear()
                write_line(printable(path))
            if self._collector.full:
                self._ended = f"--most {self._most} is reached"
                return
            left = max(self._seconds - now, 0.0)
            self._live.show(f"{left // 60:.0f}:{left % 60:02.0f} left | {self._counts()}")

    def _say(self, text: str) -> None:
        self._live.clear()
        write_message(printable(text))

    def _counts(self) -> str:
        return f"{self._collector.sure} sure, {self._collector.unsure} unsure"

    def summary(self, place: str) -> str:
        """The line at the end."""
        missed = self._collector.not_found_again
        again = f" ({missed} not found again in the picture)" if missed else ""
        return (
            f"{self._counts()}{again}, from {plural(self._frames, 'frame')}; stopped because"
            f" {self._ended}; the pictures of people are in {place}"
        )
