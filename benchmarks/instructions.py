"""Count the instructions of a frame: in the networks, OpenCV, NumPy and Python.

Times are noisy, counts are not: two runs differ by less than 1 %. Frames of 640x480 with no,
one and three faces are searched (``FaceDetector.detect``) and followed (``FaceTracker.update``,
nothing moves) with the preset ``kiosk`` and one thread, and the photo ``multiface`` is searched
with the preset ``default``. The frame with one face is also given to the whole cascade as one file.
Callgrind counts in a process of its own, between two marks after a warm-up. It offers AVX2 and no
AVX-512, so ONNX Runtime takes the kernels of such a processor.

    python -m benchmarks.instructions --top 15

Needs valgrind and Linux; without the photos beside the project, ``multiface`` is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.images import Pixels, find, read_rgb
from benchmarks.common.program import BenchmarkError, last_words, script, script_parser
from benchmarks.common.results import ROOT, Result, add_output, document, save, table
from edge_mtcnn import DetectorOptions

SIZE = (640, 480)
PARTS: Mapping[str, tuple[str, ...]] = {
    "networks": ("onnxruntime",),
    "OpenCV": ("cv2", "opencv_python"),
    "NumPy": ("numpy",),
    "Python": ("libpython", "/python", "lib-dynload"),
}
"""Part of the program, and words in the paths of its libraries; the first that fits counts."""
OTHER = "other"
"""What no part called."""
START = {"(below main)", "__libc_start_main"}
"""Functions of the C library that start the program, so that a call of them costs all of it."""
SECOND = 30
"""Frames of one second, in which a tracker searches every part of the pyramid once."""
MARK = "getppid"
"""A function of the C library that nothing else calls: Callgrind saves its counts there."""


Costs = Counter[tuple[str, str]]
"""Instructions by part and function."""


class Scene(NamedTuple):
    """What is counted: frames to search or to follow.

    Attributes:
        name: of the result.
        image: RGB.
        preset: of the detector.
        follow: with a tracker instead of by searches.
        frames: how many are counted.
        one_file: search with one call of ONNX Runtime, see ``export.single``.
    """

    name: str
    image: Pixels
    preset: str
    follow: bool
    frames: int
    one_file: bool = False


@script
def main(arguments: list[str] | None = None) -> int:
    """Count, print and save; the exit code."""
    parser = script_parser("benchmarks.instructions", __doc__)
    parser.add_argument(
        "--frames", type=int, default=5, help=f"searches of a kiosk counted (5; {SECOND} followed)"
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="scenes whose name contains it")
    parser.add_argument(
        "--top",
        type=int,
        default=0,
        metavar="N",
        help="list the N functions of each part that cost most; functions written in Python are"
        " not told apart, and libraries without symbols show addresses",
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
    settings = {"frames": options.frames, "followed": SECOND, "size": list(SIZE), "threads": 1}
    save(document("instructions", results, settings=settings), options.output)
    return 0


def scenes(frames: int) -> Iterator[Scene]:
    """All scenes, the longest first: a photo, and a head and shoulders before a cup of coffee."""
    with contextlib.suppress(BenchmarkError):  # it is not in the project
        multiface = read_rgb(find(Path("multiface")))
        yield Scene("default/searched/multiface", multiface, "default", follow=False, frames=1)
    coffee, portrait = _resized(read_rgb(find(Path("coffee"))), SIZE), _portrait()
    for faces, name in ((0, "no face"), (1, "one face"), (3, "three faces")):
        image = coffee.copy()
        for index in range(faces):
            left = (index + 1) * SIZE[0] // (faces + 1) - portrait.shape[1] // 2
            image[140 : 140 + portrait.shape[0], left : left + portrait.shape[1]] = portrait
        yield Scene(f"kiosk/searched/{name}", image, "kiosk", follow=False, frames=frames)
        yield Scene(f"kiosk/followed/{name}", image, "kiosk", follow=True, frames=SECOND)
        if faces == 1 and find_spec("onnx"):
            scene = f"kiosk/one file/{name}"
            yield Scene(scene, image, "kiosk", follow=False, frames=frames, one_file=True)


def count(scene: Scene) -> Costs:
    """Instructions per frame by part and function.

    Raises:
        BenchmarkError: valgrind or the process in it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "image.npy", Path(folder) / "counts"
        np.save(image, scene.image)
        settings = {
            "image": str(image),
            "preset": scene.preset,
            "follow": scene.follow,
            "frames": scene.frames,
            "file": str(_one_file(scene, Path(folder))) if scene.one_file else None,
        }
        ended = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
                *(f"--dump-before={MARK}", "--compress-strings=no"),
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
        if ended.returncode:
            raise BenchmarkError(f"{scene.name}: {last_words(ended.stderr, ended.returncode)}")
        if not measured.is_file():
            raise BenchmarkError(f"{scene.name}: valgrind saved no counts at {MARK}")
        costs = costs_of(measured)
        return Counter({key: round(number / scene.frames) for key, number in costs.items()})


