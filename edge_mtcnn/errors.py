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

Messages repeat what was received with ``shown`` or ``brief``, which cut what is long.
"""

from __future__ import annotations

import reprlib

__all__ = [
    "DetectionTimeout",
    "EdgeMTCNNError",
    "ImageError",
    "MissingRuntimeError",
    "ModelFileError",
    "OptionsError",
    "ProviderError",
    "SourceError",
    "brief",
    "shown",
]


_LONGEST_MESSAGE = 3000
"""Most characters of a message, whatever was passed by mistake."""


class EdgeMTCNNError(Exception):
    """Base of all errors of this package."""

    def __str__(self) -> str:
        return brief(super().__str__(), _LONGEST_MESSAGE)


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


_LONGEST_TEXT = 1000
"""Most characters of a text, such as a path, in a message."""


class _Short(reprlib.Repr):
    """``repr`` of bounded length and cost: a file's bytes or a large list is never written out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxlong = 120
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 10

    def repr_str(self, value: str | bytes, _level: int) -> str:
        """The start of a text, and its length."""
        if len(value) <= self.maxother:
            return repr(value)
        unit = "characters" if isinstance(value, str) else "bytes"
        return f"{value[: self.maxother // 4]!r}... ({len(value):,} {unit})"

    repr_bytes = repr_bytearray = repr_str

    def repr_instance(self, value: object, level: int) -> str:
        """On one line, as an array has many."""
        return " ".join(super().repr_instance(value, level).split())

    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write out integers of thousands of digits."""
        if value.bit_length() > 4 * self.maxlong:
            return f"an integer of {value.bit_length():,} bits"
        return super().repr_int(value, level)


_short = _Short()


def shown(value: object) -> str:
    """The ``repr`` of a value for a message: whole if it is short, else cut."""
    return brief(_short.repr(value), 400)


def brief(text: str, longest: int = _LONGEST_TEXT) -> str:
    """A text for a message, such as a path: whole if it is short, else without its middle."""
    part = longest // 2 - 2
    return text if len(text) <= longest else f"{text[:part]}...{text[-part:]}"
