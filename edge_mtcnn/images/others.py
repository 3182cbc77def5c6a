"""Files that are no image this package reads, named by their first bytes, with what to do.

People pass what their folder holds: other picture formats, films, and a web page that a failed
download left under the name of a photo. Imports ``errors`` only.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

from edge_mtcnn.errors import ImageError, shown

__all__ = ["RAW", "UnsupportedFormat", "other_content", "other_format"]

RAW = "a camera RAW file; export it as JPEG, or pass rawpy.imread(path).postprocess()"
_VIDEO = "; use edge-mtcnn watch, or FaceWatcher in Python"
_ARCHIVE = "; unpack it"
_PICTURE = ", which is not supported; convert it to JPEG or PNG"

_NAMES: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image" + _PICTURE),
    (rb"\x00\x00\x00\x0cjP[ \x1a]{2}\r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image" + _PICTURE),
    (rb"II\xbc[\x00\x01]", "a JPEG XR image" + _PICTURE),
    (rb"\x00\x00\x01\x00[^\x00]\x00.{3}\x00", "a Windows icon (ICO)" + _PICTURE),
    (rb"\x00\x00\x02\x00[^\x00]\x00.{3}\x00", "a Windows cursor (CUR)" + _PICTURE),
    (
        rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x0f\x10\x18\x20]",
        "a TGA image" + _PICTURE,
    ),
    (rb".\x01[\x01\x09].{9}(?!\x00\x00)..(?!\x00\x00)..\x08", "a TGA image" + _PICTURE),
    (rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", "a PCX image" + _PICTURE),
    (rb"8BP[SB]", "a Photoshop document (PSD)" + _PICTURE),
    (rb"gimp xcf", "a GIMP document (XCF)" + _PICTURE),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image" + _PICTURE),
    (rb"#\?(RADIANCE|RGBE)", "a Radiance HDR image" + _PICTURE),
    (rb"DDS ", "a DDS texture" + _PICTURE),
    (rb"\xabKTX", "a KTX texture" + _PICTURE),
    (rb"qoif", "a QOI image" + _PICTURE),
    (rb"BPG\xfb", "a BPG image" + _PICTURE),
    (rb"FLIF", "a FLIF image" + _PICTURE),
    (rb"P7\s", "a PAM image" + _PICTURE),
    (rb"P[Ff]\s", "a PFM image" + _PICTURE),
    (rb"\x01\xda[\x00\x01][\x01\x02]", "an SGI image" + _PICTURE),
    (rb"\x59\xa6\x6a\x95", "a Sun raster image" + _PICTURE),
    (rb"AT&TFORM", "a DjVu document" + _PICTURE),
    (rb"SIMPLE  =", "a FITS image" + _PICTURE),
    (rb".{128}DICM", "a DICOM image; read it with pydicom and pass its pixels as an array"),
    (rb"\x93NUMPY", "a NumPy file; pass np.load(path)"),
    (rb"\x89HDF\r\n", "an HDF5 file; pass the array in it"),
    (rb"II[RU]\x00|IIR[OS]|MMOR|FUJIFILMCCD-RAW|\x00MRM|FOVb|II.{4}HEAPCCDR|.{4}ftypcrx", RAW),
    (rb"\s*%PDF-", "a PDF document; export its page as JPEG or PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document; export its page as JPEG or PNG"),
    (rb"\x1a\x45\xdf\xa3", "a video (MKV or WebM)" + _VIDEO),
    (rb"RIFF.{4}AVI ", "a video (AVI)" + _VIDEO),
    (rb".{4}ftypqt|.{4}(moov|mdat|wide|pnot)", "a video (MOV)" + _VIDEO),
    (rb".{4}ftyp(M4A|M4B)", "a sound file"),
    (rb".{4}ftyp", "a video (MP4)" + _VIDEO),
    (rb"FLV\x01", "a video (FLV)" + _VIDEO),
    (rb"\x00\x00\x01[\xba\xb3]|G.{187}G.{187}G", "a video (MPEG)" + _VIDEO),
    (rb"\x00?\x00\x00\x01[\x09\x27\x40\x46\x67]", "a video (H.264 or H.265)" + _VIDEO),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (WMV)" + _VIDEO),
    (rb"OggS", "a video or sound file (Ogg)" + _VIDEO),
    (rb"RIFF.{4}WAVE|ID3|fLaC|\xff\xfb", "a sound file"),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive or an office document" + _ARCHIVE),
    (
        rb"\x1f\x8b|BZh|\xfd7zXZ\x00|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!",
        "a packed file" + _ARCHIVE,
    ),
    (rb".{257}ustar", "a tar archive" + _ARCHIVE),
    (
        rb"\x00\x05\x16[\x00\x07]",
        "a macOS side file; the photo has the name without ._",
    ),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the image with git lfs pull"),
    (rb"/annex/objects/", "a git-annex pointer; fetch the image with git annex get"),
    (rb"data:image/", "a data: URL; pass base64.b64decode(text.partition(',')[2])"),
    (rb"/9j/|iVBORw0KGgo|UklGR|R0lGOD", "base64 text; pass base64.b64decode(text)"),
)
"""Patterns of first bytes with what the file is."""


_TEXT_BYTES = 400


class UnsupportedFormat(ImageError):  # noqa: N818 - the format is no error of the file
    """The file is sound, but of a format that is not read; the message names it."""


def other_format(data: bytes) -> str | None:
    """The format of a file that is not read, and what to do; ``None`` if it is unknown."""
    return next((what for start, what in _NAMES if re.match(start, data, re.DOTALL)), None)


def other_content(data: bytes) -> str | None:
    """What is in a file of no known format: a text, such as a server's answer, or nothing."""
    if not any(data):
        return "it holds zeros only, so it was not copied or downloaded to its end"
    try:
        # Unlike `bytes.decode`, it accepts that the last character is cut.
        text = getincrementaldecoder("utf-8-sig")().decode(data[:_TEXT_BYTES]).strip()
    except UnicodeDecodeError:
        return None
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    kind = "JSON" if text[0] in "{[" else "text"
    if text[0] == "<":
        head = data[:5000].lower()
        if b"<html" in head or b"<!doctype html" in head:
            return "a web page (HTML); the download of the image failed, or needs a login"
        if b"<svg" in head:
            return "an SVG drawing" + _PICTURE
        kind = "XML"
    return f"{kind}, not an image: {shown(text[:80])}"
