"""Every error this package raises on purpose.

    EdgeMTCNNError
    ├── OptionsError (ValueError)          an option is out of range or misspelt
    ├── ImageError (ValueError)            a file or an array cannot be used as an image
    ├── ModelFileError (OSError)           a model file is missing, truncated or altered
    ├── MissingRuntimeError (ImportError)  no ONNX Runtime is installed
    ├── ProviderError (RuntimeError)       the requested execution provider did not start
    ├── DetectionTimeout (TimeoutError)    a detection took longer than its timeout
    └── SourceError (OSError)              a camera, stream or video cannot be read

An image without a face is an empty result, never an error; an error never becomes "no face".
"""

__all__ = [
    "DetectionTimeout",
    "EdgeMTCNNError",
    "ImageError",
    "MissingRuntimeError",
    "ModelFileError",
    "OptionsError",
    "ProviderError",
    "SourceError",
]


class EdgeMTCNNError(Exception):
    """Base of all errors of this package."""


class OptionsError(EdgeMTCNNError, ValueError):
    """An option is out of range, of the wrong type or unknown; the message names the range."""


class ImageError(EdgeMTCNNError, ValueError):
    """A file or an array cannot be used as an image; the message says why and what to do."""


class ModelFileError(EdgeMTCNNError, OSError):
    """A model file or its manifest is missing, truncated or altered; the message says which."""


class MissingRuntimeError(EdgeMTCNNError, ImportError):
    """No ONNX Runtime is installed; the message says which of the three to install."""


class ProviderError(EdgeMTCNNError, RuntimeError):
    """The requested execution provider did not start; the message lists those available."""


class DetectionTimeout(EdgeMTCNNError, TimeoutError):  # noqa: N818 -- as TimeoutExpired is
    """A detection was stopped because it took longer than its ``timeout``."""


class SourceError(EdgeMTCNNError, OSError):
    """A video source cannot be opened or read."""