def costs_of(path: Path) -> Costs:
    """Instructions by part and function, from a file of Callgrind without compressed names.

    What a library does in the C library, such as copying memory, is the cost of that library.
    ``callgrind_annotate`` cannot be used: functions that have not returned at a mark get the cost
    of all that they called.
    """
    costs = Costs()
    part = called_part = OTHER
    function = callee = ""
    total = 0
    in_call = False
    for line in path.read_text(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key == "ob":
            part = called_part = part_of(value)
        elif key == "fn":
            function = _name(value)
        elif key == "cob":
            called_part = part_of(value)
        elif key == "cfn":
            callee = _name(value)
        elif key == "calls":
            in_call = True
        elif re.match(r"[+\-*\d]", line):
            cost = int(line.split()[1])
            if not in_call:
                total += cost
                if part != OTHER:
                    costs[part, function] += cost
                continue
            # The line after "calls=" has the cost of all that was called.
            if not {function, callee} & START:
                if called_part == OTHER != part:
                    costs[part, callee] += cost
                elif part == OTHER != called_part:  # such as the comparison that `qsort` was given
                    costs[called_part, function] -= cost
            in_call, called_part = False, part
    costs[OTHER, ""] = total - costs.total()
    return costs


def part_of(library: str) -> str:
    """The part of the program that a library belongs to."""
    for part, words in PARTS.items():
        if any(word in library for word in words):
            return part
    return OTHER


def _name(function: str) -> str:
    """The function without its version and the depth of its recursion."""
    return re.sub(r"@@.*|'\d+$", "", function)


def _one_file(scene: Scene, folder: Path) -> Path:
    """The whole cascade for the frames of a scene, in the form for x86-64."""
    from export.single.command import content_of

    path = folder / "mtcnn.onnx"
    height, width = scene.image.shape[:2]
    options = DetectorOptions.from_preset(scene.preset)
    path.write_bytes(content_of(options, (height, width), form="blocked"))
    return path


def _result(name: str, counts: Costs) -> Result:
    detail = dict.fromkeys([*PARTS, OTHER], 0)
    for (part, _), number in counts.items():
        detail[part] += number
    name, value = f"instructions/{name}", counts.total()
    return Result(name=name, unit="instructions", value=value, detail=detail)


def _table(results: list[Result]) -> str:
    parts = [*PARTS, OTHER]
    rows = (
        (r.name.removeprefix("instructions/"), *(n / 1e6 for n in (r.value, *_parts(r, parts))))
        for r in results
    )
    return table(rows, ("millions of instructions per frame", "all", *parts))


def _parts(result: Result, parts: list[str]) -> Iterator[Any]:
    return (result.detail[part] for part in parts)


def _top(counts: Costs, most: int) -> str:
    """The functions of each part that cost most."""
    rows = []
    for part in PARTS:
        ordered = [(n, function) for (owner, function), n in counts.most_common() if owner == part]
        rows += [(part, number / 1e6, function[:70]) for number, function in ordered[:most]]
    return table(rows, ("part", "millions", "function"))


def _portrait() -> Pixels:
    """The astronaut's head and shoulders; the face is about 110 pixels high."""
    return np.ascontiguousarray(read_rgb(find(Path("astronaut")))[0:200, 130:310])


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    import cv2

    resized: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return resized


if __name__ == "__main__":
    sys.exit(main())
