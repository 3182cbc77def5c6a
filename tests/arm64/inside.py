"""What is checked inside the arm64 root, as a user would: with the commands of the installed wheel.

Runs there with Python alone, in a folder with ``samples/`` and some files of ``tests/``. Prints one
JSON object per line, a check's name, whether it passed, and what to show. ``emulated.py`` reads it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "edge_mtcnn"]
SAMPLES = sorted(Path("samples").glob("*.jpg"))
PEOPLE = {"astronaut.jpg": 1, "grace_hopper.jpg": 1}
"""Faces of the sample photos; the others have none."""
MOST_MISSES = 1
"""Golden faces that may differ; of 515, one is a tie that rounding decides."""
SLOW = 600.0
"""Seconds that one check may take: emulation is twenty times slower than a processor."""

Check = Callable[[], str]


class CheckError(Exception):
    """A check failed; the message says how."""


def install() -> str:
    """Packages of the base install and their size."""
    packages = _with_requirements("edge-mtcnn", "cpu")
    sizes = {dist.name: _bytes(dist) / 1e6 for dist in packages.values()}
    listed = ", ".join(
        f"{dist.name} {dist.version} {sizes[dist.name]:.1f}" for dist in packages.values()
    )
    return f"{len(sizes)} packages, {sum(sizes.values()):.0f} MB: {listed}"


def doctor() -> str:
    """The report of `doctor` says that all is well."""
    report = json.loads(_run("doctor", "--json"))
    _require(report["well"], f"doctor found a problem: {report}")
    versions, machine = report["versions"], report["machine"]
    return (
        f"{machine['architecture']}, Python {versions['Python']},"
        f" ONNX Runtime {versions['ONNX Runtime']}, no problem found"
    )


def detect() -> str:
    """`detect` finds the faces of the sample photos, and no others."""
    lines = _run("detect", *map(str, SAMPLES), "--json", "-").splitlines()
    found = {Path(answer["path"]).name: len(answer["faces"]) for answer in map(json.loads, lines)}
    expected = {sample.name: PEOPLE.get(sample.name, 0) for sample in SAMPLES}
    _require(found == expected, f"faces by photo: expected {expected}, got {found}")
    return f"{sum(found.values())} faces in {len(found)} photos"


def watch() -> str:
    """`watch` sees a person come in a video, and leave at its end."""
    from videos import panned, write_video

    video = write_video(Path("panned.avi"), panned(30))
    lines = _run("watch", str(video), "--fast", "--json").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    expected = ["FaceAppeared", "FaceLeft"]
    persons = [event for event in events if event in expected]
    _require(persons == expected, f"expected the events {expected}; got {events}")
    return "one person came and left in 30 frames"


def serve() -> str:
    """`serve` answers one request, and ends when it is told to."""
    service = subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert service.stderr is not None
        said: list[str] = []
        # Where /sys is missing, a library says so first.
        while not (address := re.search(r"http://\S+:\d+", "".join(said))):
            said.append(service.stderr.readline())
            _require(said[-1], f"serve did not start: {''.join(said)}")
        url = address[0] + "/detect"
        photo = Path("samples/astronaut.jpg").read_bytes()
        with urllib.request.urlopen(url, photo, timeout=SLOW) as answer:
            faces = json.load(answer)["faces"]
        _require(len(faces) == 1, f"expected one face; got {faces}")
    finally:
        service.terminate()
        ended = service.wait(60)
    _require(ended in (0, 143, -15), f"serve ended with exit code {ended}")
    return "answered with one face"


def golden() -> str:
    """The faces that the original program finds are found, by the project's own test."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    done = subprocess.run(
        [*pytest, "tests/test_golden.py"], capture_output=True, text=True, check=False
    )
    _require(done.returncode == 0, done.stdout + done.stderr)
    return parity(done.stdout)


def parity(printed: str) -> str:
    """The line of the golden test about all images, or its summary where only samples are there.

    Raises:
        CheckError: an image has another number of faces, or more than ``MOST_MISSES`` faces differ.
    """
    pattern = r"^golden all: ((\d+) of (\d+) images .*?(\d+) of (\d+) faces within .*)$"
    line = re.search(pattern, printed, re.MULTILINE)
    if line is None:
        summary = printed.strip().splitlines()[-1]
        _require("passed" in summary, printed)
        return f"sample photos only, no shared images: {summary.strip('= ')}"
    same, images, matched, faces = map(int, line.groups()[1:])
    _require(same == images and faces - matched <= MOST_MISSES, line[1])
    return str(line[1])


CHECKS: tuple[Check, ...] = (install, doctor, detect, watch, serve, golden)


def main() -> int:
    """Run all checks, also after one that failed."""
    wanted = sys.argv[1:] or [check.__name__ for check in CHECKS]
    failed = 0
    for check in CHECKS:
        if check.__name__ not in wanted:
            continue
        start, used = time.monotonic(), _processor_seconds()
        try:
            passed, text = True, check()
        except (CheckError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            passed, text = False, f"{type(error).__name__}: {error}"
        failed += not passed
        row = {
            "check": check.__name__,
            "passed": passed,
            "seconds": round(time.monotonic() - start, 1),
            "processor_seconds": round(_processor_seconds() - used, 1),
            "text": text,
        }
        print(json.dumps(row), flush=True)
    return min(failed, 1)


def _processor_seconds() -> float:
    """Seconds on all cores of this process and its children: other programs change them little."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _run(*arguments: str) -> str:
    """Standard output of a command of the package, which must exit with 0."""
    done = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=SLOW, check=False
    )
    command = f"edge-mtcnn {' '.join(arguments)}"
    _require(done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _require(condition: object, message: str) -> None:
    if not condition:
        raise CheckError(message)


def _with_requirements(name: str, extra: str = "") -> dict[str, Distribution]:
    """A package and all that it needs, by normalised name."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    waiting = [(name, extra)]
    while waiting:
        name, extra = waiting.pop()
        if name in found:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            environment: dict[str, Any] = {"extra": extra}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                waiting.append((requirement.name.lower().replace("_", "-"), ""))
    return found


def _bytes(package: Distribution) -> int:
    """Bytes of a package's files, without what Python compiles."""
    paths = [Path(str(package.locate_file(file))) for file in package.files or ()]
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


if __name__ == "__main__":
    sys.exit(main())
