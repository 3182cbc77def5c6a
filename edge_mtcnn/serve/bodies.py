"""The images in the body of a request: the body itself, the files of a form, or base64 in JSON.

The body has been received within its limits of bytes and seconds. Nothing is written to disk, and
every length is checked before something as large is made of it. Callers take the images out of the
list one after the other, so that each is freed when it has been searched.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from edge_mtcnn.serve.query import unknown

__all__ = ["Upload", "image_bytes", "images_in"]

_ONE, _SEVERAL = ("image",), ("images", "images[]")
_EMPTY_PARTS = 8
"""File fields that a form may leave empty; browsers send them too."""
_DATA_URL = re.compile(r"data:([^,]{0,200}),", re.IGNORECASE)


@dataclass
class Upload:
    """The images of one request.

    Attributes:
        images: in order; the bytes of a file, or the text of a JSON string, see ``image_bytes``.
        several: whether the client expects a list of results.
    """

    images: list[bytes | str] = field(default_factory=list)
    several: bool = False


def images_in(body: bytes, content_type: str, most: int) -> Upload:
    """Find the images in a body.

    Args:
        body: as received.
        content_type: the header; anything but a form and JSON means that the body is the image.
        most: limit of the images.

    Raises:
        HTTPException: 400 if a form or JSON is malformed or has no image, 413 if it has too many,
            415 if it is another kind of ``multipart``.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        upload = _form(body, content_type, most)
    elif kind.startswith("multipart/"):
        raise HTTPException(415, f"{kind[:40]!r} is not supported; send multipart/form-data")
    elif kind == "application/json" or kind.endswith("+json"):
        upload = _json(body)
    else:
        return Upload([body])
    if not upload.images:
        raise HTTPException(400, "there is no image in the request")
    if len(upload.images) > most:
        raise _too_many(most)
    return upload


def image_bytes(image: bytes | str) -> bytes:
    """The bytes of an image of an ``Upload``.

    Raises:
        HTTPException: 400 if the text is not base64.
    """
    if isinstance(image, bytes):
        return image
    text = image
    if image[:5].lower() == "data:":
        head = _DATA_URL.match(image)
        if head is None or not head[1].lower().endswith(";base64"):
            raise HTTPException(
                400, "the data: URL must be like data:image/jpeg;base64,... with base64 data"
            )
        text = image[head.end() :]
    elif re.match(r"(https?|file|ftp)://", image, re.IGNORECASE):
        raise HTTPException(
            400, "the service fetches no addresses: send the bytes of the image as base64"
        )
    text = re.sub(r"\s+", "", text)  # many programs break base64 into lines
    text = text.replace("-", "+").replace("_", "/")  # the form that is used in addresses
    wrong = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
    if wrong is not None:
        raise HTTPException(
            400, f"the image is not base64: it has the character {wrong[0]!r} at {wrong.start()}"
        )
    text = text.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise HTTPException(
            400, f"the image is not base64: it is cut short after {len(text)} characters"
        ) from None


def _too_many(most: int) -> HTTPException:
    return HTTPException(413, f"more than {most} images in one request, the limit of this service")


# ---- JSON


def _json(body: bytes) -> Upload:
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise HTTPException(
            400, "the JSON must be ASCII: an image is sent as the text of its base64"
        ) from None
    # A hostile body could become a hundred times as large: `[[],[],...` makes millions of objects.
    if sum(map(text.count, "[{,")) > 10_000:
        raise HTTPException(400, "the JSON has too many values")
    try:
        # Numbers have no meaning here, and long ones take long to read.
        content = json.loads(
            text, object_pairs_hook=_fields, parse_int=_no_number, parse_float=_no_number
        )
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"not valid JSON: {error}") from None
    except RecursionError:
        raise HTTPException(400, "the JSON is nested too deeply") from None
    names = dict.fromkeys(("image", "images"))
    for name in content if isinstance(content, dict) else ():
        if name not in names:
            raise _with_advice(unknown("entry", name, names, "the JSON"))
    if not isinstance(content, dict) or len(content) != 1:
        raise HTTPException(
            400, 'the JSON must be {"image": "<base64 or data: URL>"} or {"images": [...]}'
        )
    if "image" in content:
        image = content["image"]
        if not isinstance(image, str):
            raise HTTPException(400, "image must be a string of base64 or a data: URL")
        return Upload([image])
    images = content["images"]
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise HTTPException(400, "images must be a list of strings of base64 or data: URLs")
    return Upload(images, several=True)


def _with_advice(refusal: HTTPException) -> HTTPException:
    refusal.detail += "; options belong into the query: /detect?confidence=0.5"
    return refusal


def _no_number(_text: str) -> None:
    return None


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise HTTPException(400, "the JSON has an entry twice")
    return fields


# ---- forms


class _Form:
    """Collects the parts of a form; its methods are the parser's callbacks."""

    def __init__(self, most: int) -> None:
        self.upload = Upload()
        self.ended = False
        self._most = most
        self._parts = 0
        self._header = [b"", b""]
        self._field: dict[bytes, bytes] = {}
        self._data: list[memoryview] = []

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._most + _EMPTY_PARTS:
            raise _too_many(self._most)
        self._header, self._field, self._data = [b"", b""], {}, []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._field = parse_options_header(self._header[1])[1]
        self._header = [b"", b""]

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        name = self._field.get(b"name", b"").decode("utf-8", "replace")
        data = b"".join(self._data)
        self._data = []
        if b"filename" in self._field:
            if not data and not self._field[b"filename"]:
                return  # what a browser sends for a file field that was left empty
        elif name not in _ONE + _SEVERAL:
            names = dict.fromkeys(_ONE + _SEVERAL[:1])
            raise _with_advice(unknown("form field", name, names, "besides files, a form"))
        images = self.upload.images
        images.append(data)
        self.upload.several |= name in _SEVERAL or len(images) > 1

    def on_end(self) -> None:
        self.ended = True


def _form(body: bytes, content_type: str, most: int) -> Upload:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise HTTPException(400, "the Content-Type of a form must have a boundary")
    form = _Form(most)
    names = [name for name in dir(form) if name.startswith("on_")]
    callbacks: Any = {name: getattr(form, name) for name in names}
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, f"not a valid form: {error}") from None
    if not form.ended:
        raise HTTPException(400, "the form is cut short: its last boundary is missing")
    return form.upload
