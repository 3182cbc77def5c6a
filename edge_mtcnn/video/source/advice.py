"""Why a camera, an address or a file cannot be opened, and what to do; OpenCV does not say.

These functions are called after a failure, in the reading thread, since they may take seconds.
They return the end of a sentence, without names and passwords.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from edge_mtcnn.board.cameras import read_cameras

__all__ = ["address_reason", "camera_reason", "file_reason"]

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_LONGEST_ANSWER = 2.0
"""Seconds that a server may take to accept a connection, and to answer."""
_ON_OTHER_SYSTEMS = {
    "darwin": (
        "allow this terminal to use the camera (System Settings, Privacy & Security, Camera), and"
        " close other programs that use it"
    ),
    "win32": (
        "plug it in, allow desktop apps to use it (Settings, Privacy & security, Camera), and close"
        " other programs that use it"
    ),
}


def camera_reason(target: int | str, root: Path = Path("/")) -> str:
    """Why a camera could not be opened.

    Args:
        target: its number or its path.
        root: see ``board.cameras.read_cameras``.
    """
    if sys.platform in _ON_OTHER_SYSTEMS:
        return _ON_OTHER_SYSTEMS[sys.platform]
    device = f"/dev/video{target}" if isinstance(target, int) else os.path.realpath(target)
    cameras = read_cameras(root)
    for camera in cameras:
        if camera.device == device and camera.problem is not None:
            return f"{camera.problem}; {camera.advice}"
        if camera.device == device and camera.source != str(target) and not camera.modes:
            return f"{camera.name} is a bare sensor; read it with {camera.source}"
        if camera.device == device:
            return f"{camera.name} does not start; unplug it and plug it in again"
    if cameras:
        here = ", ".join(f"{camera.source} ({camera.name})" for camera in cameras[:8])
        return f"there is no such camera; cameras of this machine: {here}"
    if "microsoft" in platform.release().lower():
        return "WSL has no cameras of its own; attach one with usbipd, or use a video file"
    return "this machine has no camera; plug one in, or use a video file"


def file_reason(path: str) -> str:
    """Why a file could not be opened as a video."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        return f"it cannot be read ({error.strerror}); check its rights"
    if not start:
        return "it is empty"
    if b"\0" not in start:
        with suppress(UnicodeDecodeError):
            start[:-4].decode("utf-8")  # the last letter may be cut
            return "it is text, not a video"
    return (
        "it is not a video, is damaged or incomplete, or has a format that this OpenCV cannot read;"
        " play it with ffplay, or convert it: ffmpeg -i FILE converted.mp4"
    )


def address_reason(address: str) -> str:
    """Why a network address could not be opened: connects to it and asks, as a player does.

    Args:
        address: with user name and password, which are sent only if the server asks for them, as
            Digest where it offers that.
    """
    scheme, _, rest = address.partition("://")
    scheme = scheme.lower()
    authority, tail = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    account, _, place = authority.rpartition("@")
    host, port = _host_and_port(place, _PORTS.get(scheme, 0))
    if not host or port is None:
        if "@" in tail:
            return (
                "a password in an address must be written with %2F for /, %3F for ?, %23 for #,"
                " %3A for : and %40 for @"
            )
        return f"an address is written {scheme}://HOST:PORT/PATH"
    if not port:
        return "check the address, and that its server is running"
    try:
        with socket.create_connection((host, port), _LONGEST_ANSWER):
            pass
        if scheme not in ("rtsp", "http"):
            return f"{host} accepts connections, but sends no video; check the path of the address"
        path = tail if scheme == "http" else f"rtsp://{place}{tail}"
        return _told_by_server(scheme, host, port, path or "/", account)
    except (socket.gaierror, UnicodeError):
        return f"no host of the name {host} is known; check the name, and the network"
    except ConnectionRefusedError:
        return (
            f"nothing listens at port {port} of {host}; check the port, and that the camera's"
            f" {scheme.upper()} service is on"
        )
    except TimeoutError:
        return f"{host} does not answer at port {port}; check that it is on, and the network"
    except OSError as error:
        return f"{host} cannot be reached ({error.strerror or error}); check the network"


def _host_and_port(place: str, usual: int) -> tuple[str, int | None]:
    """Host and port of ``host:port`` or ``[address]:port``; ``None`` for what is no port."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(\d*))?", place)
    if found is None or int(found[2] or 0) > 65535:
        return place, None
    return found[1].strip("[]"), int(found[2] or usual)


def _told_by_server(scheme: str, host: str, port: int, path: str, account: str) -> str:
    """What the answer of a server to a request for the video means."""
    answer = _answer(scheme, host, port, path)
    if _status(answer) == 401 and account:
        credentials = _credentials(answer, account, "GET" if scheme == "http" else "DESCRIBE", path)
        answer = _answer(scheme, host, port, path, f"Authorization: {credentials}\r\n")
    status = _status(answer)
    kind = re.search(r"^content-type:\s*([\w/.+-]+)", answer, re.IGNORECASE | re.MULTILINE)
    if status is None:
        return f"what answers at port {port} of {host} does not speak {scheme.upper()}"
    if status in (401, 403) and account:
        return f"{host} refuses the user name or the password ({status})"
    if status == 401:
        return (
            f"{host} asks for a user name and a password; give them as"
            f" {scheme}://USER:PASSWORD@{host}/..."
        )
    if status == 404:
        return f"{host} has nothing at this path (404); the camera's manual names the path"
    if not 200 <= status < 400:
        return f"{host} answers with the error {status}"
    if scheme == "http" and kind is not None and kind[1].startswith("text/html"):
        return f"{host} answers with a web page, not with a video; use the address of the video"
    return f"{host} answers, but sends no video that this OpenCV can read"


def _answer(scheme: str, host: str, port: int, path: str, header: str = "") -> str:
    """The head of the answer; empty if there is none in time."""
    lines = (
        f"GET {path} HTTP/1.0\r\nHost: {host}\r\n"
        if scheme == "http"
        else f"DESCRIBE {path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n"
    )
    data = b""
    with (
        suppress(OSError),
        socket.create_connection((host, port), _LONGEST_ANSWER) as connection,
    ):
        connection.sendall(f"{lines}{header}\r\n".encode())
        while b"\r\n\r\n" not in data and len(data) < 16384 and (part := connection.recv(4096)):
            data += part
    return data.decode("latin-1")


def _status(answer: str) -> int | None:
    found = re.match(r"(?:HTTP|RTSP)/\d\.\d (\d{3})", answer)
    return None if found is None else int(found[1])


def _credentials(answer: str, account: str, method: str, path: str) -> str:
    """The value of ``Authorization`` that the answer asks for."""
    user, _, password = map(unquote, account.partition(":"))
    challenge = re.search(r"^www-authenticate:\s*digest\s(.*)$", answer, re.I | re.M)
    if challenge is None:
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    asked = dict(re.findall(r'(\w+)="?([^",\r]*)', challenge[1]))
    realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
    digest = _md5(f"{user}:{realm}:{password}")
    extra = ""
    if "qop" in asked:
        digest = _md5(f"{digest}:{nonce}:00000001:0:auth:{_md5(f'{method}:{path}')}")
        extra = ', qop=auth, nc=00000001, cnonce="0"'
    else:
        digest = _md5(f"{digest}:{nonce}:{_md5(f'{method}:{path}')}")
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{path}",'
        f' response="{digest}"{extra}'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
