"""Access control: checks of Host, Origin and token, and security headers on every answer.

A web page of another site, open in a browser on this machine, can send requests to loopback
addresses too. So a request must address this service by IP address or by a known name (against DNS
rebinding), must not come from another origin, and must carry the token if there is one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_mtcnn.serve.options import ServeOptions, is_loopback

__all__ = [
    "COOKIE",
    "OriginCheck",
    "TokenCheck",
    "check_may_change",
    "error_response",
    "has_token",
    "session_value",
    "unauthorized",
]

COOKIE = "edge_mtcnn_session"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer. The page loads nothing from other sites."""

_PAGES = frozenset({"/", "/docs"})
_OPEN_PATHS = _PAGES | {
    "/app.js",
    "/docs.css",
    "/docs.js",
    "/healthz",
    "/icon.svg",
    "/openapi.json",
    "/session",
    "/style.css",
}
"""Answered without the token. None of them reveals who is here."""


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON: ``{"error": message}``."""
    return JSONResponse({"error": message}, status, headers)


def session_value(token: str) -> str:
    """The value of the cookie that a browser stores instead of the token."""
    return hmac.new(token.encode(), b"edge-mtcnn session", hashlib.sha256).hexdigest()


class OriginCheck:
    """ASGI middleware: refuses unknown Hosts and foreign origins, and adds the security headers."""

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower().rstrip(".") for name in options.hosts)}
        self._origins = frozenset(options.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_known_host(headers.get("host", "")):
            return error_response(
                421,
                "unknown Host: use the IP address of the service, localhost, or a name allowed with"
                " --allow-host",
            )
        origin = headers.get("origin")
        if origin in self._origins:
            return None
        foreign = origin is not None and not self._is_own_origin(origin, headers)
        # Following a link to a page is allowed; any other request from another site is refused.
        followed = scope["path"] in _PAGES and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not followed:
            foreign = True
        if foreign:
            return error_response(
                403, "requests from web pages of other origins are refused; see --allow-origin"
            )
        return None

    def _is_known_host(self, host: str) -> bool:
        """DNS rebinding requires a host name, so IP addresses are always allowed."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name.rstrip(".") in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_own_origin(self, origin: str, headers: Headers) -> bool:
        # The scheme is not compared: a proxy may serve TLS in front of this service.
        try:
            return urlsplit(origin).netloc.lower() == headers["host"].lower()
        except (KeyError, ValueError):
            return False


class TokenCheck:
    """ASGI middleware: requires the token, as a header or as the session cookie."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._token is not None and scope["path"] not in _OPEN_PATHS:
            connection = HTTPConnection(scope)
            if not (
                has_token(connection, self._token)
                or _equal(connection.cookies.get(COOKIE, ""), session_value(self._token))
            ):
                await unauthorized()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_may_change(request: Request, *, token_needed: bool) -> None:
    """Refuse a client that may look, but not change what the service does.

    Args:
        request: has passed the checks of this module.
        token_needed: whether clients had to send the token. Without one, only this machine may
            change anything.

    Raises:
        HTTPException: 403.
    """
    client = request.client
    if not token_needed and client is not None and not is_loopback(client.host):
        raise HTTPException(403, "without a token, only this machine may do this")


def has_token(connection: HTTPConnection, token: str) -> bool:
    """Whether the request carries ``Authorization: Bearer TOKEN``."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and _equal(given.strip(), token)


def unauthorized() -> Response:
    """The answer to a request without the right token."""
    return error_response(
        401,
        "the token is missing or wrong: send it as Authorization: Bearer TOKEN",
        {"WWW-Authenticate": "Bearer"},
    )


def _equal(given: str, wanted: str) -> bool:
    """Compare in constant time, also if the lengths differ."""
    digests = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (given, wanted)]
    return hmac.compare_digest(*digests)
