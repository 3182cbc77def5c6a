"""An HTTP service: faces in images that clients send, and who is in front of the camera.

    from edge_mtcnn import FaceDetector
    from edge_mtcnn.serve import Service, ServiceServer, listen

    service = Service(FaceDetector(), source=0)
    ServiceServer(service).run(sockets=[listen("127.0.0.1", 8080)])

Needs the extra ``serve``; importing this package alone loads none of the web packages. Whatever
``__all__`` does not list here is private and may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_mtcnn.serve.options import ServeOptions, load_serve_options

if TYPE_CHECKING:
    from edge_mtcnn.serve.app import Service
    from edge_mtcnn.serve.server import ServiceServer, address_of, listen

__all__ = [
    "ServeOptions",
    "Service",
    "ServiceServer",
    "address_of",
    "listen",
    "load_serve_options",
]

_LAZY = {"Service": "app", "ServiceServer": "server", "address_of": "server", "listen": "server"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
