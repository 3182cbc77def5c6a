"""The public face of ``edge_mtcnn.serve``: names, members, signatures, options."""

from __future__ import annotations

import dataclasses

from signatures import parameters_of

import edge_mtcnn.serve as serve

NAMES = ["ServeOptions", "Service", "ServiceServer", "address_of", "listen"]
SIGNATURES = {
    "Service": ["detector", "options", "*", "source", "watch_detector", "watch"],
    "ServiceServer": ["service"],
    "address_of": ["listener"],
    "listen": ["host", "port"],
}
OPTIONS = {
    "host": "127.0.0.1",
    "port": 8080,
    "token": None,
    "hosts": (),
    "origins": (),
    "stream": False,
    "stream_fps": 10.0,
    "max_body_bytes": 16_000_000,
    "max_total_body_bytes": 64_000_000,
    "max_pixels": 25_000_000,
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


def test_the_package_exports_exactly_these_names() -> None:
    assert sorted(serve.__all__) == NAMES
    assert all(getattr(serve, name).__doc__ for name in NAMES)


def test_signatures() -> None:
    assert {name: parameters_of(getattr(serve, name)) for name in SIGNATURES} == SIGNATURES


def test_the_options_and_their_defaults() -> None:
    assert {
        field.name: field.default for field in dataclasses.fields(serve.ServeOptions)
    } == OPTIONS


def test_a_service_has_these_members_only() -> None:
    members = {name for name in dir(serve.Service) if not name.startswith("_")}
    assert members == SERVICE_METHODS


SERVICE_METHODS = {"end", "health"}
