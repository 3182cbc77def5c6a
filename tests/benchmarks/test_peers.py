"""Programs side by side, each in its own process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from figures import run

from benchmarks.common.images import SAMPLES, read_rgb
from benchmarks.peers import __main__ as peers
from benchmarks.peers.contest import compete, ours, over_images, ratios, running, theirs
from benchmarks.peers.specs import PEERS
from benchmarks.peers.worker import ADAPTERS


def test_programs_run_in_turn_in_their_own_processes(tmp_path: Path) -> None:
    images = {name: read_rgb(SAMPLES / f"{name}.jpg") for name in ("astronaut", "chelsea")}
    contestants = [ours("default", 40), ours("reference", 40)]
    with running(contestants, tmp_path, 1) as started:
        assert started == contestants, [contestant.error for contestant in contestants]
        compete(started, images, rounds=2)
    default, reference = contestants
    assert default.faces == {"astronaut": 1, "chelsea": 0}
    assert {name: len(times) for name, times in default.times.items()} == dict.fromkeys(images, 2)
    assert default.rss_mb > 30
    assert default.versions["onnxruntime"]
    by_image = ratios(reference, default)
    assert len(over_images(by_image)) == 2


@pytest.mark.skipif(
    not Path("/proc/thread-self/children").exists(), reason="this system does not list children"
)
def test_a_program_is_stopped_while_it_is_not_its_turn(tmp_path: Path) -> None:
    image = read_rgb(SAMPLES / "chelsea.jpg")
    contestants = [ours("kiosk", None), ours("default", 40)]
    with running(contestants, tmp_path, 1) as started:
        compete(started, {"chelsea": image}, rounds=1)
        # A signal takes effect when the kernel schedules the process, not when it is sent.
        until = time.monotonic() + 10
        while states_of_children().count("T") < len(contestants) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert states_of_children().count("T") == len(contestants)


def states_of_children() -> list[str]:
    """The state letters of the processes that this one started, ``T`` for a stopped one."""
    children = [
        Path("/proc", child, "stat")
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in children if stat.exists()]


def test_a_peer_that_is_not_there_is_left_out_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(
        peers.main, tmp_path / "r.json", "astronaut", "--environments", tmp_path,
        "--peers", "mtcnn-runtime", "yunet", "--preset", "kiosk", "--rounds", "1",
        "--threads", "1",
    )  # fmt: skip
    assert set(found) == {"time/ours kiosk/20/astronaut"}
    told = capsys.readouterr().err
    assert "--setup" in told
    assert "--yunet FILE" in told


def test_yunet_runs_in_the_environment_of_the_project(tmp_path: Path, shared: Path) -> None:
    model = shared / "data" / "peers" / "yunet_n_dynamic.onnx"
    contestants = [ours("default", 40), theirs("yunet", 40, model)]
    with running(contestants, tmp_path, 1) as started:
        compete(started, {"astronaut": read_rgb(SAMPLES / "astronaut.jpg")}, rounds=1)
    assert contestants[1].error is None
    assert contestants[1].faces == {"astronaut": 1}
    assert ratios(contestants[1], contestants[0])["astronaut"][0] > 0


def test_a_program_that_fails_drops_out_with_its_reason(tmp_path: Path) -> None:
    broken = ours("no such preset", 20)
    with running([broken], tmp_path, 1) as started:
        assert started == []
    assert broken.error is not None
    assert "no such preset" in broken.error


def test_every_peer_has_an_adapter_and_pinned_packages() -> None:
    assert len(PEERS) == 8
    for name, peer in PEERS.items():
        assert peer.adapter in ADAPTERS, name
        unpinned = [p for p in (*peer.packages, *peer.alone) if "==" not in p]
        assert set(unpinned) <= {"requests", "tqdm"}, name  # they do not compute
