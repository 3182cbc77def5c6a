"""The public part of ``edge_mtcnn.serve``: names, signatures, members, fields and defaults.

A change here is a change for users.
"""

from __future__ import annotations

import dataclasses
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from signatures import parameters_of

from edge_mtcnn import FaceDetector, serve
from edge_mtcnn.serve import ServeOptions, Service, ServiceServer

NAMES = [
    "ServeOptions",
    "Service",
    "ServiceServer",
    "address_of",
    "listen",
    "load_serve_options",
]

# Parameters of what a user calls, "*" before those that go by name only.
SIGNATURES = {
    "Service": ["detector", "options", "*", "source", "watch_detector", "watch", "calibration"],
    "Service.end": ["self"],
    "ServiceServer": ["service"],
    "address_of": ["listener"],
    "listen": ["host", "port"],
    "load_serve_options": ["path", "*", "token"],
}

OPTIONS = {
    "host": "127.0.0.1",
    "port": 8080,
    "token": None,
    "hosts": (),
    "origins": (),
    "stream": False,
    "stream_fps": 10.0,
    "docs": True,
    "max_body_bytes": 16_000_000,
    "max_images": 16,
    "max_pixels": 25_000_000,
    "max_total_body_bytes": 64_000_000,
    "detect_seconds": 10.0,
    "workers": 1,
    "waiting": 4,
    "uploads": 16,
    "streams": 32,
    "connections": 256,
    "body_seconds": 15.0,
    "head_seconds": 10.0,
    "write_seconds": 10.0,
    "stale_seconds": 10.0,
}


def find(path: str) -> Any:
    value: Any = serve
    for name in path.split("."):
        value = getattr(value, name)
    return value


def public_members(value: object) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


def test_the_package_exports_exactly_these_names() -> None:
    assert serve.__all__ == NAMES
    assert [name for name in NAMES if getattr(serve, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Servise'"):
        _ = serve.Servise


@pytest.mark.parametrize(("path", "parameters"), SIGNATURES.items(), ids=list(SIGNATURES))
def test_signature(path: str, parameters: list[str]) -> None:
    assert parameters_of(find(path)) == parameters


def test_the_options_have_these_fields_and_defaults_and_no_methods() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(ServeOptions)}
    assert fields == OPTIONS
    assert list(fields) == list(OPTIONS)
    assert public_members(ServeOptions()) == set(OPTIONS)
    assert all(field.kw_only for field in dataclasses.fields(ServeOptions))


def test_a_service_has_these_members_only(default_detector: FaceDetector) -> None:
    service = Service(default_detector)
    assert public_members(service) == {"app", "end", "health", "options", "watcher"}


def test_the_server_adds_no_public_member_to_uvicorns(default_detector: FaceDetector) -> None:
    server = ServiceServer(Service(default_detector))
    plain = uvicorn.Server(uvicorn.Config(server.config.app))
    assert public_members(server) == public_members(plain)


def test_every_public_name_has_a_docstring() -> None:
    assert [path for path in [*NAMES, *SIGNATURES] if not pydoc.getdoc(find(path))] == []


def test_importing_the_package_loads_no_web_package(project_root: Path) -> None:
    program = (
        "import sys, edge_mtcnn.serve;"
        " web = {'starlette', 'uvicorn', 'prometheus_client', 'python_multipart'};"
        " print(sorted(sys.modules.keys() & web))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
