"""The size of the frames in an AVIF file, read from the AV1 streams themselves.

The decoder allocates what a stream states, and scales it to the size in the file's header. So a
small header may lead a hostile file past every limit of pixels. Imports the standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["largest_frame"]

_MOST_UNITS = 10_000
"""Most units (OBUs) and items that are looked at. Photos have about five units for each tile."""
_HEADER_BYTES = 512  # a sequence header is never longer
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}


def largest_frame(data: bytes) -> int:
    """The largest frame that decoding the file may allocate, pixels.

    Raises:
        ValueError, struct.error, IndexError: the file is damaged or has absurdly many parts.
    """
    left = _MOST_UNITS
    largest = 0
    for stream in _streams(data, 0, len(data)):
        left -= 1
        at = 0
        while at < len(stream) and not stream[at] & 0x80:
            left -= 1
            if left < 0:
                raise ValueError("too many parts")
            head = stream[at]
            at += 2 if head & 4 else 1
            size = len(stream) - at
            if head & 2:
                size, at = _leb128(stream, at)
            if head >> 3 & 15 == 1:
                largest = max(largest, _frame_size(bytes(stream[at : at + _HEADER_BYTES])))
            at += size
    return largest


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        size = size or end - at
        if size < head:
            return
        yield kind, at + head, min(at + size, end)
        at += size


def _streams(data: bytes, at: int, end: int) -> Iterator[memoryview]:
    """What may be an AV1 stream: each item, and the first sample of each track."""
    sample = chunk = None
    for kind, start, stop in _boxes(data, at, end):
        if kind == b"meta":
            yield from _items(data, start + 4, stop)
        elif kind in _CONTAINERS:
            yield from _streams(data, start, stop)
        elif kind == b"stsz":
            every = int.from_bytes(data[start + 4 : start + 8], "big")
            sample = every or int.from_bytes(data[start + 12 : start + 16], "big")
        elif kind in {b"stco", b"co64"}:
            chunk = int.from_bytes(data[start + 8 : start + (12 if kind == b"stco" else 16)], "big")
    if sample is not None and chunk is not None:
        yield memoryview(data)[chunk : chunk + sample]


def _items(data: bytes, start: int, end: int) -> Iterator[memoryview]:
    """The bytes of each item of a ``meta`` box."""
    boxes = {kind: (at, stop) for kind, at, stop in _boxes(data, start, end)}
    if b"iloc" not in boxes:
        return
    at, _ = boxes[b"iloc"]
    version = data[at]
    sizes = int.from_bytes(data[at + 4 : at + 6], "big")
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    at += 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(data):
            raise IndexError
        return int.from_bytes(data[at - size : at], "big")

    id_size = 2 if version < 2 else 4
    view = memoryview(data)
    joined = 0
    for _ in range(number(id_size)):
        number(id_size)
        inside = version > 0 and number(2) & 15  # 1: in the box `idat`
        number(2)
        base = number(base_size) + (boxes.get(b"idat", (0, 0))[0] if inside else 0)
        parts = []
        for _ in range(number(2)):
            number(index_size)
            begin = base + number(offset_size)
            length = number(length_size)
            parts.append(view[begin : begin + length] if length else view[begin:])
        if len(parts) > 1:
            joined += sum(map(len, parts))
            if joined > 2 * len(data):
                raise ValueError("items that overlap")
            yield memoryview(b"".join(parts))
        elif parts:
            yield parts[0]


def _leb128(stream: memoryview, at: int) -> tuple[int, int]:
    """A number in AV1's form of variable length, and where it ends."""
    value = 0
    for index in range(8):
        byte = stream[at + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, at + index + 1
    raise ValueError("a number without end")


class _Bits:
    """Reads bits, the highest of each byte first; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._left = 8 * _HEADER_BYTES
        self._bits = int.from_bytes(data.ljust(_HEADER_BYTES, b"\0"), "big")

    def __call__(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header without end")
        return self._bits >> self._left & ((1 << count) - 1)


def _frame_size(header: bytes) -> int:
    """Pixels of the largest frame by a sequence header (section 5.5.1 of the AV1 specification)."""
    bits = _Bits(header)
    bits(4)  # profile, still picture
    if bits(1):  # reduced header
        bits(5)
    else:
        delay_bits = 0
        if bits(1):  # timing
            bits(64)
            if bits(1):
                zeros = 0
                while not bits(1):
                    zeros += 1
                bits(zeros if zeros < 32 else 0)
            if bits(1):  # decoder model
                delay_bits = bits(5) + 1
                bits(42)
        display_delay = bits(1)
        for _ in range(bits(5) + 1):  # operating points
            bits(12)
            if bits(5) > 7:
                bits(1)
            if delay_bits and bits(1):
                bits(2 * delay_bits + 1)
            if display_delay and bits(1):
                bits(4)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    return (bits(width_bits) + 1) * (bits(height_bits) + 1)
