"""Forms and JSON sent to ``POST /detect``: their images, their errors, and the limits."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from serving import Running, serving, wait_for
from starlette.exceptions import HTTPException

from edge_mtcnn import FaceDetector, read_image
from edge_mtcnn.serve import ServeOptions
from edge_mtcnn.serve.bodies import image_bytes, images_in

LIMIT = 2_000_000
FORM = "multipart/form-data; boundary=b"
JSON = "application/json"


@pytest.fixture(scope="module")
def running(default_detector: FaceDetector) -> Iterator[Running]:
    options = ServeOptions(max_body_bytes=LIMIT, max_pixels=600_000, max_images=4, body_seconds=1.0)
    with serving(default_detector, options) as service:
        yield service


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> bytes:
    return sample_path("astronaut").read_bytes()


@pytest.fixture(scope="module")
def blank() -> bytes:
    return cv2.imencode(".png", np.full((40, 40, 3), 128, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def found(running: Running, photo: bytes) -> Any:
    """What the service answers for the photo as the body."""
    with running.client() as client:
        return client.post("/detect", content=photo).json()


def send_form(running: Running, *files: tuple[str, Any], query: str = "") -> httpx.Response:
    with running.client() as client:
        return client.post(f"/detect{query}", files=list(files))


def send_json(running: Running, content: Any, query: str = "") -> httpx.Response:
    with running.client(**{"Content-Type": JSON}) as client:
        return client.post(f"/detect{query}", content=json.dumps(content).encode("ascii"))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def refusal(body: bytes, kind: str, most: int = 4) -> HTTPException:
    with pytest.raises(HTTPException) as caught:
        images_in(body, kind, most)
    return caught.value


# ---- one image and several


@pytest.mark.parametrize("field", ["image", "file", "photo", ""])
def test_a_form_with_one_file_is_answered_as_the_file_itself(
    running: Running, photo: bytes, found: Any, field: str
) -> None:
    answer = send_form(running, (field, ("a.jpg", photo, "image/jpeg")))
    assert answer.status_code == 200
    assert answer.json() == found
    assert len(found["faces"]) == 1


def test_several_files_have_one_result_each_in_order(
    running: Running, photo: bytes, blank: bytes, found: Any
) -> None:
    files = [("image", (f"{n}", data)) for n, data in enumerate([photo, blank, photo])]
    answer = send_form(running, *files)
    empty = {"width": 40, "height": 40, "faces": []}
    assert answer.json() == {"results": [found, empty, found]}


def test_the_name_images_gives_results_also_for_one(
    running: Running, photo: bytes, found: Any
) -> None:
    for name in ("images", "images[]"):
        assert send_form(running, (name, ("a.jpg", photo))).json() == {"results": [found]}
    assert send_json(running, {"images": [text(photo)]}).json() == {"results": [found]}


def test_a_field_without_a_file_name_may_hold_an_image(photo: bytes) -> None:
    upload = images_in(part("image", photo) + b"--b--\r\n", FORM, 4)
    assert (upload.images, upload.several) == ([photo], False)


def test_a_file_field_that_was_left_empty_is_no_image(photo: bytes) -> None:
    body = part("image", b"", "") + part("image", photo, "a.jpg") + b"--b--"
    assert images_in(body, FORM, 4).images == [photo]
    assert "no image" in refusal(part("image", b"", "") + b"--b--", FORM).detail


@pytest.mark.parametrize("break_lines", [False, True])
@pytest.mark.parametrize("head", ["", "data:image/jpeg;base64,", "DATA:;BASE64,"])
def test_json_holds_base64_or_a_data_url(
    running: Running, photo: bytes, found: Any, head: str, break_lines: bool
) -> None:
    encoded = base64.encodebytes(photo).decode("ascii") if break_lines else text(photo)
    answer = send_json(running, {"image": head + encoded})
    assert answer.status_code == 200
    assert answer.json() == found


def test_base64_of_addresses_and_without_padding_is_read() -> None:
    for data in (b"\xff\xfe\xfd\xfb", b"\xff\xfe\xfd", b"\xfb\xff"):
        for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
            assert image_bytes(encoded.decode("ascii")) == data
            assert image_bytes(encoded.decode("ascii").rstrip("=")) == data


def test_an_image_that_cannot_be_searched_has_an_error_among_the_results(
    running: Running, photo: bytes, found: Any
) -> None:
    bitmap = cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    large = cv2.imencode(".png", np.zeros((1000, 1000, 3), np.uint8))[1].tobytes()
    images = [b"no image", bitmap, large, photo]
    by_form = send_form(running, *[("image", (str(n), data)) for n, data in enumerate(images)])
    by_json = send_json(running, {"images": [*map(text, images)]})
    assert by_form.status_code == by_json.status_code == 200
    results = by_form.json()["results"]
    assert results == by_json.json()["results"]
    assert [result.get("status") for result in results] == [422, 415, 413, None]
    assert results[3] == found
    assert "BMP" in results[1]["error"]


def test_one_image_that_cannot_be_searched_is_refused(running: Running) -> None:
    assert send_form(running, ("image", ("a", b"no image"))).status_code == 422
    assert send_json(running, {"image": text(b"no image")}).status_code == 422
    assert send_json(running, {"image": ""}).status_code == 422


def test_options_hold_for_every_image(running: Running, photo: bytes) -> None:
    files = [("image", ("a", photo)), ("image", ("b", photo))]
    results = send_form(running, *files, query="?confidence=1").json()["results"]
    assert [result["faces"] for result in results] == [[], []]
    results = send_form(running, *files, query="?crops=1").json()["results"]
    assert all(len(face["crop"]) > 1000 for result in results for face in result["faces"])


def test_one_picture_is_drawn_and_not_several(running: Running, photo: bytes) -> None:
    drawn = send_form(running, ("image", ("a", photo)), query="?annotate=1")
    assert drawn.headers["content-type"] == "image/jpeg"
    assert send_json(running, {"image": text(photo)}, "?annotate=1").content == drawn.content
    refused = send_json(running, {"images": [text(photo)]}, "?annotate=1")
    assert refused.status_code == 400
    assert "one image" in refused.json()["error"]


# ---- what is wrong with a body


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("hi there!", "the character '!' at 7"),
        ("aGk\u00e9", "the character 'é' at 3"),
        ("\ud800", r"the character '\ud800' at 0"),
        ("a=Gk", "the character '=' at 1"),
        ("aGkab", "cut short after 5 characters"),
        ("data:image/png,aGk=", "must be like data:image/jpeg;base64"),
        ("data:image/png;base64", "must be like data:image/jpeg;base64"),
        ("https://host/photo.jpg", "fetches no addresses"),
    ],
)
def test_text_that_is_no_base64_is_named(running: Running, image: str, expected: str) -> None:
    one = send_json(running, {"image": image})
    assert one.status_code == 400
    assert expected in one.json()["error"]
    (result,) = send_json(running, {"images": [image]}).json()["results"]
    assert result == {"error": one.json()["error"], "status": 400}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "the JSON must be"),
        ("null", "the JSON must be"),
        ('"aGk="', "the JSON must be"),
        ("{}", "the JSON must be"),
        ('{"image": "aGk=", "images": []}', "the JSON must be"),
        ('{"imag": "aGk="}', "unknown entry 'imag': did you mean image?"),
        ('{"image": "aGk=", "confidence": 1}', "options belong into the query"),
        ('{"image": "aGk=", "image": "aGk="}', "an entry twice"),
        ('{"image": ["aGk="]}', "image must be a string"),
        ('{"image": null}', "image must be a string"),
        ('{"images": "aGk="}', "images must be a list"),
        ('{"images": ["aGk=", 1]}', "images must be a list"),
        ('{"images": []}', "no image"),
        ('{"image": "\u00e9"}', "must be ASCII"),
        ('{"image": ' + 9_000 * "[" + 9_000 * "]" + "}", "nested too deeply"),
        ('{"images": [' + 400_000 * "[]," + "[]]}", "too many values"),
        ('{"image": ' + 900_000 * "9" + "}", "image must be a string"),
    ],
)
def test_json_of_another_kind_is_refused_and_named(
    running: Running, body: str, expected: str
) -> None:
    with running.client(**{"Content-Type": JSON}) as client:
        answer = client.post("/detect", content=body.encode("utf-8"))
    assert answer.status_code == 400
    assert expected in answer.json()["error"]
    assert len(answer.json()["error"]) < 300


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "the form is cut short"),
        (part("image", b"x", "a"), "the form is cut short"),
        (b"--b\r\nContent-Disp", "the form is cut short"),
        (b"--b--", "no image"),
        (b"nothing of a form", "not a valid form"),
        (b"--b\r\n" + 20 * b"a: b\r\n" + b"\r\nx\r\n--b--", "not a valid form"),
        (b"--b\r\na: " + 9_000 * b"b" + b"\r\n\r\nx\r\n--b--", "not a valid form"),
        (part("imag", b"x") + b"--b--", "unknown form field 'imag': did you mean image?"),
        (part("confidence", b"1") + b"--b--", "options belong into the query"),
        (b"--b\r\n\r\nx\r\n--b--", "unknown form field ''"),
    ],
)
def test_a_form_of_another_kind_is_refused_and_named(body: bytes, expected: str) -> None:
    found = refusal(body, FORM)
    assert found.status_code == 400
    assert expected in found.detail
    assert len(found.detail) < 300


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", f"{FORM}{300 * 'b'}"]
)
def test_a_form_needs_a_boundary(kind: str) -> None:
    assert "boundary" in refusal(part("image", b"x", "a") + b"--b--", kind).detail


def test_another_kind_of_multipart_is_refused() -> None:
    assert refusal(b"--b--", "multipart/mixed; boundary=b").status_code == 415


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x" * 999])
def test_a_compressed_body_is_refused(running: Running, photo: bytes, coding: str) -> None:
    with running.client(**{"Content-Encoding": coding}) as client:
        answer = client.post("/detect", content=photo)
    assert answer.status_code == 415
    assert f"Content-Encoding {coding[:40]} is not supported" in answer.json()["error"]
    assert answer.headers["accept-encoding"] == "identity"


def test_the_coding_identity_is_none(running: Running, photo: bytes) -> None:
    with running.client(**{"Content-Encoding": "Identity"}) as client:
        assert client.post("/detect", content=photo).status_code == 200


# ---- limits


def test_the_number_of_images_is_limited(running: Running, blank: bytes) -> None:
    for count, status in ((4, 200), (5, 413), (100, 413)):
        files = [("image", (str(n), blank)) for n in range(count)]
        assert send_form(running, *files).status_code == status
        answer = send_json(running, {"images": count * [text(blank)]})
        assert answer.status_code == status
    assert "more than 4 images" in answer.json()["error"]
    empty = 1000 * part("image", b"", "") + b"--b--"
    assert refusal(empty, FORM).status_code == 413


def test_the_bytes_of_a_form_and_of_json_are_limited(running: Running) -> None:
    assert send_form(running, ("image", ("a", bytes(LIMIT)))).status_code == 413
    half = ("image", ("a", bytes(LIMIT // 2)))
    assert send_form(running, half, half).status_code == 413
    assert send_json(running, {"image": LIMIT * "A"}).status_code == 413


def test_a_form_that_does_not_arrive_is_408(running: Running) -> None:
    head = f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as peer:
        peer.sendall(f"{head}Content-Length: 1000\r\n\r\n--b\r\n".encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_picture_of_gigabytes_is_refused_among_others(
    running: Running, photo: bytes, found: Any
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    answer = send_json(running, {"images": [text(bomb), text(photo)]}).json()["results"]
    assert answer[0]["status"] == 413
    assert answer[1] == found


def test_the_images_of_a_request_share_its_time(
    default_detector: FaceDetector, sample_path: Callable[[str], Path], blank: bytes
) -> None:
    crop = read_image(sample_path("astronaut"))[60:176, 175:270, ::-1]
    tile = cv2.resize(crop, (28, 28), interpolation=cv2.INTER_AREA)
    slow = cv2.imencode(".jpg", np.tile(tile, (71, 71, 1)))[1].tobytes()
    options = ServeOptions(detect_seconds=0.3, max_body_bytes=64_000_000)
    with serving(default_detector, options) as running:
        started = time.monotonic()
        answer = send_form(running, *[("image", (str(n), slow)) for n in range(6)])
        assert time.monotonic() - started < 5  # one of them alone takes longer
        assert [result["status"] for result in answer.json()["results"]] == 6 * [503]
        assert send_form(running, ("images", ("a", blank))).json()["results"][0]["faces"] == []


@pytest.mark.parametrize(
    "body",
    [
        part("image", 400_000 * b"\r\n--a", "a") + b"--b--",
        part("image", 1_000_000 * b"\r\n", "a") + b"--b--",
        400_000 * b"\r\n--b" + b"--b--",
    ],
)
def test_a_hostile_form_takes_little_time_and_memory(body: bytes) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    with contextlib.suppress(HTTPException):
        images_in(body, FORM, 16)
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 2 * len(body) + 1_000_000


@pytest.mark.parametrize(
    "item", ["[],", "{},", '"",', "1,", '{"a":1},', "[[[[[],", '"\\u0041",', "1e9,"]
)
def test_hostile_json_takes_little_time_and_memory(item: str) -> None:
    body = b'{"images": [' + (4_000_000 // len(item)) * item.encode() + b'""]}'
    tracemalloc.start()
    started = time.perf_counter()
    assert refusal(body, JSON).status_code == 400
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 3 * len(body)


# ---- answers


def test_an_answer_is_counted_until_it_is_read(
    default_detector: FaceDetector, sample_path: Callable[[str], Path]
) -> None:
    image = np.tile(read_image(sample_path("astronaut"))[:, :, ::-1], (6, 6, 1))
    body = cv2.imencode(".jpg", image)[1].tobytes()
    head = f"POST /detect?annotate=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    options = ServeOptions(max_total_body_bytes=3_000_000, body_seconds=2.0, write_seconds=60)
    with serving(default_detector, options) as running:
        bodies = running.service._detection.bodies
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            peer.settimeout(10)
            peer.connect(("127.0.0.1", running.port))
            peer.sendall(f"{head}Accept: image/png\r\n\r\n".encode() + body)
            held = wait_for(lambda: bodies.taken > len(body) and bodies.taken)
            assert held > options.max_total_body_bytes, "one answer always fits"
            busy = send_form(running, ("image", ("a", body)))
            assert busy.status_code == 429
            # The time for receiving an answer is limited, so nobody can hold the bytes for long.
            wait_for(lambda: bodies.taken == 0, 10)
        drawn = send_form(running, ("image", ("a", body)), query="?annotate=1")
        assert drawn.status_code == 200
        assert bodies.taken == 0


def test_a_client_that_leaves_frees_the_answer(
    default_detector: FaceDetector, photo: bytes
) -> None:
    head = (
        f"POST /detect?crops=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    )
    with serving(default_detector) as running:
        detection = running.service._detection
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", running.port)) as peer:
                peer.sendall(head.encode() + photo)
                wait_for(lambda: detection.images.taken)
        wait_for(lambda: detection.images.taken == 0)
        assert detection.bodies.taken == 0


def test_the_answer_of_a_plain_request_did_not_change(found: Any) -> None:
    (face,) = found["faces"]
    assert set(face) == {"angle", "box", "box_xyxy", "confidence", "keypoints", "score"}
    assert json.dumps(found).isascii()
