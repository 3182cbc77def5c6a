"""A real RTSP server: a moving ball as H.264, or a film, which announces its length and ends.

Run with Debian's own Python and the packages python3-gi, gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-base, -good and -ugly: ``/usr/bin/python3 rtsp_server.py PORT``, followed by
the film, an AVI file of JPEG frames or empty, and by ``user:password`` that clients must give.
"""

from __future__ import annotations

import sys

import gi  # type: ignore[import-not-found,unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

BALL = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=20/1"
FILM = 'filesrc location="{}" ! avidemux ! jpegdec ! videoconvert'
ENCODER = (
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96"
)


def main() -> None:
    """Serve ``rtsp://127.0.0.1:PORT/camera``."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    film = sys.argv[2] if len(sys.argv) > 2 else ""
    factory.set_launch(f"( {FILM.format(film) if film else BALL}{ENCODER} )")
    factory.set_shared(True)
    if len(sys.argv) > 3:
        _require_account(server, factory, *sys.argv[3].split(":"))
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    GLib.MainLoop().run()


def _require_account(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, word: str
) -> None:
    access = GstRtspServer.RTSPAuth()
    access.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    access.add_digest(user, word, token)
    server.set_auth(access)
    factory.add_role_from_structure(
        Gst.Structure.from_string(
            "viewer, media.factory.access=true, media.factory.construct=true"
        )[0]
    )


if __name__ == "__main__":
    main()
