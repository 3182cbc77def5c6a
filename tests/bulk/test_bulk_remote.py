"""Inputs from an object store and from a web server, both real and on this machine."""

from __future__ import annotations

import functools
import http.server
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulks import failed, jpeg, photos, run, sources, tar, video

from edge_mtcnn.bulk import Every

pa = pytest.importorskip("pyarrow", reason="needs the extra bulk")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra bulk")
fs = pytest.importorskip("pyarrow.fs", reason="needs the extra bulk")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an empty object store, which the environment names too."""
    pytest.importorskip("moto.server", reason="needs moto: make test-bulk installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < until, "the object store does not start"
                time.sleep(0.2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def bucket(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket with photos, an archive, a table and a video."""
    folder = tmp_path_factory.mktemp("upload")
    photos(folder / "photos", 4)
    (folder / "photos" / "with space+%20.jpg").write_bytes(jpeg(0))
    photos(folder / "photos" / "deep", 1)
    (folder / "shards").mkdir()
    tar(folder / "shards" / "a.tar", 4)
    tar(folder / "shards" / "b.tar.gz", 2, "w:gz")
    table = pa.table({"photo": [jpeg(number) for number in range(6)]})
    pq.write_table(table, folder / "rows.parquet", row_group_size=3)
    video(folder / "lobby.avi", 20)
    (folder / "list.txt").write_text("photos/0000.jpg\nphotos/0001.jpg\n")
    system = fs.S3FileSystem(endpoint_override=store, allow_bucket_creation=True)
    system.create_dir("faces")
    for path in folder.rglob("*"):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            with system.open_output_stream(f"faces/{key}", compression=None) as stream:
                stream.write(path.read_bytes())
    return "s3://faces"


def test_a_bucket_is_listed_and_read(bucket: str, tmp_path: Path) -> None:
    totals, failures = run([f"{bucket}/photos"], tmp_path / "out")
    assert (totals.images, totals.faces, failures) == (5, 3, [])
    expected = [f"{bucket}/photos/{number:04}.jpg" for number in range(4)]
    assert sources(tmp_path / "out") == [*expected, f"{bucket}/photos/with space+%20.jpg"]
    totals, _ = run([f"{bucket}/photos/"], tmp_path / "out", recursive=True)
    assert totals.images == 6


def test_archives_tables_lists_and_videos_are_read_from_a_bucket(
    bucket: str, tmp_path: Path
) -> None:
    inputs = [
        *(f"{bucket}/shards/*.tar*", f"{bucket}/rows.parquet"),
        *(f"{bucket}/lobby.avi", f"{bucket}/list.txt"),
    ]
    totals, failures = run(inputs, tmp_path / "out", batch_size=3, every=Every(frames=5))
    assert failures == []
    assert totals.images == 4 + 2 + 6 + 1 + 2
    names = sources(tmp_path / "out")
    assert f"{bucket}/shards/a.tar/0003.jpg" in names
    assert f"{bucket}/rows.parquet#5" in names


def test_a_bucket_that_is_not_there_is_one_row(bucket: str, tmp_path: Path) -> None:
    inputs = ["s3://nobucket/photos/", f"{bucket}/photos/0000.jpg", f"{bucket}/photos/none.jpg"]
    totals, failures = run(inputs, tmp_path / "out")
    assert (totals.images, len(failures)) == (3, 2)
    errors = failed(tmp_path / "out")
    assert "NO_SUCH_BUCKET" in errors["s3://nobucket/photos/"]
    assert "no such file" in errors[f"{bucket}/photos/none.jpg"]


def test_a_bucket_without_rights_is_one_row(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = photos(tmp_path / "in", 1)
    with http.server.HTTPServer(("127.0.0.1", 0), _Denying) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        totals, failures = run(["s3://locked/photos/", good], tmp_path / "out")
        server.shutdown()
    assert (totals.images, len(failures)) == (2, 1)
    assert "ACCESS_DENIED" in failures[0].error


class _Denying(http.server.BaseHTTPRequestHandler):
    """A store that answers as AWS does to a user without rights."""

    def do_GET(self) -> None:
        body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 -- the name that the server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a web server, for the folder ``site`` of the test."""
    pytest.importorskip("aiohttp", reason="needs the extra bulk")
    photos(tmp_path / "site" / "photos", 3)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_files_and_folders_are_read_from_a_web_server(site: str, tmp_path: Path) -> None:
    tar(tmp_path / "site" / "a.tar", 3)
    inputs = [f"{site}/photos/", f"{site}/a.tar", f"{site}/photos/missing.jpg"]
    totals, failures = run(inputs, tmp_path / "out")
    assert totals.images == 3 + 3 + 1, failures
    assert [failure.source for failure in failures] == [f"{site}/photos/missing.jpg"]


def test_addresses_in_a_table_are_read(site: str, tmp_path: Path) -> None:
    table = pa.table({"url": [f"{site}/photos/000{number}.jpg?size=full" for number in range(3)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    totals, failures = run([tmp_path / "rows.parquet"], tmp_path / "out", column="url")
    assert (totals.images, totals.faces, failures) == (3, 2, [])


def test_a_place_that_nothing_opens_is_one_row(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="needs the extra bulk")
    (good,) = photos(tmp_path / "in", 1)
    totals, failures = run(["nothing://host/photos/", good], tmp_path / "out")
    assert (totals.images, len(failures)) == (2, 1)
    assert "nothing" in failures[0].error
