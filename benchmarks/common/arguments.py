"""Command-line arguments that several scripts share: preset, changed options, threads, images."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_mtcnn import DetectorOptions, OptionsError, RuntimeOptions


def add_detector(parser: argparse.ArgumentParser, preset: str = "default") -> None:
    """Options that choose the detector."""
    parser.add_argument("--preset", default=preset, help=f"preset of the options ({preset})")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="change an option, as in min_face_size=40 or thresholds=[0.5,0.5,0.3]; repeatable",
    )
    add_threads(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The number of threads that share one image."""
    parser.add_argument("--threads", type=int, help="threads (all that this process may use)")


def add_images(parser: argparse.ArgumentParser) -> None:
    """The images to run on."""
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        help="image files or names of photos (the photos of the targets, else the samples)",
    )


def detector_options(preset: str, changes: list[str]) -> DetectorOptions:
    """The preset with the changes applied.

    Raises:
        OptionsError: there is no such preset or option, or a value is wrong.
    """
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise OptionsError(f"--set takes NAME=VALUE; got {change!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        values[name] = tuple(value) if isinstance(value, list) else value
    options = DetectorOptions.from_preset(preset)
    known = options.to_dict()
    for name in values:
        if name not in known:
            raise OptionsError(f"unknown option {name!r}; known: {', '.join(known)}")
    return replace(options, **values)


def runtime_options(threads: int | None) -> RuntimeOptions:
    """How to run, with a number of threads."""
    return RuntimeOptions(threads=threads)
