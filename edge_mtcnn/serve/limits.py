"""How much work is accepted at once: slots, and request bodies limited in bytes and seconds."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

__all__ = ["ByteBudget", "Share", "Slots", "read_body"]


class Slots:
    """Limits how many requests of one kind run at once. Used by the event loop's thread only."""

    def __init__(self, most: int, noun: str) -> None:
        self.taken = 0
        self._most = most
        self._noun = noun

    def check(self) -> None:
        """Refuse if all slots are in use.

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
        """Hold a slot; refuses as ``check`` does."""
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class ByteBudget:
    """Bytes that all request bodies together may hold; used by the event loop's thread only."""

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most

    def check(self, count: int) -> None:
        """Refuse if this many more bytes would exceed the budget.

        Args:
            count: bytes.

        Raises:
            HTTPException: 429, with the time after which to ask again.
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
        """A share of the budget for one body; it starts empty and is returned at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken


class Share:
    """What one body holds of a ``ByteBudget``."""

    def __init__(self, budget: ByteBudget) -> None:
        self.taken = 0
        self.check = budget.check
        self._budget = budget

    def take(self, count: int) -> None:
        """Take more bytes of the budget; refuses as ``ByteBudget.check`` does."""
        self.check(count)
        self._budget.taken += count
        self.taken += count


async def read_body(request: Request, most: int, seconds: float, share: Share) -> io.BytesIO:
    """Receive the body of a request; ``getvalue`` returns its bytes without a copy.

    Args:
        request: whose body was not read yet.
        most: bytes that it may have; a length that is announced is refused before it is received.
        seconds: time that it may take.
        share: grows with what arrives. A client that announces much and sends little holds little.

    Raises:
        HTTPException: 413 for too many bytes, 429 when other bodies hold too many, 408 for a body
            that is too slow, 400 for a client that left.
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
        raise HTTPException(400, "the connection was closed before the body was whole") from None


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {most} bytes, the limit of this service")
