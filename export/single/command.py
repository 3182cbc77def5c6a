"""``python -m export single``: writes one file."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.options import PRESETS, DetectorOptions
from export.manifest import LICENCE, MODEL_VERSION, SOURCE
from export.single.graph import OPSET

__all__ = ["ROOT", "SHIPPED", "content_of", "main", "write_shipped"]

ROOT = Path(__file__).resolve().parents[2]
SHIPPED: dict[str, tuple[str, tuple[int, int] | None]] = {
    "mtcnn-default.onnx": ("default", None),
    "mtcnn-kiosk-640x480.onnx": ("kiosk", (480, 640)),
}
"""Files of a release: preset, and height and width."""
LARGEST_SIDE = 8192
EXAMPLE = """\
One call takes one image, and there is no --batch: on a CPU several images in one call take as long
as one after the other, and each image has another number of windows.

example:
  python -m export single --size 640x480 --preset kiosk --max-faces 4 -o kiosk.onnx
"""


def content_of(
    options: DetectorOptions,
    size: tuple[int, int] | None,
    *,
    max_faces: int | None = None,
    form: str = "plain",
    models: Path = ROOT / "models",
) -> bytes:
    """One file.

    Args:
        options: what to look for.
        size: height and width of the images; ``None`` for any.
        max_faces: most faces, those with the highest scores; ``None`` for all.
        form: of the networks, ``plain`` or ``blocked``.
        models: folder of the networks and the score model.
    """
    from export.single.build import build

    settings = {**options.to_dict(), "size": size and list(size), "max_faces": max_faces}
    model = build(models, options, size, max_faces, form, _metadata(settings, form))
    return bytes(model.SerializeToString(deterministic=True))


def _metadata(settings: dict[str, Any], form: str) -> dict[str, str]:
    return {
        "description": "MTCNN face detection, the whole cascade: an image in, faces out",
        "version": MODEL_VERSION,
        "opset": str(OPSET),
        "form": form,
        "license": LICENCE,
        "source": SOURCE,
        "settings": json.dumps(settings),
        "input": "image: (height, width, 3) uint8 RGB, upright",
        "output": "best first; boxes: (n, 4) float32 x1, y1, x2, y2, source pixels; scores: (n,)"
        " float32, probability of a person's face; confidences: (n,) float32, O-Net's probability;"
        " landmarks: (n, 5, 2) float32 x, y of left eye, right eye, nose, left and right corner of"
        " the mouth as the viewer sees them; n may be 0",
    }


def write_shipped(folder: Path, models: Path = ROOT / "models") -> dict[str, dict[str, Any]]:
    """Write the files of a release, and describe each for the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, (preset, size) in SHIPPED.items():
        content = content_of(PRESETS[preset], size, models=models)
        (folder / name).write_bytes(content)
        entries[name] = {
            "preset": preset,
            "size": size and list(size),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "opset": OPSET,
        }
    return entries


def main(arguments: list[str]) -> int:
    """Write the file; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export single",
        description="Write the whole cascade as one ONNX file: an image in, faces out.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--size", type=_size, metavar="WIDTHxHEIGHT", help="images of this size only, faster"
    )
    sizes.add_argument("--dynamic", action="store_true", help="images of any size (the default)")
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="default", help="what to look for (default)"
    )
    parser.add_argument(
        "--min-face-size", type=int, metavar="N", help="smallest face, pixels (of the preset)"
    )
    parser.add_argument(
        "--confidence", type=float, metavar="X", help="lowest score, 0..1 (of the preset)"
    )
    parser.add_argument(
        "--max-faces", type=_count, metavar="K", help="most faces, the best ones (all)"
    )
    parser.add_argument(
        "--form",
        choices=["plain", "blocked"],
        default="plain",
        help="form of the networks: blocked is faster on x86-64, plain everywhere else (plain)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="to write")
    given = parser.parse_args(arguments)
    changes = {"min_face_size": given.min_face_size, "confidence": given.confidence}
    try:
        options = replace(
            PRESETS[given.preset], **{k: v for k, v in changes.items() if v is not None}
        )
    except OptionsError as error:
        parser.error(str(error))
    try:
        content = content_of(options, given.size, max_faces=given.max_faces, form=given.form)
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        print("error: onnx is not installed; 'make test' installs it", file=sys.stderr)
        return 2
    try:
        given.output.write_bytes(content)
    except OSError as error:
        print(f"error: {given.output} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{given.output}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    return 0


def _size(text: str) -> tuple[int, int]:
    """Height and width of ``WIDTHxHEIGHT``."""
    width, _, height = text.lower().partition("x")
    try:
        sides = int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be WIDTHxHEIGHT, such as 640x480; got {text!r}"
        ) from None
    if not all(12 <= side <= LARGEST_SIDE for side in sides):
        raise argparse.ArgumentTypeError(f"each side must be 12..{LARGEST_SIDE}; got {text!r}")
    return sides


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on; got {text!r}")
    return count
