"""Compare following faces through a video with full detection in every frame: time, and faces lost.

The three videos show a man at a webcam, a crowd, and bottles without any face. Blocks of frames go
through full detection, tracking and MediaPipe in turn, so that drift of the machine affects all
alike. ``--pictures DIR`` writes every tenth frame of the crowd with the ids of its tracks, for
counting identity switches by eye.

    python -m benchmarks.tracking --output tracking.json

Needs the videos of the data folder beside the project; MediaPipe is left out unless
``python -m benchmarks.peers --setup --peers mediapipe`` has installed it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common.images import DATA, Pixels
from benchmarks.common.program import BenchmarkError, script, script_parser
from benchmarks.common.results import (
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)
from benchmarks.peers.contest import running, theirs
from benchmarks.peers.process import DETECTING_SECONDS, ENVIRONMENTS, PeerError
from edge_mtcnn import DetectorOptions, FaceDetector, Faces
from edge_mtcnn.video import FaceAppeared, FaceTracker, Track
from edge_mtcnn.video.presence import Presence
from edge_mtcnn.video.tracking.tracks import continuous_iou

WEBCAM = DATA / "video" / "aittsmd_video_test.avi"
CROWD = DATA / "video" / "facenet_pytorch_video.mp4"
BOTTLES = DATA / "video" / "intel_bottle-detection_noface.mp4"
BLOCK = 60
CERTAIN = 0.5
"""Lowest score of a fully detected face that tracking should also find."""
SAME_FACE = 0.5
LONGEST_BREAK = 1.0
"""Seconds after which a returning face may have a new id."""


@dataclass
class Run:
    """One video through full detection and tracking.

    Attributes:
        full_ms, tracking_ms, peer_ms: time of each frame, milliseconds.
        faces: number of faces of full detection, in all frames.
        kept: number of them that tracking also found.
        with_face: number of frames with a face by full detection, and of these with a track.
        ids: times at which each confirmed track was seen.
        appeared: number of persons that appeared.
    """

    fps: float
    full_ms: list[float] = field(default_factory=list)
    tracking_ms: list[float] = field(default_factory=list)
    peer_ms: list[float] = field(default_factory=list)
    faces: int = 0
    kept: int = 0
    with_face: list[int] = field(default_factory=lambda: [0, 0])
    ids: dict[int, list[float]] = field(default_factory=dict)
    appeared: int = 0

    @property
    def new_ids(self) -> int:
        """Ids that began while another was there, or within the longest break after it ended."""
        spans = sorted((times[0], times[-1]) for times in self.ids.values())
        return sum(
            start - max(end for _, end in spans[:place]) <= LONGEST_BREAK
            for place, (start, _) in enumerate(spans)
            if place
        )


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = script_parser("benchmarks.tracking", __doc__)
    parser.add_argument("--min-face", type=int, default=40, help="smallest face, pixels (40)")
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS, help="folder of the peers' environments"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write every tenth frame of the crowd"
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    runs = _measure(options)
    _print(runs)
    targets = _targets(runs)
    print("\n" + target_table(targets))
    results = [
        Result(name=f"{name}/{what}", unit="ms", value=statistics.median(times))
        for name, run in runs.items()
        for what, times in (("full", run.full_ms), ("tracking", run.tracking_ms))
    ]
    settings = {"min_face": options.min_face, "preset": "kiosk"}
    save(document("tracking", results, settings=settings, targets=targets), options.output)
    return 0 if all(target.reached is not False for target in targets) else 1


def _measure(options: argparse.Namespace) -> dict[str, Run]:
    kiosk = DetectorOptions.from_preset("kiosk")
    runs = {}
    with FaceDetector(replace(kiosk, min_face_size=options.min_face, confidence=0.0)) as detector:
        threads = int(detector.info()["threads"])
        runs["webcam"] = _webcam(detector, options.environments, threads)
        runs["crowd"] = _follow(CROWD, detector, pictures=options.pictures)
        runs["bottles"] = _follow(BOTTLES, detector)
    return runs


def _webcam(detector: FaceDetector, environments: Path, threads: int) -> Run:
    """The webcam video, with MediaPipe in its own process if it is installed."""
    peer = theirs("mediapipe", 0, None)
    with running([peer], environments, threads), tempfile.TemporaryDirectory() as folder:
        if peer.error is not None:
            print(f"left out: MediaPipe: {peer.error}", file=sys.stderr)
            return _follow(WEBCAM, detector)

        def measure(frames: list[Pixels]) -> list[float]:
            file = Path(folder) / "frames.npy"
            np.save(file, np.stack(frames)[..., ::-1])
            try:
                peer.ask(DETECTING_SECONDS, do="load", path=str(file))
                return [peer.detect(index, 1)[0][0] for index in range(len(frames))]
            except PeerError as error:
                raise BenchmarkError(f"MediaPipe: {error}") from None

        return _follow(WEBCAM, detector, measure)


def _follow(
    video: Path, detector: FaceDetector, peer: object = None, pictures: Path | None = None
) -> Run:
    """The whole video, block by block."""
    reader = cv2.VideoCapture(str(video))
    run = Run(fps=reader.get(cv2.CAP_PROP_FPS))
    tracker, presence = FaceTracker(detector), Presence()
    number = 0
    for frames in _blocks(reader, video):
        height, width = frames[0].shape[:2]
        if number == 0:
            detector.warm_up(height, width)
        found = []
        for frame in frames:
            started = time.perf_counter()
            found.append(detector.detect(frame, color="bgr"))
            run.full_ms.append((time.perf_counter() - started) * 1e3)
        if callable(peer):
            run.peer_ms += peer(frames)
        for frame, faces in zip(frames, found, strict=True):
            when = number / run.fps
            started = time.perf_counter()
            tracks = tracker.update(frame, when)
            run.tracking_ms.append((time.perf_counter() - started) * 1e3)
            _compare(run, faces, tracks, when)
            events = presence.update(tracks, when, (height, width))
            run.appeared += sum(isinstance(event, FaceAppeared) for event in events)
            if pictures is not None and number % 10 == 0:
                _draw(pictures / f"{video.stem}_{number:04d}.png", frame, tracks)
            number += 1
    reader.release()
    return run


def _blocks(reader: cv2.VideoCapture, video: Path) -> Iterator[list[Pixels]]:
    frames: list[Pixels] = []
    while (read := reader.read())[0]:
        frames.append(np.asarray(read[1], dtype=np.uint8))
        if len(frames) == BLOCK:
            yield frames
            frames = []
    if frames:
        yield frames
    elif not reader.get(cv2.CAP_PROP_POS_FRAMES):
        raise BenchmarkError(
            f"cannot read {video}; it belongs to the data folder beside the project"
        )


def _compare(run: Run, faces: Faces, tracks: tuple[Track, ...], when: float) -> None:
    certain = [face for face in faces if face.score >= CERTAIN]
    run.faces += len(certain)
    run.kept += sum(
        any(continuous_iou(face.box, track.face.box) >= SAME_FACE for track in tracks)
        for face in certain
    )
    run.with_face[0] += bool(certain)
    run.with_face[1] += bool(certain) and any(track.seen for track in tracks)
    for track in tracks:
        if track.confirmed and track.seen:
            run.ids.setdefault(track.id, []).append(when)


def _draw(path: Path, frame: Pixels, tracks: tuple[Track, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = frame.copy()
    for track in tracks:
        if track.confirmed:
            color = (0, 255, 0) if track.seen else (150, 150, 150)
            x1, y1, x2, y2 = (round(value) for value in track.face.box)
            cv2.rectangle(picture, (x1, y1), (x2, y2), color, 3)
            text = f"{track.id} ({track.mean_score:.2f})"
            cv2.putText(picture, text, (x1, y1 - 8), cv2.FONT_HERSHEY_SIMPLEX, 1.2, color, 3)
    cv2.imwrite(str(path), picture)


def _print(runs: dict[str, Run]) -> None:
    rows = []
    for name, run in runs.items():
        full, tracking = statistics.median(run.full_ms), statistics.median(run.tracking_ms)
        means = statistics.mean(run.full_ms), statistics.mean(run.tracking_ms)
        peer = statistics.median(run.peer_ms) if run.peer_ms else None
        kept = f"{run.kept} of {run.faces}"
        rows.append((name, len(run.full_ms), full, tracking, *means, peer, kept, len(run.ids)))
    header = (
        "video", "frames", "full ms", "tracking ms", "full mean", "tracking mean", "MediaPipe ms",
        "faces kept", "ids",
    )  # fmt: skip
    print(table(rows, header))


def _targets(runs: dict[str, Run]) -> list[Target]:
    webcam, crowd, bottles = runs["webcam"], runs["crowd"], runs["bottles"]
    tracking = statistics.median(webcam.tracking_ms)
    peer = statistics.median(webcam.peer_ms) / tracking if webcam.peer_ms else None
    return [
        Target(
            name="webcam: share of the frames with the face",
            limit=0.99,
            at_least=True,
            value=webcam.with_face[1] / max(webcam.with_face[0], 1),
        ),
        Target(
            name="webcam: new ids without a break of a second",
            limit=0,
            at_least=False,
            value=float(webcam.new_ids),
        ),
        Target(
            name="webcam: full detection / tracking, median frame",
            limit=4.0,
            at_least=True,
            value=statistics.median(webcam.full_ms) / tracking,
        ),
        Target(
            name="webcam: MediaPipe / tracking, median frame", limit=1.5, at_least=True, value=peer
        ),
        Target(
            name="crowd: share of the faces of full detection",
            limit=0.95,
            at_least=True,
            value=crowd.kept / max(crowd.faces, 1),
        ),
        Target(
            name="bottles: false presences",
            limit=0,
            at_least=False,
            value=float(bottles.appeared),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
