"""Options of the service: ranges, and that only this machine is reached without a token."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge_mtcnn import OptionsError
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.serve.options import is_loopback

TOKEN = "correct-horse-battery-staple"


def test_the_defaults_listen_on_this_machine_only_and_show_no_picture() -> None:
    options = ServeOptions()
    assert options.host == "127.0.0.1"
    assert options.stream is False
    assert options.origins == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    ServeOptions(host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "kiosk.local", ""])
def test_any_other_address_needs_a_token(host: str) -> None:
    with pytest.raises(OptionsError, match="give a token"):
        ServeOptions(host=host)
    ServeOptions(host=host, token=TOKEN)


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters"])
def test_a_short_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(OptionsError, match="at least 16 characters") as caught:
        ServeOptions(token=token)
    assert not token or token not in str(caught.value)


def test_a_token_with_spaces_is_refused_and_not_shown() -> None:
    with pytest.raises(OptionsError, match="without spaces") as caught:
        ServeOptions(token="correct horse battery")
    assert "battery" not in str(caught.value)


def test_the_token_is_not_in_the_representation() -> None:
    assert TOKEN not in repr(ServeOptions(token=TOKEN))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("stream", 1),
        ("stream_fps", 0),
        ("max_body_bytes", 1000),
        ("max_pixels", 0),
        ("workers", 0),
        ("waiting", -1),
        ("uploads", 0),
        ("streams", 0),
        ("connections", 1),
        ("max_total_body_bytes", 0),
        ("detect_seconds", 0),
        ("detect_seconds", 3601),
        ("detect_seconds", float("inf")),
        ("body_seconds", 0),
        ("head_seconds", float("nan")),
        ("write_seconds", 1e9),
        ("stale_seconds", 0.1),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=rf"{name} must be .*{re.escape(repr(value))}"):
        ServeOptions(**{name: value})


@pytest.mark.parametrize("origin", ["kiosk.local", "http://kiosk.local/", "*", "ftp://a", "null"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(OptionsError, match="origins must be"):
        ServeOptions(origins=(origin,))


@pytest.mark.parametrize("name", ["kiosk.local:80", "*", "http://kiosk", "a b", "-x", ""])
def test_a_host_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(OptionsError, match="hosts must be names"):
        ServeOptions(hosts=(name,))
