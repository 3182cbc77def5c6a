"""Encoded images as people pass them: a path, the bytes of a file, or an open binary file.

Reads the whole file and says what else was meant where there is none. Whether the bytes are an
image is decided by ``headers``. Imports ``errors`` only.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import stat
from pathlib import Path
from typing import Any

from edge_mtcnn.errors import ImageError, brief, shown

__all__ = ["is_source", "read_source"]

_UNNAMED = "the image"
"""Name of an image in messages, where it comes from no file with a name."""
_LONGEST_PATH = 4096
"""Bytes longer than this are not looked up as a path that was encoded by mistake."""


def is_source(value: Any) -> bool:
    """Whether a value is an encoded image, and not pixels: a path, bytes or a file."""
    if isinstance(value, memoryview):
        return value.ndim <= 1  # with more dimensions it holds pixels
    if isinstance(value, (str, os.PathLike, bytes, bytearray)):
        return True
    return callable(getattr(value, "read", None)) and not isinstance(value, type)


def read_source(source: Any) -> tuple[str, bytes]:
    """Read an encoded image whole.

    Args:
        source: a path (``str`` or ``PathLike``), bytes (``bytes``, ``bytearray`` or a
            one-dimensional ``memoryview``), or a binary file, which is read from where it stands.

    Returns:
        Its name for messages, and its bytes.

    Raises:
        ImageError: it is none of these, or cannot be read. The message says what to pass instead.
    """
    if not is_source(source):
        hint = ": it is an array already, so pass it to detect" if hasattr(source, "shape") else ""
        raise ImageError(
            "an image is read from a path, from the bytes of a file, or from a binary file; got"
            f" {type(source).__name__}{hint}"
        )
    if isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(source)
        return brief(name), _read_path(name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _UNNAMED, _checked_bytes(bytes(source))
    given = getattr(source, "name", None)  # a number, for a file made from a descriptor
    name = brief(given) if isinstance(given, str) and given else "the file"
    return name, _read_file(source, name)


def _read_path(name: str) -> bytes:
    path = Path(name)
    short = brief(name)
    if not name:
        raise ImageError("the path is empty")
    try:
        # A pipe or a device could block or never end.
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{short}: {_other_text(name) or 'no such file'}") from None
    except OSError as error:  # Windows says "invalid argument" to an address
        reason = f"cannot be read: {error.strerror or error}"
        raise ImageError(f"{short}: {_other_text(name) or reason}") from None
    except ValueError as error:  # a null character in the path
        raise ImageError(f"{shown(name)}: {error}") from None
    if stat.S_ISDIR(mode):
        raise ImageError(f"{short}: a folder; give the path of one image in it")
    raise ImageError(f"{short}: not a regular file")


def _other_text(text: str) -> str | None:
    """What a text is that is no path of a file, and what to do with it."""
    if text.startswith("data:"):
        return "a data: URL; pass base64.b64decode(text.partition(',')[2])"
    if re.match(r"[A-Za-z0-9+/\s]{300}", text):
        return "not a path; if it is base64, pass base64.b64decode(text)"
    # Path("http://a") is "http:/a". One letter is a drive of Windows.
    address = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)
    if address is None:
        tilde = text.startswith("~")
        return "no such file; ~ stands for a folder only after os.path.expanduser" * tilde or None
    scheme = address[1].lower()
    if scheme == "file":
        return "a URL of a file; pass its path alone"
    if scheme in {"rtsp", "rtsps", "rtmp", "rtp", "udp", "srt"}:
        return "a URL of a stream, not of an image; use edge-mtcnn watch, or FaceWatcher in Python"
    return (
        "a URL, and edge-mtcnn downloads nothing; save the image to a file first, or in Python pass"
        " its bytes, such as urllib.request.urlopen(url).read()"
    )


def _checked_bytes(data: bytes) -> bytes:
    if not data:
        raise ImageError(f"{_UNNAMED}: it has no bytes")
    if len(data) <= _LONGEST_PATH and b"\0" not in data and os.path.exists(data):  # noqa: PTH110
        raise ImageError(
            f"{shown(data)}: bytes are taken as the content of a file; pass a path as str, such as"
            " os.fsdecode(path)"
        )
    return data


def _read_file(file: Any, name: str) -> bytes:
    if isinstance(file, io.TextIOBase):
        raise ImageError(f"{name}: a file in text mode; open it with open(path, 'rb')")
    try:
        data = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{name}: cannot be read: {brief(str(error))}") from None
    except ValueError as error:
        reason = "the file is closed" if getattr(file, "closed", False) else brief(str(error))
        raise ImageError(f"{name}: cannot be read: {reason}") from None
    if isinstance(data, (bytes, bytearray, memoryview)):
        if not data:
            raise ImageError(
                f"{name}: nothing to read; it is empty, or was read to its end before: go back with"
                " file.seek(0)"
            )
        return bytes(data)
    if inspect.iscoroutine(data):
        data.close()
        raise ImageError(f"{name}: an asynchronous file; pass await file.read()")
    if isinstance(data, tuple):
        raise ImageError(
            f"{type(file).__name__} reads (ok, frame); pass the frame: ok, frame = capture.read(),"
            " then detect(frame, color='bgr')"
        )
    raise ImageError(
        f"{name}: {type(file).__name__}.read() must give bytes; got {type(data).__name__}"
        + (": open it with open(path, 'rb')" if isinstance(data, str) else "")
    )
