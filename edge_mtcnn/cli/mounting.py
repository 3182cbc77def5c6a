"""``--rotate`` and ``--flip``: how pictures are turned whose camera is not mounted upright."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_mtcnn.images.mounting import Mounting

__all__ = ["add_mounting_arguments", "mounting_from", "mounting_given"]


def add_mounting_arguments(parser: argparse.ArgumentParser, *, auto: str = "") -> None:
    """Add the two flags.

    Args:
        parser: of the command.
        auto: help of ``--rotate auto``; empty for a command that reads photos.
    """
    group = parser.add_argument_group("mounting")
    group.add_argument(
        "--rotate",
        metavar="DEGREES",
        help="turn pictures clockwise by 0, 90, 180 or 270 degrees before they are searched, for a"
        f" camera that is not mounted upright{auto} (default: 0)",
    )
    group.add_argument(
        "--flip",
        choices=("horizontal", "vertical"),
        help="mirror pictures after that: exchange left and right, or top and bottom (default:"
        " neither)",
    )


def mounting_given(args: argparse.Namespace) -> dict[str, Any]:
    """The values of the two flags that are given; numbers of ``--rotate`` as such."""
    given: dict[str, Any] = {}
    if args.rotate is not None:
        given["rotate"] = int(args.rotate) if args.rotate.isdecimal() else args.rotate
    if args.flip is not None:
        given["flip"] = args.flip
    return given


def mounting_from(args: argparse.Namespace) -> Mounting:
    """How the command line turns photos.

    Raises:
        OptionsError: ``--rotate`` is none of the four angles.
    """
    from edge_mtcnn.images.mounting import Mounting

    return Mounting(**mounting_given(args))
