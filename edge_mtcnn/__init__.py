"""MTCNN face detection for edge devices on NumPy, OpenCV and ONNX Runtime.

    from edge_mtcnn import FaceDetector

    faces = FaceDetector().detect(image)  # (H, W, 3) uint8 RGB

Importing changes nothing in the process: OpenCV and ONNX Runtime are loaded at first use.
"""

from edge_mtcnn.errors import (
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

