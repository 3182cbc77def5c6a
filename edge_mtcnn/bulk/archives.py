"""Tar files, as WebDataset has them: divided into shards, and their images read one by one.

The members of an archive on a local disk are found by jumping from header to header. One that is
compressed, or comes from an address, can only be read from its beginning, so it is one shard.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from edge_mtcnn.bulk.places import is_address, open_place, source_of
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.files import IMAGE_SUFFIXES

__all__ = ["TAR_SUFFIXES", "read_members", "tar_shards"]

TAR_SUFFIXES = frozenset(
    {".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz"},
)
_FAILURES = (tarfile.TarError, EOFError, zlib.error, OSError)
"""What a damaged archive raises, by its compression; ``lzma`` and ``bz2`` raise the first two."""


def tar_shards(place: str, batch_size: int) -> Iterator[Shard]:
    """Divide an archive into shards of about ``batch_size`` images.

    Raises:
        OSError: it cannot be opened.
    """
    if is_address(place):
        yield Shard("tar", (place,), count=-1)
        return
    with open_place(place) as file:
        try:
            archive = tarfile.TarFile(fileobj=file, errorlevel=1)
        except tarfile.ReadError:  # compressed, or none; reading it says which
            yield Shard("tar", (place,), count=-1)
        else:
            yield from _divided(place, archive, batch_size)


def _divided(place: str, archive: tarfile.TarFile, batch_size: int) -> Iterator[Shard]:
    first, count, total = 0, 0, 0
    try:
        while (member := archive.next()) is not None:
            _forget(archive)
            if not _is_image(member):
                continue
            if count == batch_size:
                yield Shard("tar", (place,), first, count)
                count = 0
            first = first if count else member.offset
            count += 1
            total += 1
        _check_end(archive)
    except _FAILURES as error:
        failure = f"the archive is damaged after {total} images: {_reason(error)}"
    else:
        failure = "" if total else "no image files in this archive"
    if count:
        yield Shard("tar", (place,), first, count)
    if failure:
        yield Shard("failed", (place,), detail=failure)


def read_members(shard: Shard) -> Iterator[tuple[str, bytes]]:
    """Read the images of a shard: the source and the bytes of each.

    Raises:
        OSError: the archive cannot be opened, or is damaged; what came before it is whole.
    """
    (place,) = shard.places
    count = 0
    with open_place(place) as file:
        file.seek(shard.first)
        try:
            with _opened(file, shard) as archive:
                while count != shard.count and (member := archive.next()) is not None:
                    _forget(archive)
                    if _is_image(member):
                        count += 1
                        content = archive.extractfile(member)
                        assert content is not None  # it is a file
                        yield source_of(f"{place}/{member.name}"), content.read()
        except _FAILURES as error:
            raise OSError(
                f"{source_of(place)}: the archive is damaged after {count} images: {_reason(error)}"
            ) from None
    if not count:
        raise OSError(f"{source_of(place)}: no image files in this archive")


def _opened(file: BinaryIO, shard: Shard) -> tarfile.TarFile:
    if shard.count >= 0:
        return tarfile.open(fileobj=file, mode="r:", errorlevel=1)
    return tarfile.open(fileobj=file, mode="r|*", errorlevel=1)


def _check_end(archive: tarfile.TarFile) -> None:
    """Make sure that an archive ends here; ``tarfile`` also ends where it cannot read a header."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError("the header of a member cannot be read")


def _forget(archive: tarfile.TarFile) -> None:
    """Drop the descriptions of the members, of which ``tarfile`` would keep all."""
    archive.members = []  # type: ignore[attr-defined]  # what its documentation advises


def _is_image(member: tarfile.TarInfo) -> bool:
    name = member.name.lower()
    # What macOS adds for the resource fork of a file has the file's suffix.
    hidden = name.rpartition("/")[2].startswith("._")
    return member.isfile() and not hidden and f".{name.rpartition('.')[2]}" in IMAGE_SUFFIXES


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
