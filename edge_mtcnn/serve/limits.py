"""Limits of the work accepted at once: slots, and the bytes and seconds of bodies and answers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

__all__ = ["END_BY", "ByteBudget", "HeldAnswer", "Share", "Slots", "read_body"]

END_BY = "edge_mtcnn.end_by"
"""Entry of a request's scope: time of the event loop at which its connection is cut off."""
_PIECE = 65_536


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
    """Limits the bytes of all bodies and answers together; used by the event loop's thread only.

    Args:
        most: bytes.

    Attributes:
        taken: bytes that are held now.
    """

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most

    def check(self, count: int) -> None:
        """Refuse if that many more bytes would exceed the limit, unless there are no others.

        Args:
            count: bytes.

        Raises:
            HTTPException: 429, with the time after which to try again.
        """
        if self.taken and self.taken + count > self._most:
            raise HTTPException(
                429,
                f"busy: the images of other requests hold {self.taken} of {self._most} bytes;"
                " try again later",
                {"Retry-After": "1"},
            )

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share for one request: empty at first, released at the end of ``with``."""
        share = Share(self)
        try:
            yield share
        finally:
            share.release()


class Share:
    """The bytes of a ``ByteBudget`` that one request holds."""

    def __init__(self, budget: ByteBudget) -> None:
        self.taken = 0
        self.check = budget.check
        self._budget = budget

    def take(self, count: int) -> None:
        """Hold that many more bytes; refuses as ``ByteBudget.check`` does."""
        self.check(count)
        self._budget.taken += count
        self.taken += count

    def release(self) -> None:
        """Hold no bytes any more."""
        self._budget.taken -= self.taken
        self.taken = 0


class HeldAnswer(Response):
    """An answer whose bytes are counted until the client has received them.

    It is sent in pieces, because a server keeps what it was given until the client reads it.

    Args:
        content: the body.
        media_type: of the body.
        held: ends when the answer is sent, or the client has left.
        seconds: time in which the client must receive it.
    """

    def __init__(
        self, content: bytes, media_type: str, held: AbstractContextManager[object], seconds: float
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._held = held
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        with self._held:
            # An application cannot close its connection; `GuardedProtocol` does.
            scope[END_BY] = asyncio.get_running_loop().time() + self._seconds
            body, self.body = memoryview(self.body), b""
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            for at in range(0, max(len(body), 1), _PIECE):
                await send(
                    {
                        "type": "http.response.body",
                        "body": bytes(body[at : at + _PIECE]),
                        "more_body": at + _PIECE < len(body),
                    }
                )


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
