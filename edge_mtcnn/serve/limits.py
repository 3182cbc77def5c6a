"""How much is taken on at once: slots for work, and bodies within bytes and seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

__all__ = ["Slots", "read_body"]


class Slots:
    """A number of places for the same kind of work; used by the event loop's thread only."""

    def __init__(self, most: int, noun: str) -> None:
        self.taken = 0
        self._most = most
        self._noun = noun

    def check(self) -> None:
        """Refuse when all places are taken.

        Raises:
            HTTPException: 429, with the time after which to ask again.
        """
        if self.taken >= self._most:
            raise HTTPException(
                429,
                f"busy: {self.taken} {self._noun} at the same time are the limit; try again later",
                {"Retry-After": "1"},
            )

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place; refuses as ``check`` does."""
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The body of a request.

    Args:
        request: whose body was not read yet.
        most: bytes that it may have; a length that is announced is refused before it is received.
        seconds: time that it may take.

    Raises:
        HTTPException: 413 for too many bytes, 408 for too slow ones, 400 for a client that left.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)

    async def gather() -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
        return bytes(body)

    try:
        return await asyncio.wait_for(gather(), seconds)
    except (asyncio.TimeoutError, TimeoutError):  # two types until Python 3.11
        raise HTTPException(
            408, f"the body did not arrive within {seconds:g} s", {"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was whole") from None


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most} bytes, the limit of this service")
