"""Which ``RuntimeOptions`` are best on this device: the function behind ``edge-mtcnn tune``.

One setting after the other: device, form of the networks, threads. What is compared detects in
turn, A B A B, in the same images, and must find the same faces. Memory goes with the threads, and
is measured for each number of them in a process of its own. (ONNX Runtime's arena is no setting:
without it the detector was slower and held more.)
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_mtcnn.board.memory import peak_resident_mb
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.options import DetectorOptions, RuntimeOptions
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.sessions import available_providers
from edge_mtcnn.runtime.workers import available_threads
from edge_mtcnn.speed.timing import ImageTimes, measure, same_faces
from edge_mtcnn.types import ImageArray

__all__ = ["Trial", "Tuning", "tell_memory", "tune"]

SLACK = 0.03
"""Share of time by which a value must win over one that is preferred to it: threads that hardly
help are better left to the application, and a guess that holds is better kept."""
_MEMORY_ROUNDS, _MEMORY_IMAGES = 3, 5
_MEMORY_TIME_LIMIT_S = 300.0
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from edge_mtcnn.speed.tuning import tell_memory;"
    " tell_memory({images!r}, {options!r}, {runtime!r})"
)


@dataclass(slots=True, kw_only=True)
class Trial:
    """One value of one setting.

    Attributes:
        setting: name in ``RuntimeOptions``.
        value: what was tried; ``None`` and ``"auto"`` are written into the file as they are.
        runs: what that came to here: the form, the number of threads, the provider.
        median_ms: time of a detection, the mean over the images of their medians.
        ratio: time / that of the best value, the geometric mean over the images of the medians of
            the ratios round by round.
        memory_mb: the most resident memory of a process of its own; ``None`` if not measured.
        error: why the value cannot be taken; ``None`` when it can.
        chosen: whether it is the one.
    """

    setting: str
    value: Any
    runs: str = ""
    median_ms: float | None = None
    ratio: float | None = None
    memory_mb: float | None = None
    error: str | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What ``tune`` found.

    Attributes:
        runtime: the options to run with on this device.
        trials: everything that was tried, in that order.
    """

    runtime: RuntimeOptions
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "runtime": self.runtime.to_dict(),
            "trials": [asdict(trial) for trial in self.trials],
        }


def tune(
    images: Sequence[ImageArray],
    options: DetectorOptions,
    runtime: RuntimeOptions,
    *,
    seconds: float = 3.0,
    max_threads: int | None = None,
    max_memory_mb: float | None = None,
    report: Callable[[str], None] | None = None,
) -> Tuning:
    """Try device, form and threads on this device.

    Args:
        images: (H, W, 3) uint8 RGB each, as those that will come; at least one.
        options: what to look for.
        runtime: where to start from. Its form and threads are tried anew; its device only when it
            is ``"auto"``.
        seconds: of detecting for each value.
        max_threads: try no more threads than these; ``None`` for as many as are available.
        max_memory_mb: take the fastest whose process stays below this memory, where there is one.
        report: is told what is tried next.

    Raises:
        EdgeMTCNNError: nothing works; the error is that of the value preferred.
    """
    every = _Attempts(images, options, seconds, report or _silent)
    best = replace(runtime, form="auto", threads=max_threads)
    if runtime.device == "auto":
        cuda = "CUDAExecutionProvider" in available_providers()
        best = every.choose(best, "device", ["cpu", "cuda"] if cuda else ["cpu"])
    best = every.choose(best, "form", _forms(best))
    best = every.choose(best, "threads", _thread_counts(max_threads), max_memory_mb)
    return Tuning(runtime=best, trials=tuple(every.trials))


def _silent(line: str) -> None:
    del line


def _forms(runtime: RuntimeOptions) -> list[str]:
    """The form that ``auto`` stands for, by that name, then the others."""
    with FaceDetector(runtime=replace(runtime, threads=1)) as detector:
        standing = detector.info()["form"]
    return ["auto", *(f for f in load_manifest(runtime.models).forms if f != standing)]


def _thread_counts(most: int | None) -> list[int | None]:
    """Powers of two and the most; all that are available go by ``None``, fewest first."""
    available = available_threads()
    most = available if most is None else min(most, available)
    counts = sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most})
    return [None if count == available else count for count in counts]


