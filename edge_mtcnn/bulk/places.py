"""Places that inputs come from: local paths, and addresses such as ``s3://bucket/photos``.

A place is text: an absolute local path, or an address. ``pyarrow.fs`` opens the addresses that it
knows (``s3``, ``gs``, ``abfs``, ``hdfs``) and ``fsspec`` all others (``http``, ``https``, ``hf``
and many more), each with the credentials that the environment has.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from edge_mtcnn.errors import OptionsError, brief
from edge_mtcnn.images.sources import read_source

__all__ = [
    "beside",
    "is_address",
    "list_place",
    "local_copy",
    "open_place",
    "place_of",
    "read_place",
]
__all__ += ["source_of", "suffix_of"]

_COPY_BYTES = 4 * 2**20


def is_address(text: str) -> bool:
    """Whether a text is an address and no local path; one letter is a drive of Windows."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def place_of(text: str) -> str:
    """The place that a text names: an address as it is, a local path as an absolute one."""
    text = re.sub("^file://(?=/)", "", text)
    return text if is_address(text) else os.path.abspath(text)  # noqa: PTH100 - links stay


def beside(place: str, text: str) -> str:
    """The place that a list, which lies at ``place``, means by a text; relative ones lie beside."""
    if is_address(text) or os.path.isabs(text):  # noqa: PTH117
        return place_of(text)
    if is_address(place):
        return f"{place.rpartition('/')[0]}/{text}"
    return place_of(os.path.join(os.path.dirname(place), text))  # noqa: PTH118, PTH120


def source_of(place: str) -> str:
    """The place as tables and messages have it: without a password, and always as valid text."""
    place = re.sub(r"://[^/@]*:[^/@]*@", "://", place)
    if _is_object_store(place):
        place = place.partition("?")[0]
    return place.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def suffix_of(place: str) -> str:
    """The suffix in lower case, without the query of an address; ``.tar.gz`` counts as one."""
    name = re.split(r"[?#]", place)[0] if is_address(place) else place
    name = name.rpartition("/")[2].lower() if is_address(place) else os.path.basename(name).lower()  # noqa: PTH119
    found = re.search(r"(\.tar)?\.[a-z0-9]+$", name)
    return found[0] if found else ""


def read_place(place: str) -> bytes:
    """The whole content of a place.

    Raises:
        ImageError: a local file cannot be read; the message says why.
        OSError: an address cannot be read; the message begins with it.
    """
    if not is_address(place):
        return read_source(place)[1]
    with _reporting(place):
        system, path = _opened(place)
        content: bytes
        if (remote := _fsspec_of(system)) is not None:  # one request, and none for the size
            content = remote.cat_file(path)
        else:
            with system.open_input_stream(path, compression=None) as stream:
                content = stream.read()
        return content


def open_place(place: str) -> BinaryIO:
    """Open a place for reading; the file can be sought in.

    Raises:
        OSError: it cannot be opened; the message begins with the place.
    """
    with _reporting(place):
        if not is_address(place):
            return Path(place).open("rb")
        system, path = _opened(place)
        file: BinaryIO = system.open_input_file(path)
        return file


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[str]:
    """A local path with the content of a place; a copy that is removed afterwards if needed.

    Raises:
        OSError: it cannot be read or copied.
    """
    if not is_address(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="edge-mtcnn-") as folder:
        path = Path(folder) / f"copy{suffix_of(place)}"
        with open_place(place) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)
        yield os.fspath(path)


def list_place(address: str, *, recursive: bool, suffixes: frozenset[str]) -> list[str]:
    """The files that an address names: itself, those of a folder, or those of a pattern with ``*``.

    Args:
        address: of a file or folder; one that ends in ``/`` is that of a folder.
            ``*`` stands for any characters of a name, ``**`` for folders.
        recursive: look in subfolders too.
        suffixes: of the files that are taken from a folder.

    Returns:
        Addresses, sorted; one whose suffix is known is not asked for.

    Raises:
        OSError: it cannot be listed, such as a bucket without rights.
    """
    base, star, _ = address.partition("*")
    if not star and suffix_of(address) in suffixes:
        return [address]
    with _reporting(address):
        import pyarrow.fs

        query = re.search(r"\?.*$", address)[0] if "?" in address else ""  # type: ignore[index]
        folder = (base.rpartition("/")[0] if star else address.partition("?")[0]).rstrip("/")
        system, path = _opened(folder + query)
        named = star or address.endswith("/")  # a folder; web servers do not say so themselves
        if not named and system.get_file_info(path).type != pyarrow.fs.FileType.Directory:
            return [address]
        selector = pyarrow.fs.FileSelector(path, recursive=recursive or bool(star))
        found = [
            folder + info.path.removeprefix(path) + query
            for info in system.get_file_info(selector)
            if info.type == pyarrow.fs.FileType.File
        ]
    if star:
        pattern = _pattern(address.partition("?")[0] + query)
        return sorted(place for place in found if pattern.fullmatch(place))
    return sorted(place for place in found if suffix_of(place) in suffixes)


def _pattern(address: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*)", address)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def _is_object_store(address: str) -> bool:
    return re.match(r"(s3|gs|gcs|abfss?)://", address) is not None


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme, _, rest = address.partition("://")
    query = ""
    if _is_object_store(address):
        rest, mark, query = rest.partition("?")
        query = mark + query
    host, _, path = rest.partition("/")
    system, root = _file_system(f"{scheme}://{host}", query)
    if (remote := _fsspec_of(system)) is not None:
        stripped: str = remote._strip_protocol(address)
        return system, stripped
    return system, f"{root.rstrip('/')}/{path}".rstrip("/") if path else root


@lru_cache(maxsize=64)
def _file_system(root: str, query: str) -> tuple[Any, str]:
    """The file system of a bucket or host; one for all its files, as each has its connections."""
    import pyarrow.fs

    try:
        system, path = pyarrow.fs.FileSystem.from_uri(f"{root}/{query}")
    except (pyarrow.ArrowInvalid, ImportError):
        import fsspec

        remote = fsspec.filesystem(root.partition("://")[0])
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(remote)), ""
    return system, path


def _fsspec_of(system: Any) -> Any:
    """The file system of ``fsspec`` inside one of Arrow; ``None`` where there is none."""
    return getattr(getattr(system, "handler", None), "fs", None)


@contextlib.contextmanager
def _reporting(place: str) -> Iterator[None]:
    """Turn every failure to read a place into an ``OSError`` that begins with the place."""
    try:
        yield
    except OptionsError:
        raise
    except ImportError as error:
        raise OSError(f"{source_of(place)}: needs another package: {error}") from None
    except FileNotFoundError:
        raise OSError(f"{source_of(place)}: no such file") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = " ".join((reason or type(error).__name__).split())
        raise OSError(f"{source_of(place)}: cannot be read: {brief(text, 400)}") from None
