"""Files that are no image this package reads are named, with what to do."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_mtcnn import ImageError, read_image
from edge_mtcnn.images.headers import read_header
from edge_mtcnn.images.others import UnsupportedFormat


def pillow(kind: str, **options: object) -> Callable[[], bytes]:
    """A picture that PIL writes."""

    def save() -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (40, 30), (200, 90, 30)).save(stream, kind, **options)
        return stream.getvalue()

    return save


def opencv(suffix: str, kind: type = np.uint8) -> Callable[[], bytes]:
    return cv2.imencode(suffix, np.ones((30, 40, 3), kind))[1].tobytes


def directory(*tags: tuple[int, int, int, int], magic: bytes = b"II*\0\x08\0\0\0") -> bytes:
    """A TIFF of one directory: number, type, count and value of each tag."""
    return (
        magic + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    )


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "a")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return stream.getvalue()


def numpy_file() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


SIZE = ((256, 3, 1, 160), (257, 3, 1, 120))
FORMATS: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG XL": (lambda: b"\xff\x0a\xfa\x7f", "JPEG XL"),
    "JPEG XL, container": (lambda: b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14", "JPEG XL"),
    "JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000"),
    "JPEG 2000, codestream": (lambda: b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
    "icon": (pillow("ICO"), "icon (ICO)"),
    "cursor": (lambda: b"\0\0\2\0\1\0\x20\x20\0\0\0\0\0\0", "cursor (CUR)"),
    "TGA": (pillow("TGA"), "TGA"),
    "TGA, packed": (pillow("TGA", compression="tga_rle"), "TGA"),
    "PCX": (pillow("PCX"), "PCX"),
    "PSD": (lambda: b"8BPS\0\1", "Photoshop"),
    "XCF": (lambda: b"gimp xcf v011\0", "GIMP"),
    "DDS": (pillow("DDS"), "DDS"),
    "SGI": (pillow("SGI"), "SGI"),
    "Radiance": (opencv(".hdr", np.float32), "Radiance HDR"),
    "OpenEXR": (lambda: b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
    "PAM": (opencv(".pam"), "PAM"),
    "PDF": (pillow("PDF"), "PDF document; export its page"),
    "EPS": (pillow("EPS"), "PostScript"),
    "SVG": (lambda: b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="x">', "SVG drawing"),
    "SVG alone": (lambda: b"\xef\xbb\xbf  <svg width='3'>", "SVG drawing"),
    "CR2": (lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + struct.pack("<H", 0), "RAW"),
    "CR3": (lambda: b"\0\0\0\x18ftypcrx \0\0\0\1", "camera RAW"),
    "RAF": (lambda: b"FUJIFILMCCD-RAW 0201", "camera RAW"),
    "ORF": (lambda: b"IIRO\x08\0\0\0", "camera RAW"),
    "RW2": (lambda: b"IIU\0\x18\0\0\0", "camera RAW"),
    "DNG": (lambda: directory((254, 4, 1, 1), *SIZE, (50706, 1, 4, 257)), "rawpy"),
    "NEF, ARW": (lambda: directory((254, 4, 1, 1), *SIZE, (330, 4, 1, 500)), "rawpy"),
    "PEF": (lambda: directory(*SIZE, (262, 3, 1, 32803)), "rawpy"),
    "MP4": (lambda: b"\0\0\0\x20ftypisom\0\0\2\0", "video (MP4); use edge-mtcnn watch"),
    "MOV": (lambda: b"\0\0\0\x14ftypqt  \0\0\0\0", "video (MOV)"),
    "old MOV": (lambda: b"\0\0\0\x08wide\0\0\0\0mdat", "video (MOV)"),
    "MKV": (lambda: b"\x1a\x45\xdf\xa3\x93\x42", "video (MKV"),
    "AVI": (lambda: b"RIFF\x24\0\0\0AVI LIST", "video (AVI)"),
    "MPEG": (lambda: b"\0\0\1\xba\x44", "video (MPEG)"),
    "MPEG-TS": (lambda: (b"G" + bytes(187)) * 3, "video (MPEG)"),
    "H.264": (lambda: b"\0\0\0\1\x67\x42\0", "video (H.264"),
    "WMV": (lambda: b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video (WMV)"),
    "ZIP": (zipped, "ZIP archive"),
    "gzip": (lambda: gzip.compress(b"a"), "packed"),
    "tar": (tarred, "tar archive"),
    "NumPy": (numpy_file, "np.load(path)"),
    "DICOM": (lambda: bytes(128) + b"DICM", "pydicom"),
    "macOS": (lambda: b"\0\5\x16\7\0\2\0\0Mac OS X", "._"),
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "data URL": (lambda: b"data:image/png;base64,iVBORw0", "base64.b64decode"),
}


@pytest.mark.parametrize(("make", "words"), FORMATS.values(), ids=list(FORMATS))
def test_another_format_is_named(
    make: Callable[[], bytes], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(make())
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: a")
    assert capfd.readouterr().err == ""
    with pytest.raises((UnsupportedFormat, ImageError)):
        read_header(make())


CONTENT = {
    b"<!DOCTYPE html><html>404": "a web page (HTML); the download of the image failed",
    b"\n<HTML><svg></svg></HTML>": "a web page (HTML)",
    b"<?xml version='1.0'?><Error>": "XML, not an image: \"<?xml version='1.0'?><Error>\"",
    json.dumps({"error": "not found"}).encode(): 'JSON, not an image: \'{"error"',
    "Keine Fotos für dich".encode(): "text, not an image: 'Keine Fotos für dich'",
    "€".encode() * 1000: "text, not an image: '€€",
    bytes(5000): "it holds zeros only",
    b"\x80\x04\x95": "not a JPEG, PNG, WebP, BMP, GIF, TIFF, PNM, HEIC or AVIF image",
    b"abc\0\1\2": "not a JPEG",
}


@pytest.mark.parametrize(("data", "words"), CONTENT.items(), ids=list(CONTENT.values()))
def test_what_else_is_in_a_file_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data)
    assert str(caught.value).startswith(f"the image: {words}")
    assert len(str(caught.value)) < 200


def test_tiff_files_with_more_pages_are_still_read() -> None:
    pages = [Image.new("RGB", (40, 30)) for _ in range(3)]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    assert read_image(stream.getvalue()).shape == (30, 40, 3)


def test_random_bytes_are_no_format() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        data = random.integers(0, 256, 600).astype(np.uint8).tobytes()
        with pytest.raises(ImageError, match=r"not a JPEG|TGA|MPEG"):
            read_image(data)