class _Attempts:
    """Everything tried so far, and how to try more."""

    def __init__(
        self,
        images: Sequence[ImageArray],
        options: DetectorOptions,
        seconds: float,
        report: Callable[[str], None],
    ) -> None:
        self._images = images
        self._options = options
        self._seconds = seconds
        self._report = report
        self.trials: list[Trial] = []

    def choose(
        self,
        runtime: RuntimeOptions,
        setting: str,
        values: Sequence[Any],
        max_memory_mb: float | None = None,
    ) -> RuntimeOptions:
        """``runtime`` with the best of the values, the preferred one first."""
        if setting != "threads" and len(values) == 1:
            return _with(runtime, Trial(setting=setting, value=values[0]))
        trials = [Trial(setting=setting, value=value) for value in values]
        self.trials += trials
        self._report(f"{setting}: {', '.join(map(_named, values))}")
        self._time(runtime, trials)
        if setting == "threads":
            for trial in trials:
                if trial.error is None:
                    trial.memory_mb = _memory(self._images, self._options, _with(runtime, trial))
        best = pick(trials, max_memory_mb)
        best.chosen = True
        return _with(runtime, best)

    def _time(self, runtime: RuntimeOptions, trials: Sequence[Trial]) -> None:
        """Fill in times; a value that fails or finds other faces gets its error."""
        with ExitStack() as stack:
            running: list[tuple[Trial, FaceDetector]] = []
            first_error: EdgeMTCNNError | None = None
            for trial in trials:
                try:
                    detector = FaceDetector(self._options, _with(runtime, trial))
                except EdgeMTCNNError as error:
                    trial.error = str(error)
                    first_error = first_error or error
                    continue
                stack.enter_context(detector)
                trial.runs = _told(trial.setting, detector.info())
                running.append((trial, detector))
            if not running:
                assert first_error is not None  # there is at least one trial
                raise first_error
            # The images are those of the user: an image that cannot be detected in raises here.
            detectors = [detector for _, detector in running]
            times = measure(detectors, self._images, self._seconds * len(running))
        for (trial, _), of_trial in zip(running, times, strict=True):
            trial.median_ms = statistics.fmean(image.median for image in of_trial)
            if not all(
                same_faces(image.faces, expected.faces)
                for image, expected in zip(of_trial, times[0], strict=True)
            ):
                trial.error = f"finds other faces than {_named(running[0][0].value)}"
        _relate([trial for trial, _ in running], times)


def pick(trials: Sequence[Trial], max_memory_mb: float | None = None) -> Trial:
    """The first value that is as fast as the fastest, but for ``SLACK``.

    Values over the memory limit get an error; where all are over it, the one with the least memory
    is taken.
    """
    sound = [trial for trial in trials if trial.error is None and trial.ratio is not None]
    known = [trial for trial in sound if trial.memory_mb is not None]
    if max_memory_mb is not None and known:
        over = [trial for trial in known if (trial.memory_mb or 0.0) > max_memory_mb]
        for trial in over:
            trial.error = f"needs more than {max_memory_mb:g} MB"
        sound = [trial for trial in sound if trial.error is None]
        if not sound:
            return min(known, key=lambda trial: trial.memory_mb or 0.0)
    fastest = min(trial.ratio or 0.0 for trial in sound)
    return next(trial for trial in sound if (trial.ratio or 0.0) <= fastest * (1 + SLACK))


def _relate(trials: Sequence[Trial], times: Sequence[Sequence[ImageTimes]]) -> None:
    """Fill in the ratios: to the first round by round, then to the best of those without error."""
    ratios = [
        statistics.geometric_mean(
            statistics.median(a / b for a, b in zip(mine.samples, first.samples, strict=True))
            for mine, first in zip(of_trial, times[0], strict=True)
        )
        for of_trial in times
    ]
    best = min(r for r, trial in zip(ratios, trials, strict=True) if trial.error is None)
    for trial, ratio in zip(trials, ratios, strict=True):
        trial.ratio = ratio / best


def _with(runtime: RuntimeOptions, trial: Trial) -> RuntimeOptions:
    changes: dict[str, Any] = {trial.setting: trial.value}
    return replace(runtime, **changes)


def _named(value: Any) -> str:
    return "all" if value is None else str(value)


def _told(setting: str, info: Mapping[str, Any]) -> str:
    return str(info["providers"][0] if setting == "device" else info[setting])


def _memory(
    images: Sequence[ImageArray], options: DetectorOptions, runtime: RuntimeOptions
) -> float | None:
    """The most memory of a new process that detects in the largest images, MB of 10**6 bytes."""
    largest = sorted(images, key=lambda image: -image.size)[:_MEMORY_IMAGES]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        np.savez(file, *largest)
        program = _PROGRAM.format(
            path=sys.path, images=str(file), options=options.to_dict(), runtime=runtime.to_dict()
        )
        try:
            done = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                timeout=_MEMORY_TIME_LIMIT_S,
                check=True,
            )
            peak: float | None = json.loads(done.stdout)["peak_mb"]
        except (OSError, subprocess.SubprocessError, ValueError, KeyError):
            return None  # times alone decide
    return peak


def tell_memory(images: str, options: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Detect in the images of a file and tell the memory; for the new process only.

    Args:
        images: file of ``numpy.savez``.
        options: of ``DetectorOptions.to_dict``.
        runtime: of ``RuntimeOptions.to_dict``.
    """
    with (
        np.load(images) as stored,
        FaceDetector(
            DetectorOptions.from_dict(options), RuntimeOptions.from_dict(runtime)
        ) as detector,
    ):
        for name in stored.files:
            image = stored[name]
            for _ in range(_MEMORY_ROUNDS):
                detector.detect(image)
    sys.stdout.write(json.dumps({"peak_mb": peak_resident_mb()}) + "\n")
