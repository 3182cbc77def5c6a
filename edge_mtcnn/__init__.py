"""MTCNN face detection for edge devices on NumPy, OpenCV and ONNX Runtime.

    from edge_mtcnn import FaceDetector

    faces = FaceDetector().detect("team.jpg")  # or an array, (H, W, 3) uint8 RGB

Importing changes nothing in the process: OpenCV and ONNX Runtime are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_mtcnn._version import __version__
from edge_mtcnn.errors import (
    DetectionTimeout,
    EdgeMTCNNError,
    ImageError,
    MissingRuntimeError,
    ModelFileError,
    OptionsError,
    ProviderError,
    SourceError,
)
from edge_mtcnn.options import DetectorOptions, RuntimeOptions
from edge_mtcnn.types import Face, Faces

if TYPE_CHECKING:
    from edge_mtcnn.compat import MTCNN
    from edge_mtcnn.detector import FaceDetector
    from edge_mtcnn.images.crops import align_faces, crop_faces
    from edge_mtcnn.images.decoding import decode_image, read_image
    from edge_mtcnn.images.drawing import draw_faces
    from edge_mtcnn.images.mounting import Mounting
    from edge_mtcnn.images.writing import write_image

__all__ = [
    "MTCNN",
    "DetectionTimeout",
    "DetectorOptions",
    "EdgeMTCNNError",
    "Face",
    "FaceDetector",
    "Faces",
    "ImageError",
    "MissingRuntimeError",
    "ModelFileError",
    "Mounting",
    "OptionsError",
    "ProviderError",
    "RuntimeOptions",
    "SourceError",
    "__version__",
    "align_faces",
    "crop_faces",
    "decode_image",
    "draw_faces",
    "read_image",
    "write_image",
]

_LAZY = {
    "MTCNN": "compat",
    "FaceDetector": "detector",
    "Mounting": "images.mounting",
    "align_faces": "images.crops",
    "crop_faces": "images.crops",
    "decode_image": "images.decoding",
    "draw_faces": "images.drawing",
    "read_image": "images.decoding",
    "write_image": "images.writing",
}
"""Names whose modules need OpenCV, by module."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
