"""A real HTTP server of streams that end, are killed and come back: MJPEG, HLS, a film, errors."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
from videos import Image

from endurance.faults import free_port

FPS = 20.0
_PACKET = 188  # bytes of a packet of an MPEG transport stream


def write_transport_stream(path: Path, frames: Iterable[Image]) -> Path:
    """An MPEG-4 video as transport stream, with a key frame every 0.6 seconds."""
    writer = None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, FPS, size)
            assert writer.isOpened()
        writer.write(frame)
    assert writer is not None
    writer.release()
    return path


def segments(film: bytes, keys: int) -> list[bytes]:
    """A transport stream cut before every ``keys``-th key frame, as HLS serves it."""
    starts = [
        place
        for place in range(0, len(film), _PACKET)
        if film[place + 3] & 0x20 and film[place + 4] and film[place + 5] & 0x40
    ]
    cuts = [0, *starts[keys::keys], len(film)]
    return [film[start:end] for start, end in itertools.pairwise(cuts)]


class StreamServer:
    """Serves the films ``film.avi`` and ``film.ts`` of a folder, and pictures, on one port.

    ``/stream.mjpg``  the pictures at 20 per second, then the end
    ``/film.avi``     a film as a file
    ``/ended.m3u8``   ``film.ts`` as HLS that is complete
    ``/live.m3u8``    ``film.ts`` as HLS that grows while it plays, in segments of 1.8 s
    ``/secret``       401 for all but the user ``kiosk`` with the password ``p@ss``, then a page
    ``/page``         a web page
    ``/broken``       an error of the server
    """

    def __init__(self, folder: Path, pictures: Iterable[Image] = ()) -> None:
        self.port = free_port()
        self.pictures = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
        self.film = folder / "film.avi"
        self.segments = segments((folder / "film.ts").read_bytes(), 3)
        self.running = False
        self.started = 0.0
        self._server: ThreadingHTTPServer | None = None

    def url(self, path: str, account: str = "") -> str:
        return f"http://{account}127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler_of(self))
        self._server.daemon_threads = True
        self.running, self.started = True, time.monotonic()
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Cut all connections and stop listening."""
        self.running = False
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def playlist(self, *, live: bool) -> bytes:
        seconds = 1.8
        first, end = 0, len(self.segments)
        if live:  # three segments, of which the newest is complete
            end = min(3 + int((time.monotonic() - self.started) / seconds), len(self.segments))
            first = max(end - 3, 0)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "#EXT-X-TARGETDURATION:2",
            f"#EXT-X-MEDIA-SEQUENCE:{first}",
        ]
        for number in range(first, end):
            lines += [f"#EXTINF:{seconds},", f"part{number}.ts"]
        return "\n".join([*lines, *([] if live else ["#EXT-X-ENDLIST"]), ""]).encode()


def _handler_of(owner: StreamServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # the player may go away at any time
                self._answer(self.path.strip("/").partition("?")[0])

        def log_message(self, *_: object) -> None:
            """Write nothing."""

        def _answer(self, path: str) -> None:
            account = base64.b64encode(b"kiosk:p@ss").decode()
            if path == "stream.mjpg":
                self._pictures()
            elif path == "film.avi":
                self._send(200, "video/x-msvideo", owner.film.read_bytes())
            elif path.endswith(".m3u8"):
                content = owner.playlist(live=path == "live.m3u8")
                self._send(200, "application/vnd.apple.mpegurl", content)
            elif path.startswith("part"):
                self._send(200, "video/mp2t", owner.segments[int(path[4:-3])])
            elif path == "secret" and self.headers["Authorization"] != f"Basic {account}":
                self._send(401, "text/plain", b"", ("WWW-Authenticate", 'Basic realm="camera"'))
            elif path in ("page", "secret"):
                self._send(200, "text/html; charset=utf-8", b"<title>Camera</title>")
            else:
                self._send(500 if path == "broken" else 404, "text/plain", b"")

        def _send(self, status: int, kind: str, content: bytes, *more: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(content))),
                *more,
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _pictures(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for picture in owner.pictures:
                if not owner.running:
                    return
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")
                time.sleep(1 / FPS)
            self.wfile.write(b"--frame--\r\n")

    return Handler
