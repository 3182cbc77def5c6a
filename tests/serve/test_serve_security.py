"""Access control: Host, Origin, token, and the headers of every answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from serving import TOKEN, Running, serving

from edge_mtcnn import FaceDetector
from edge_mtcnn.serve import ServeOptions

APP = "http://shop.local:3000"


@pytest.fixture(scope="module")
def opened(default_detector: FaceDetector) -> Iterator[Running]:
    options = ServeOptions(hosts=("kiosk.local",), origins=(APP,))
    with serving(default_detector, options) as running:
        yield running


@pytest.fixture(scope="module")
def locked(default_detector: FaceDetector) -> Iterator[Running]:
    with serving(default_detector, ServeOptions(token=TOKEN, origins=(APP,))) as running:
        yield running


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:8080", "192.168.1.5", "Kiosk.Local.:80"],
)
def test_a_request_by_address_or_known_name_is_answered(opened: Running, host: str) -> None:
    with opened.client(Host=host) as client:
        assert client.get("/state").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "kiosk.localx", "", "[::"],
)
@pytest.mark.parametrize("path", ["/", "/state", "/healthz"])
def test_a_request_by_another_name_is_refused_so_rebinding_fails(
    opened: Running, host: str, path: str
) -> None:
    with opened.client(Host=host) as client:
        answer = client.get(path)
    assert answer.status_code == 421
    assert "unknown Host" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "x://["])
def test_a_page_of_another_origin_is_refused(opened: Running, origin: str) -> None:
    with opened.client(Origin=origin) as client:
        assert client.get("/state").status_code == 403
        assert client.post("/detect", content=b"x").status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_picture_or_form_in_a_page_of_another_site_is_refused(opened: Running, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    with opened.client(**headers) as client:
        assert client.get("/state").status_code == 403
    with opened.client(**{**headers, "Sec-Fetch-Mode": "navigate"}) as client:
        assert client.get("/state").status_code == 403
        for page in ("/", "/docs"):
            assert client.get(page).status_code == 200, "a link to a page may be followed"


def test_the_page_of_the_service_itself_may_use_it(opened: Running) -> None:
    with opened.client(Origin=opened.url, **{"Sec-Fetch-Site": "same-origin"}) as client:
        assert client.get("/state").status_code == 200


def test_cross_origin_use_is_closed_unless_the_origin_was_allowed(opened: Running) -> None:
    preflight = {"Access-Control-Request-Method": "POST"}
    with opened.client(Origin="http://evil.example", **preflight) as client:
        answer = client.options("/detect")
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    with opened.client(Origin=APP, **preflight) as client:
        answer = client.options("/detect")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == APP
    with opened.client(Origin=APP, **{"Sec-Fetch-Site": "cross-site"}) as client:
        answer = client.get("/state")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == APP
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/app.js", "/style.css", "/docs", "/state", "/metrics", "/nothing", "/detect"]
)
def test_every_answer_carries_the_security_headers(opened: Running, path: str) -> None:
    with opened.client() as client:
        headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/state", "/events", "/stream", "/metrics", "/nothing"])
def test_without_the_token_nothing_is_revealed(locked: Running, path: str) -> None:
    with locked.client() as client:
        answer = client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_the_token_no_image_is_searched(
    locked: Running, sample_path: Callable[[str], Path]
) -> None:
    image = sample_path("astronaut").read_bytes()
    with locked.client() as client:
        assert client.post("/detect", content=image).status_code == 401
        allowed = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/detect", content=image, headers=allowed).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/app.js", "/style.css", "/docs", "/docs.js", "/docs.css", "/healthz", "/openapi.json"],
)
def test_page_and_health_need_no_token_and_do_not_reveal_it(locked: Running, path: str) -> None:
    with locked.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
    ],
)
def test_a_wrong_token_is_refused(locked: Running, value: str) -> None:
    with locked.client(Authorization=value) as client:
        assert client.get("/state").status_code == 401
        assert client.post("/session").status_code == 401


def test_a_token_of_odd_bytes_is_refused(locked: Running) -> None:
    headers = [(b"Authorization", b"Bearer \xff\xfe\xe4")]
    answer = httpx.get(f"{locked.url}/state", headers=headers, trust_env=False)
    assert answer.status_code == 401


def test_a_browser_exchanges_the_token_for_a_cookie_that_is_not_the_token(locked: Running) -> None:
    with locked.client() as client:
        answer = client.post("/session", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/state").status_code == 200
        client.cookies.set("edge_mtcnn_session", "0" * 64, domain="127.0.0.1")
    with locked.client(Cookie="edge_mtcnn_session=" + "0" * 64) as client:
        assert client.get("/state").status_code == 401


def test_a_preflight_of_an_allowed_origin_needs_no_token(locked: Running) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    with locked.client(**headers) as client:
        assert client.options("/state").status_code == 200
    with locked.client(Origin=APP) as client:
        answer = client.get("/state")
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == APP


def test_the_token_is_never_logged(locked: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), locked.client(Authorization=f"Bearer {TOKEN}") as client:
        client.get("/state")
        client.post("/session")
        client.get(f"/nothing?token={TOKEN}")
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    ]
    assert [record.getMessage() for record in ours if TOKEN in record.getMessage()] == []
