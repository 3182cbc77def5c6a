"""Limits of the work accepted at once: slots, and request bodies limited in bytes and seconds."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

__all__ = ["ByteBudget", "Share", "Slots", "read_body"]


class Slots:
    """Limits how many requests of one kind run at once; used by the event loop's thread only.

    Args:
        most: number of places.
        noun: name of what takes a place, plural, for messages.

    Attributes:
        taken: places that are taken now.
    """

    def __init__(self, most: int, noun: str) -> None:
        self.taken = 0
        self._most = most
        self._noun = noun

    def check(self) -> None:
        """Refuse if all places are taken.

        Raises:
            HTTPException: 429, with the time after which to try again.
        """
        if self.taken >= self._most:
            raise HTTPException(
                429,
                f"busy: the limit is {self._most} {self._noun} at the same time; try again later",
                {"Retry-After": "1"},
            )

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place inside ``with``; refuses as ``check`` does."""
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class ByteBudget:
    """Limits the bytes of all request bodies together; used by the event loop's thread only.

    Args:
        most: bytes.

    Attributes:
        taken: bytes that are held now.
    """

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most

    def check(self, count: int) -> None:
        """Refuse if that many more bytes would exceed the limit.

        Args:
            count: bytes.

        Raises:
            HTTPException: 429, with the time after which to try again.
        """
        if self.taken + count > self._most:
            raise HTTPException(
                429,
                f"busy: the images of other requests hold {self.taken} of {self._most} bytes;"
                " try again later",
                {"Retry-After": "1"},
            )

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share for one body: empty at first, released at the end of ``with``."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken


class Share:
    """The bytes of a ``ByteBudget`` that one body holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self.taken = 0
        self.check = budget.check
        self._budget = budget

    def take(self, count: int) -> None:
        """Hold that many more bytes; refuses as ``ByteBudget.check`` does."""
        self.check(count)
        self._budget.taken += count
        self.taken += count


async def read_body(request: Request, most: int, seconds: float, share: Share) -> io.BytesIO:
    """Receive the body of a request; ``getvalue`` of the result returns the bytes without a copy.

    Args:
        request: a request whose body has not been read yet.
        most: limit in bytes. A longer Content-Length is refused before the body is received.
        seconds: time in which the body must arrive.
        share: grows with the bytes that arrive, so a client that announces many bytes and sends few
            holds few.

    Raises:
        HTTPException: 413 if the body is too large, 429 if other bodies hold too many bytes, 408 if
            it is too slow, 400 if the client has left.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal():
        if int(announced) > most:
            raise _too_large(most)
        share.check(int(announced))

    async def gather() -> io.BytesIO:
        body = io.BytesIO()
        async for chunk in request.stream():
            if body.tell() + len(chunk) > most:
                raise _too_large(most)
            share.take(len(chunk))
            body.write(chunk)
        return body

    try:
        return await asyncio.wait_for(gather(), seconds)
    except (asyncio.TimeoutError, TimeoutError):  # two types until Python 3.11
        raise HTTPException(
            408, f"the body did not arrive within {seconds:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was complete") from None


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most} bytes, the limit of this service")
