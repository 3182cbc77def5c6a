"""The part of ``peers`` about video: a webcam's frames, each program once on every frame, in turn.

For a kiosk, the time per frame matters, and the number of frames in which the face was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import Result, Target, table
from benchmarks.common.timing import pair_ratios, spread
from benchmarks.peers.contest import Contestant, Pixels, ours, running, theirs
from benchmarks.peers.process import DETECTING_SECONDS, PeerError
from edge_mtcnn.speed.timing import percentile

WARM_UP_FRAMES = 5
TARGET = ("mediapipe", "kiosk", 1.0)


def video_contest(
    options: argparse.Namespace,
) -> tuple[list[Result], list[dict[str, Any]], list[Target]]:
    """Run the presets, with their own smallest faces, and the peers on frames of the video."""
    width, height = options.frame_size
    frames = read_frames(options.video, options.frames, (width, height))
    own = [ours(preset, None) for preset in options.preset]
    peers = [theirs(name, options.min_face[0], options.yunet) for name in options.peers]
    with running([*own, *peers], options.environments, options.threads) as started:
        _follow(started, frames)
    for contestant in own:
        if contestant.error is not None:
            raise BenchmarkError(f"{contestant.name}: {contestant.error}")
    results = _results(own, peers)
    _print(own, peers, len(frames))
    described = {"name": options.video.name, "width": width, "height": height}
    return results, [{**described, "frames": len(frames)}], _targets(own, peers)


def read_frames(file: Path, count: int, size: tuple[int, int]) -> Pixels:
    """``count`` frames, evenly spread, as (count, height, width, 3) RGB.

    Raises:
        BenchmarkError: the video cannot be read.
    """
    video = cv2.VideoCapture(str(file))
    frames = []
    while True:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame)
    video.release()
    if not frames:
        raise BenchmarkError(f"cannot read the video {file}")
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    scaled = [cv2.resize(frames[i], size, interpolation=cv2.INTER_LINEAR) for i in chosen.tolist()]
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in scaled])


def _follow(contestants: list[Contestant], frames: Pixels) -> None:
    """Every contestant on every frame; ``faces`` counts the frames with a face."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames.npy"
        np.save(file, frames)
        for contestant in contestants:
            contestant.faces["frames"] = 0
            contestant.times["frames"] = []
            try:
                contestant.ask(DETECTING_SECONDS, do="load", path=str(file))
            except PeerError as error:
                contestant.drop(error)
        warm_up = ((index, False) for index in range(WARM_UP_FRAMES))
        for index, counts in (*warm_up, *((index, True) for index in range(len(frames)))):
            for contestant in contestants:
                if contestant.error is not None:
                    continue
                try:
                    taken, faces = contestant.detect(index, 1)
                except PeerError as error:
                    contestant.drop(error)
                    continue
                if counts:
                    contestant.times["frames"] += taken
                    contestant.faces["frames"] += faces > 0


def _results(own: list[Contestant], peers: list[Contestant]) -> list[Result]:
    results = []
    for contestant in (*own, *peers):
        if contestant.error is not None:
            print(f"left out: {contestant.peer.title}: {contestant.error}", file=sys.stderr)
            continue
        times = contestant.times["frames"]
        detail = {
            "title": contestant.peer.title,
            "frames_with_a_face": contestant.faces["frames"],
            "p95_ms": percentile(times, 0.95),
            "rss_mb": contestant.rss_mb,
            "versions": contestant.versions,
            "note": contestant.peer.note,
        }
        name, value = f"video/{contestant.name}", spread(times).median
        samples = tuple(round(taken, 3) for taken in times)
        results.append(
            Result(name=name, unit="ms", value=value, samples=samples, better="none", detail=detail)
        )
    for mine in own:
        for peer in peers:
            if peer.error is None:
                ratios = pair_ratios(peer.times["frames"], mine.times["frames"])
                name = f"video ratio/{peer.name}/{mine.request['preset']}"
                samples = tuple(round(ratio, 4) for ratio in ratios)
                value = spread(ratios).median
                results.append(
                    Result(name=name, unit="x", value=value, samples=samples, better="higher")
                )
    return results


def _print(own: list[Contestant], peers: list[Contestant], count: int) -> None:
    rows = [
        (c.name, *spread(c.times["frames"]), f"{c.faces['frames']} of {count}", c.rss_mb)
        for c in (*own, *peers)
        if c.error is None
    ]
    header = ("program", "ms low quartile", "ms median", "high", "frames with a face", "RSS MB")
    print(table(rows, header))


def _targets(own: list[Contestant], peers: list[Contestant]) -> list[Target]:
    """The speed only counts if the face is found in at least as many frames."""
    peer_name, preset, limit = TARGET
    peer = next((p for p in peers if p.name == peer_name and p.error is None), None)
    mine = next((o for o in own if o.request["preset"] == preset), None)
    ratio = gain = None
    if peer is not None and mine is not None:
        ratio = spread(pair_ratios(peer.times["frames"], mine.times["frames"])).median
        gain = float(mine.faces["frames"] - peer.faces["frames"])
    name = f"{preset}: time of {peer_name} divided by ours"
    more = f"{preset}: frames with a face beyond those of {peer_name}"
    return [
        Target(name=name, limit=limit, at_least=True, value=ratio),
        Target(name=more, limit=0.0, at_least=True, value=gain),
    ]
