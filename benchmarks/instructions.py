"""Count the instructions of a frame: in the networks, OpenCV, NumPy and Python.

Times are noisy, counts are not: a change of one per cent can be seen. Frames of 640x480 with no,
one and three faces are searched (``FaceDetector.detect``) and followed (``FaceTracker.update``,
nothing moves) with the preset ``kiosk`` and one thread, and the photo ``multiface`` is searched
with the preset ``default``. Callgrind counts in a process of its own, between two marks after a
warm-up. It offers AVX2 and no AVX-512, so ONNX Runtime takes the kernels of such a processor.

    python -m benchmarks.instructions --top 15

Needs valgrind and Linux; without the photos beside the project, ``multiface`` is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.images import Pixels, find, read_rgb
from benchmarks.common.program import BenchmarkError, last_words, script, script_parser
from benchmarks.common.results import ROOT, Result, add_output, document, save, table

SIZE = (640, 480)
PARTS: Mapping[str, tuple[str, ...]] = {
    "networks": ("onnxruntime",),
    "OpenCV": ("cv2",),
    "NumPy": ("numpy",),
    "Python": ("libpython", "/python", "lib-dynload"),
}
"""Part of the program, and words in the paths of its libraries; the first that fits counts."""
OTHER = "other"
"""The C library and the loader: memory, copying, locks."""
MARK = "getppid"
"""A function of the C library that nothing else calls: Callgrind saves its counts there."""


class Scene(NamedTuple):
    """What is counted: frames to search or to follow.

    Attributes:
        name: of the result.
        image: RGB.
        preset: of the detector.
        follow: with a tracker instead of by searches.
        frames: how many are counted.
    """

    name: str
    image: Pixels
    preset: str
    follow: bool
    frames: int


@script
def main(arguments: list[str] | None = None) -> int:
    """Count, print and save; the exit code."""
    parser = script_parser("benchmarks.instructions", __doc__)
    parser.add_argument("--frames", type=int, default=20, help="frames of a kiosk counted (20)")
    parser.add_argument("--only", metavar="TEXT", default="", help="scenes whose name contains it")
    parser.add_argument(
        "--top",
        type=int,
        default=0,
        metavar="N",
        help="list the N functions that cost most; those written in Python are not told apart",
    )
    add_output(parser)
    options = parser.parse_args(arguments)
    if options.frames < 1:
        parser.error(f"--frames must be at least 1; got {options.frames}")
    if shutil.which("valgrind") is None:
        raise BenchmarkError("valgrind is not installed: apt install valgrind")
    chosen = [scene for scene in scenes(options.frames) if options.only in scene.name]
    if not chosen:
        raise BenchmarkError(f"no scene has {options.only!r} in its name")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = dict(zip((scene.name for scene in chosen), pool.map(count, chosen), strict=True))
    results = [_result(name, counts) for name, counts in counted.items()]
    print(_table(results))
    for name, counts in counted.items() if options.top else ():
        print(f"\n{name}\n{_top(counts, options.top)}")
    settings = {"frames": options.frames, "size": list(SIZE), "threads": 1}
    save(document("instructions", results, settings=settings), options.output)
    return 0


def scenes(frames: int) -> Iterator[Scene]:
    """All scenes: the astronaut's head and shoulders before a cup of coffee."""
    coffee, portrait = _resized(read_rgb(find(Path("coffee"))), SIZE), _portrait()
    for faces, name in ((0, "no face"), (1, "one face"), (3, "three faces")):
        image = coffee.copy()
        for index in range(faces):
            left = (index + 1) * SIZE[0] // (faces + 1) - portrait.shape[1] // 2
            image[140 : 140 + portrait.shape[0], left : left + portrait.shape[1]] = portrait
        yield Scene(f"kiosk/searched/{name}", image, "kiosk", follow=False, frames=frames)
        yield Scene(f"kiosk/followed/{name}", image, "kiosk", follow=True, frames=frames)
    try:
        multiface = read_rgb(find(Path("multiface")))
    except BenchmarkError:
        return
    yield Scene("default/multiface", multiface, "default", follow=False, frames=1)


def count(scene: Scene) -> dict[tuple[str, str], float]:
    """Instructions per frame by library and function."""
    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "image.npy", Path(folder) / "counts"
        np.save(image, scene.image)
        settings = {
            "image": str(image),
            "preset": scene.preset,
            "follow": scene.follow,
            "frames": scene.frames,
        }
        ended = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
                f"--dump-before={MARK}",
                *(sys.executable, "-m", "benchmarks.instructions_worker", json.dumps(settings)),
            ],
            cwd=ROOT,
            # The order of dictionaries, and threads of the linear algebra, change the counts.
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        measured = Path(f"{out}.2")  # the first file ends before the frames that count
        if ended.returncode or not measured.is_file():
            raise BenchmarkError(f"{scene.name}: {last_words(ended.stderr, ended.returncode)}")
        return {key: number / scene.frames for key, number in own_costs(measured).items()}


def own_costs(path: Path) -> dict[tuple[str, str], int]:
    """Instructions by library and function, from a file of Callgrind.

    ``callgrind_annotate`` cannot be used: functions that have not returned at a mark get the cost
    of all that they called.
    """
    costs: dict[tuple[str, str], int] = {}
    names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}
    current = {"ob": "", "fn": ""}
    called = False
    for line in path.read_text().splitlines():
        if match := re.match(r"(ob|fn)=(\(\d+\)) ?(.*)", line):
            kind, number, name = match.groups()
            current[kind] = names[kind].setdefault(number, name)
        elif match := re.match(r"c(ob|fn)=(\(\d+\)) (.+)", line):  # a name may appear here first
            names[match[1]].setdefault(match[2], match[3])
        elif line.startswith("calls="):
            called = True
        elif re.match(r"[+\-*\d]", line):
            if not called:  # the line after a call has the cost of what was called
                key = current["ob"], current["fn"]
                costs[key] = costs.get(key, 0) + int(line.split()[1])
            called = False
    return costs


def part_of(library: str) -> str:
    """The part of the program that a library belongs to."""
    for part, words in PARTS.items():
        if any(word in library for word in words):
            return part
    return OTHER


def _result(name: str, counts: Mapping[tuple[str, str], float]) -> Result:
    shares = dict.fromkeys([*PARTS, OTHER], 0.0)
    for (library, _), number in counts.items():
        shares[part_of(library)] += number
    detail = {part: round(number) for part, number in shares.items()}
    value = round(sum(shares.values()))
    return Result(name=f"instructions/{name}", unit="instructions", value=value, detail=detail)


def _table(results: list[Result]) -> str:
    parts = [*PARTS, OTHER]
    rows = (
        (r.name.removeprefix("instructions/"), *(n / 1e6 for n in (r.value, *_parts(r, parts))))
        for r in results
    )
    return table(rows, ("millions of instructions per frame", "all", *parts))


def _parts(result: Result, parts: list[str]) -> Iterator[Any]:
    return (result.detail[part] for part in parts)


def _top(counts: Mapping[tuple[str, str], float], most: int) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])[:most]
    rows = ((number / 1e6, part_of(key[0]), key[1][:70]) for key, number in ordered)
    return table(rows, ("millions", "part", "function"))


def _portrait() -> Pixels:
    """The astronaut's head and shoulders; the face is about 110 pixels high."""
    return np.ascontiguousarray(read_rgb(find(Path("astronaut")))[0:200, 130:310])


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    import cv2

    resized: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return resized


if __name__ == "__main__":
    sys.exit(main())
