"""``edge-mtcnn serve``: a local service and page over a detector and, with a source, a watcher."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import platform
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edge_mtcnn.cli.arguments import (
    add_calibration_argument,
    add_command,
    add_config_argument,
    add_detector_arguments,
    add_runtime_arguments,
    open_detector,
    options_from,
    warn_of_differences,
)
from edge_mtcnn.cli.terminal import UsageError, complain
from edge_mtcnn.cli.watch_arguments import add_presence_arguments, quieten_opencv, watching_from

if TYPE_CHECKING:
    import socket

    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.serve import ServeOptions

_EXAMPLE = """\
edge-mtcnn serve 0
edge-mtcnn serve rtsp://camera/stream --stream
curl --data-binary @team.jpg http://127.0.0.1:8080/detect
curl --no-buffer http://127.0.0.1:8080/events"""

_NOTES = """\
Without SOURCE it only searches images that are sent to /detect. The page at / shows who is here;
/openapi.json describes the rest. --confidence or --calibration holds for /detect, and for persons
before the camera as in watch, preset kiosk unless told. It listens on this machine only; --host
opens it to others, who then need the token. No picture leaves the service unless --stream asks for
it."""

_PACKAGES = ("starlette", "uvicorn", "prometheus_client")
_SWITCH_SECONDS = 0.0005
"""How long a thread at work may keep the others from theirs. Answering a request takes the
interpreter's lock again after each call of the system, and Python's own 5 ms would add up."""
_LARGE_BYTES = 4 * 2**20
"""Images and bodies of this size go back to the system when they are freed. glibc would learn from
the first of them to keep such memory, 50 MB under load; frames of a camera stay below."""
_KEPT_BYTES = 32 * 2**20
_SOURCE_VARIABLE = "EDGE_MTCNN_SOURCE"
_TOKEN_VARIABLE = "EDGE_MTCNN_TOKEN"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``serve``."""
    parser = add_command(
        commands,
        "serve",
        "offer a local service and page: faces in images, who is before the camera",
        example=_EXAMPLE,
        notes=_NOTES,
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=os.environ.get(_SOURCE_VARIABLE) or None,
        metavar="SOURCE",
        help="camera, file, address or pipeline, as for watch; or"
        f" {_SOURCE_VARIABLE} in the environment, where no other user reads a password",
    )
    parser.add_argument(
        "--stream", action="store_true", help="offer the camera's picture at /stream"
    )
    group = parser.add_argument_group("access")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at; any but this machine's own needs a token (default: 127.0.0.1)",
    )
    group.add_argument(
        "--port", type=int, default=8080, help="0 for any that is free (default: 8080)"
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with the token that clients must send; or {_TOKEN_VARIABLE} in the environment",
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name under which clients may call the service, such as kiosk.local; may be repeated",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="origin of a web page that may use the service, http://HOST:PORT; may be repeated",
    )
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-body",
        type=float,
        metavar="MB",
        help="largest image file that is taken (default: 16)",
    )
    group.add_argument(
        "--max-pixels", type=int, metavar="N", help="most pixels of an image (default: 25000000)"
    )
    group.add_argument(
        "--detect-seconds",
        type=float,
        metavar="SECONDS",
        help="longest time to decode and search one image; 503 after it (default: 10)",
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="images searched at the same time (default: 1)"
    )
    add_presence_arguments(parser)
    add_config_argument(parser)
    add_detector_arguments(parser)
    add_calibration_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serve needs {', '.join(missing)}: install them with pip install 'edge-mtcnn[serve]'"
        )
    quieten_opencv()
    from edge_mtcnn.calibration import load_calibration
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.serve import Service, ServiceServer, address_of
    from edge_mtcnn.video import WatchOptions

    calibration = None if args.calibration is None else load_calibration(args.calibration)
    watch_options, watch_runtime, presence = watching_from(args, calibration)
    options = _serve_options(args)
    _log_to_stderr()
    sys.setswitchinterval(_SWITCH_SECONDS)
    _return_large_memory()
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options))
        detector = stack.enter_context(open_detector(*options_from(args), args.calibration))
        watch_detector = None
        if args.source is not None:
            watch_detector = stack.enter_context(FaceDetector(watch_options, watch_runtime))
            if calibration is not None:
                warn_of_differences(calibration, watch_detector, "before the camera")
        service = Service(
            detector,
            options,
            source=args.source,
            watch_detector=watch_detector,
            watch=WatchOptions(presence=presence),
        )
        complain(f"serving at {address_of(listener)} until Ctrl-C")
        ServiceServer(service).run(sockets=[listener])
    return 0


def _serve_options(args: argparse.Namespace) -> ServeOptions:
    from edge_mtcnn.serve import ServeOptions

    given = {
        name: value
        for name in ("max_pixels", "detect_seconds", "workers")
        if (value := getattr(args, name)) is not None
    }
    if args.max_body is not None:
        given["max_body_bytes"] = int(args.max_body * 1e6)
    return ServeOptions(
        host=args.host,
        port=args.port,
        token=_token(args.token_file),
        hosts=tuple(args.allow_host),
        origins=tuple(args.allow_origin),
        stream=args.stream,
        **given,
    )


def _token(file: str | None) -> str | None:
    """From a file or the environment: a command line can be read by every user of a machine."""
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
    """Have glibc map large pieces of memory, not keep them; other C libraries do as they do."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    libc.mallopt(mmap_threshold, _LARGE_BYTES)
    libc.mallopt(trim_threshold, _KEPT_BYTES)


def _log_to_stderr() -> None:
    """Warnings and errors, a line each; the journal adds the time. What clients do is no news."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
