"""``edge-mtcnn watch``: report who is in front of a camera or in a video, and since when."""

from __future__ import annotations

import argparse
import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    calibration_from,
    warn_of_mismatch,
)
from edge_mtcnn.cli.terminal import UsageError, plural, printable, write_message
from edge_mtcnn.cli.watch_arguments import (
    WATCH_PRESET,
    add_presence_arguments,
    add_source_arguments,
    quieten_opencv,
    watch_options_from,
)
from edge_mtcnn.cli.watch_output import EventLines, LiveLine, Recording, Window, live_text

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.video import EventReader, FaceWatcher

_EXAMPLE = """\
edge-mtcnn watch 0
edge-mtcnn watch rtsp://user:password@camera/stream --json events.jsonl
edge-mtcnn watch 0 --frame-size 1280x720 --fps 15
edge-mtcnn watch lobby.mp4 --fast --annotate marked.mp4
edge-mtcnn watch lobby.mp4 --loop
edge-mtcnn watch 0 --region 0.25,0,0.75,1 --min-height 120 --json - | jq .event"""

_NOTES = """\
SOURCE is the number of a camera, a /dev path, a video file, an rtsp:// or http:// address, a
GStreamer pipeline that ends in appsink, or picamera2. Only a file ends, unless --loop is given. A
camera or stream that is lost, or ends, is opened again until it is back. 'edge-mtcnn doctor' lists
the cameras. The preset is kiosk unless --preset or --config names another; the threshold of
--calibration holds if 'calibrate' ran with the same preset. With --json FILE events are appended to
FILE as they happen. The time of an event is the time of day, or for a file its place in the video;
in JSON it is position_seconds. No picture is saved without --annotate, which writes H.264 if OpenCV
or a program ffmpeg can. Ctrl-C stops watching: the last events are still reported, and the video of
--annotate is complete."""

_POLL_SECONDS = 0.1


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``watch``."""
    parser = add_command(
        commands,
        "watch",
        "report who is in front of a camera or in a video, and since when",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument("source", metavar="SOURCE", help="camera, file, address or pipeline")
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="write each event as one line of JSON, to standard output or appended to FILE",
    )
    parser.add_argument(
        "--annotate",
        metavar="FILE.mp4",
        help="write the video with boxes and persons drawn in: .mp4, .webm or .avi",
    )
    parser.add_argument(
        "--show", action="store_true", help="show the video in a window; q closes it"
    )
    parser.add_argument(
        "--fast", action="store_true", help="process every frame of a file, as fast as possible"
    )
    parser.add_argument(
        "--budget-ms", type=float, metavar="MS", help="highest average time per frame, milliseconds"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after this time, seconds")
    add_source_arguments(parser)
    add_presence_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(
        parser,
        presets={"": WATCH_PRESET},
        confidence="lowest mean score of a person's recent detections (default: 0.7)",
    )
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until the end of the video, a failure, or Ctrl-C; 1 when no frame came, or no more."""
    quieten_opencv()
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.video import FaceWatcher
    from edge_mtcnn.video.source import devices
    from edge_mtcnn.video.source.source import LOGGER

    logging.getLogger(LOGGER).setLevel(logging.ERROR)  # a lost source is shown as an event
    logging.getLogger(devices.__name__).setLevel(logging.WARNING)

    calibration = calibration_from(args)
    detector_options, runtime_options, options = watch_options_from(args, calibration)
    if args.seconds is not None and not args.seconds > 0:
        raise UsageError(f"--seconds must be above 0; got {args.seconds:g}")
    with ExitStack() as stack:
        window = stack.enter_context(Window(args.source)) if args.show else None
        recording = None
        if args.annotate:
            recording = stack.enter_context(Recording(args.annotate, args.source))
            if recording.note is not None:
                write_message(f"note: {recording.note}")
        lines = stack.enter_context(EventLines(args.json, args.source))
        live = stack.enter_context(LiveLine())
        detector = stack.enter_context(
            FaceDetector(
                detector_options,
                runtime_options,
                known_false=calibration.known_false if calibration else (),
            )
        )
        warn_of_mismatch(calibration, detector, args, place="for the camera")
        watcher = FaceWatcher(
            args.source,
            detector,
            options,
            on_frame=None if recording is None else recording.add,
            keep_frame=window is not None,
        )
        summary = _Summary(watcher)
        reader = watcher.events(size=100_000)
        watcher.start()
        try:
            _follow(args, watcher, reader, lines, live, window, recording)
        finally:
            live.clear()
            reason = watcher.snapshot.source_error
            watcher.close()
            lines.write_all(iter(lambda: reader.get(0), None))
            write_message(summary.text())
    if watcher.failure is not None:
        write_message(f"error: {printable(str(watcher.failure))}")
    elif watcher.callback_errors:
        write_message("error: frames could not be written; see above")
    elif not watcher.snapshot.frames:
        write_message(f"error: {printable(reason or f'no frame came from {watcher.name}')}")
        if args.source.isdigit():
            write_message("to try it without a camera: edge-mtcnn watch VIDEO --loop")
    else:
        return 0
    return 1


def _follow(
    args: argparse.Namespace,
    watcher: FaceWatcher,
    reader: EventReader,
    lines: EventLines,
    live: LiveLine,
    window: Window | None,
    recording: Recording | None,
) -> None:
    """Write events until the watcher or its time ends."""
    until = None if args.seconds is None else time.monotonic() + args.seconds
    while not reader.closed and (until is None or time.monotonic() < until):
        event = reader.get(0.01 if window is not None else _POLL_SECONDS)
        if event is not None:
            live.clear()
            lines.write_all([event])
        live.show(live_text(watcher.snapshot))
        if window is not None and not window.show(watcher.frame()):
            return
        if recording is not None and recording.failure is not None:
            raise OSError(recording.failure)


class _Summary:
    """The last line: how many frames were watched."""

    def __init__(self, watcher: FaceWatcher) -> None:
        self._watcher = watcher
        self._started = time.monotonic()

    def text(self) -> str:
        last = self._watcher.snapshot
        seconds = max(time.monotonic() - self._started, 1e-9)
        untracked = f", {plural(last.untracked, 'face')} not followed" if last.untracked else ""
        return (
            f"{plural(last.frames, 'frame')} in {seconds:.1f} s ({last.frames / seconds:.1f} per"
            f" second), {last.dropped} dropped, {plural(last.reconnects, 'reconnect')}{untracked}"
        )
