"""The command ``edge-mtcnn``: one module of this folder per command, listed in ``COMMANDS``.

Each of these modules has ``add_parser(commands)``, which sets ``run`` as the default of its parser,
and ``run(args) -> int``, which returns the exit code. They import what they need inside ``run``, so
that ``--help`` answers at once. The other modules are shared by several commands.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from edge_mtcnn._version import __version__
from edge_mtcnn.cli.parser import Parser
from edge_mtcnn.cli.terminal import UsageError, write_message
from edge_mtcnn.errors import (
    MissingRuntimeError,
    ModelFileError,
    OptionsError,
    ProviderError,
    SourceError,
)

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "detect",
    "bulk",
    "bench",
    "collect",
    "calibrate",
    "evaluate",
    "tune",
    "warm-up",
    "doctor",
    "watch",
    "serve",
    "service",
    "config",
)
"""Names of the commands and of their modules, as ``--help`` lists them."""

_DESCRIPTION = "Find faces with MTCNN on ONNX Runtime."
_EPILOG = """\
example:
  edge-mtcnn detect holiday/ --recursive --json faces.jsonl --annotate marked/

exit codes: 0 done; 1 some inputs failed, all others are done; 2 usage error, or a broken
installation; 130 interrupted with Ctrl-C. 'edge-mtcnn COMMAND --help' explains a command.
"""

# Errors shown as one line, because the user can fix them.
_USER_ERRORS = (
    UsageError,
    OptionsError,
    ModelFileError,
    MissingRuntimeError,
    ProviderError,
    SourceError,
)


class _Terminated(KeyboardInterrupt):
    """Raised by SIGTERM, which ends a command as Ctrl-C does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code: 0 done, 1 some inputs failed, 2 usage error or broken installation,
        130 interrupted, 141 the reader of the output closed it, 143 terminated.
    """
    try:
        with _terminable(), _warnings_as_messages():
            code = _run(argv)
            sys.stdout.flush()  # so that a closed pipe is noticed here and not at exit
        return code
    except _Terminated:
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _abandon_output()
        return 141  # what a shell reports for a program that SIGPIPE (13) ended
    except _USER_ERRORS as error:
        write_message(f"error: {error}")
        return 2
    except OSError as error:  # such as a full disk; errors of single inputs are reported earlier
        write_message(f"error: {error}")
        return 1


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has already written the help, version or error
        return stop.code if isinstance(stop.code, int) else 2
    code: int = args.run(args)
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="edge-mtcnn",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-mtcnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"{__name__}.{name.replace('-', '_')}").add_parser(commands)

    def show_help(args: argparse.Namespace) -> int:
        (parser if args.command is None else commands.choices[args.command]).print_help()
        return 0

    parser.set_defaults(run=show_help, command=None)
    text = "show the help of a command, or this one"
    asking = commands.add_parser("help", help=text, description=text.capitalize() + ".")
    asking.add_argument("command", nargs="?", metavar="COMMAND", choices=(*COMMANDS, "help"))
    return parser


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which stops services, leave the same files as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return

    def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """Write warnings of the package as one line each, without the place in its source."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category is UserWarning:
            write_message(f"warning: {message}")
        else:
            shown(message, category, *place, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _abandon_output() -> None:
    """Discard the interpreter's last flush of a closed standard output."""
    with contextlib.suppress(OSError, ValueError):  # a replacement in tests has no file number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
