"""The engine ``ray`` on a cluster of this machine: the same rows as ``local``, whatever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bulks import failed, photos, rows, run, sources, tar, video

from edge_mtcnn import OptionsError
from edge_mtcnn.bulk import EngineOptions, Every, Listener, run_bulk
from edge_mtcnn.bulk import on_ray as on_ray_module

ray = pytest.importorskip("ray", reason="needs ray: make test-bulk installs it")
psutil = pytest.importorskip("psutil", reason="needs psutil")

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and files to the garbage collector, and warns of its own arguments.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One cluster of two processors for all tests."""
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent.parent)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def on_ray(**more: Any) -> EngineOptions:
    return EngineOptions(engine="ray", **{"batch_size": 8, **more})


def workers() -> list[Any]:
    """The processes of the actors that search."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("MapWorker" in part for part in process.info["cmdline"] or ())
    ]


def test_the_rows_are_those_of_the_local_engine(tmp_path: Path) -> None:
    photos(tmp_path / "in", 20)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no image")
    inputs = [
        *(tmp_path / "in", tar(tmp_path / "a.tar", 10), tmp_path / "missing.jpg"),
        *(video(tmp_path / "lobby.avi", 20), tmp_path / "nowhere"),
    ]
    more: dict[str, Any] = {"every": Every(frames=5), "crops": True}
    run(inputs, tmp_path / "local", **more)
    totals, failures = run(inputs, tmp_path / "ray", engine=on_ray(), **more)
    assert totals.images == 20 + 1 + 10 + 1 + 1 + 1
    assert len(failures) == 3
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    parts = [sorted(p.name for p in (tmp_path / e / "crops").iterdir()) for e in ("ray", "local")]
    assert parts[0] == parts[1]


def test_one_engine_continues_what_the_other_has_begun(tmp_path: Path) -> None:
    photos(tmp_path / "in", 32)
    run([tmp_path / "in"], tmp_path / "local")
    stop = threading.Event()
    listener = Listener(searched=lambda _: stop.set())
    first = run_bulk(
        [tmp_path / "in"], tmp_path / "out", engine=on_ray(), listener=listener, stop=stop
    )
    assert first.images > 0
    run([tmp_path / "in"], tmp_path / "out")
    assert rows(tmp_path / "out") == rows(tmp_path / "local")


def test_a_stop_leaves_what_was_not_begun(tmp_path: Path) -> None:
    photos(tmp_path / "in", 200)
    stop = threading.Event()
    engine = on_ray(batch_size=4, limit_rate=40)
    listener = Listener(searched=lambda _: stop.set())
    first = run_bulk(
        [tmp_path / "in"], tmp_path / "out", engine=engine, listener=listener, stop=stop
    )
    assert 0 < first.images < 200


def test_workers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "in", 120)
    run([tmp_path / "in"], tmp_path / "local")
    killed: list[int] = []

    def kill(_: int) -> None:
        if len(killed) < 3:
            for process in workers()[:1]:
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)

    engine = on_ray(limit_rate=60)
    totals = run_bulk(
        [tmp_path / "in"], tmp_path / "out", engine=engine, listener=Listener(searched=kill)
    )
    assert len(killed) == 3
    assert (totals.images, totals.failed) == (120, 0)
    assert rows(tmp_path / "out") == rows(tmp_path / "local")


def test_an_input_that_kills_its_process_fails_and_all_others_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = photos(tmp_path / "in", 12)

    class Deadly(on_ray_module._Worker):
        """A real worker that a decoder kills when it comes to one image."""

        def __call__(self, batch: Any) -> Any:
            if "0005.jpg" in batch["shard"][0].as_py():
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    monkeypatch.setattr(on_ray_module, "_Worker", Deadly)
    engine = on_ray(batch_size=3, retries=1)
    totals, failures = run(paths, tmp_path / "out", engine=engine)
    assert (totals.images, totals.failed) == (12, 3)
    assert sorted(failed(tmp_path / "out")) == [str(path) for path in paths[3:6]]
    assert all("has died again and again" in failure.error for failure in failures)
    monkeypatch.undo()
    totals, failures = run(paths, tmp_path / "out", engine=engine, retry_failed=True)
    assert (totals.images, failures) == (12, [])


def test_more_threads_than_processors_are_refused(tmp_path: Path) -> None:
    from edge_mtcnn import FaceDetector, RuntimeOptions

    photos(tmp_path / "in", 1)
    with (
        FaceDetector(runtime=RuntimeOptions(threads=64)) as detector,
        pytest.raises(OptionsError, match="--threads 64 is more than"),
    ):
        run([tmp_path / "in"], tmp_path / "out", engine=on_ray(), detector=detector)


def test_a_limit_of_the_rate_holds_for_all_workers_together(tmp_path: Path) -> None:
    paths = photos(tmp_path / "in", 40)
    times: list[float] = []
    listener = Listener(searched=lambda _: times.append(time.monotonic()))
    engine = on_ray(batch_size=5, limit_rate=20)
    run_bulk(paths, tmp_path / "out", engine=engine, listener=listener)
    assert sources(tmp_path / "out") == [str(path) for path in paths]
    # The first batches of both workers end together, and the last ones thirty images later.
    assert times[-1] - times[0] >= 30 / 20 * 0.9
