"""``edge-mtcnn serve``: an HTTP service and web page for a detector and a watched camera."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import platform
import sys
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.arguments import (
    DEFAULT_PRESET,
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    calibration_from,
    open_detector,
    options_from,
    section_from,
    warn_of_mismatch,
)
from edge_mtcnn.cli.terminal import UsageError, write_message
from edge_mtcnn.cli.watch_arguments import (
    WATCH_PRESET,
    add_presence_arguments,
    add_source_arguments,
    quieten_opencv,
    watch_options_from,
)

if TYPE_CHECKING:
    import socket

    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.serve import ServeOptions

_EXAMPLE = """\
edge-mtcnn serve 0
edge-mtcnn serve rtsp://camera/stream --stream
edge-mtcnn serve lobby.mp4 --loop --stream
curl --data-binary @team.jpg 'http://127.0.0.1:8080/detect?min_face_size=40&confidence=0.9'
curl --no-buffer http://127.0.0.1:8080/events"""

_NOTES = """\
Without SOURCE the service only searches images sent to /detect. The page at / shows who is present;
/docs documents all routes and tries them out. Options of detection apply to /detect and to the
camera, for which preset kiosk is the default; --angles only to /detect. The service listens on this
machine only; --host makes it available to others, who then need the token. Pictures of the camera
are sent only with --stream. With --calibration, the page can mark a find as not a person."""

_PACKAGES = ("starlette", "uvicorn", "prometheus_client", "python_multipart")
_SWITCH_SECONDS = 0.0005
"""Longest time that a thread holds the interpreter's lock while others wait for it. Answering a
request needs the lock again after each system call, so Python's default of 5 ms would add up."""
_LARGE_BYTES = 4 * 2**20
"""Size from which on the memory of images and bodies returns to the system when it is freed. By
default glibc keeps such memory, 50 MB under load. Frames of a camera are smaller."""
_KEPT_BYTES = 32 * 2**20
"""Memory that glibc may keep at the end of its heap."""
_SOURCE_VARIABLE = "EDGE_MTCNN_SOURCE"
_TOKEN_VARIABLE = "EDGE_MTCNN_TOKEN"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``serve``."""
    parser = add_command(
        commands,
        "serve",
        "run an HTTP service and web page for detection and camera events",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=os.environ.get(_SOURCE_VARIABLE) or None,
        metavar="SOURCE",
        help="camera, file, address or pipeline, as for watch; an address with a password is better"
        f" given as {_SOURCE_VARIABLE} in the environment, which other users cannot read",
    )
    parser.add_argument(
        "--stream", action="store_true", help="serve the picture of the camera at /stream"
    )
    parser.add_argument(
        "--no-docs",
        action="store_true",
        help="do not serve the interactive documentation at /docs",
    )
    group = parser.add_argument_group("access")
    group.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address to listen at; other than loopback it needs a token (default: 127.0.0.1)",
    )
    group.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="port to listen at; 0 for any free port (default: 8080)",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file of the token that clients must send; or set it in the environment as"
        f" {_TOKEN_VARIABLE}",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name that clients may use for the service, such as kiosk.local; repeatable",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="origin of a web page that may use the service, http://HOST:PORT; repeatable",
    )
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-body",
        type=float,
        metavar="MB",
        help="largest request body that is accepted, with one image or several (default: 16)",
    )
    group.add_argument(
        "--max-pixels", type=int, metavar="N", help="most pixels of an image (default: 25000000)"
    )
    group.add_argument(
        "--detect-seconds",
        type=float,
        metavar="SECONDS",
        help="time limit for decoding and searching the images of one request; 503 after it"
        " (default: 10)",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of requests that are searched at the same time (default: 1)",
    )
    add_source_arguments(parser)
    add_presence_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(
        parser,
        presets={"/detect": DEFAULT_PRESET, "the camera": WATCH_PRESET},
        confidence="lowest score of a face to report, for the camera the mean of a person's recent"
        " detections (default: 0.5 for /detect, 0.7 for the camera)",
        angles=True,
    )
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"serve needs {', '.join(missing)}: run pip install 'edge-mtcnn[serve]'")
    quieten_opencv()
    from edge_mtcnn.calibration import flags_for
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.serve import Service, ServiceServer, address_of

    calibration = calibration_from(args)
    watch_options, watch_runtime, watch = watch_options_from(args, calibration)
    watch_options = replace(watch_options, angles=())  # for photos only
    options = _serve_options(args)
    _log_to_stderr()
    sys.setswitchinterval(_SWITCH_SECONDS)
    _return_large_memory()
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options))
        detector = stack.enter_context(open_detector(*options_from(args), calibration))
        watch_detector = None
        if args.source is None:
            warn_of_mismatch(calibration, detector, args)
        else:
            watch_detector = stack.enter_context(
                FaceDetector(
                    watch_options,
                    watch_runtime,
                    known_false=calibration.known_false if calibration else (),
                )
            )
            # One warning: a calibration for the camera does not suit /detect with another preset.
            if not warn_of_mismatch(calibration, watch_detector, args, place="for the camera"):
                flags = " ".join(flags_for(watch_options.to_dict()) or ())
                same = f"to use the detector of the camera there too, add: {flags}"
                warn_of_mismatch(
                    calibration, detector, args, place="for /detect", advice=flags and same
                )
        service = Service(
            detector,
            options,
            source=args.source,
            watch_detector=watch_detector,
            watch=watch,
            calibration=args.calibration,
        )
        write_message(f"serving at {address_of(listener)} until Ctrl-C")
        ServiceServer(service).run(sockets=[listener])
    return 0


def _serve_options(args: argparse.Namespace) -> ServeOptions:
    from edge_mtcnn.serve import ServeOptions

    given: dict[str, Any] = {
        "host": args.host,
        "port": args.port,
        "token": _token(args.token_file),
        "hosts": tuple(args.allow_host) or None,
        "origins": tuple(args.allow_origin) or None,
        "stream": args.stream or None,
        "docs": False if args.no_docs else None,
        "max_body_bytes": None if args.max_body is None else int(args.max_body * 1e6),
        "max_pixels": args.max_pixels,
        "detect_seconds": args.detect_seconds,
        "workers": args.workers,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return section_from(args, "service", ServeOptions(**given), given)


def _token(file: str | None) -> str | None:
    """The token, not from the command line, because every user of a machine can read that."""
    if file is None:
        return os.environ.get(_TOKEN_VARIABLE) or None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"cannot read --token-file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {file} is not a text file") from None


def _listen(options: ServeOptions) -> socket.socket:
    from edge_mtcnn.serve import listen

    try:
        return listen(options.host, options.port)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {options.host} port {options.port}: {error.strerror or error}"
        ) from None


def _return_large_memory() -> None:
    """Make glibc return large pieces of memory to the system; other C libraries are left alone."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    libc.mallopt(mmap_threshold, _LARGE_BYTES)
    libc.mallopt(trim_threshold, _KEPT_BYTES)


def _log_to_stderr() -> None:
    """Log warnings and errors, one line each, but not the mistakes of clients.

    The journal of systemd adds the time.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s"
    )
    for name in ("uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
