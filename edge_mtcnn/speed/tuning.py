"""The best ``RuntimeOptions`` for this device: the function behind ``edge-mtcnn tune``.

It tries one setting after the other: device, form of the networks, threads. The values of a setting
take turns on the same images, until the difference to the default is larger than the noise, and
must find the same faces. Where the difference stays within the noise, the default is kept. Memory
depends on the number of threads, and is measured for each number in a new process. (ONNX Runtime's
memory arena is not a setting: without it the detector was slower and used more memory.)
"""

from __future__ import annotations

import json
import math
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
from edge_mtcnn.board.new_process import run_in_new_process
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import EdgeMTCNNError
from edge_mtcnn.options import DetectorOptions, RuntimeOptions
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.providers import available_providers
from edge_mtcnn.runtime.workers import available_threads
from edge_mtcnn.speed.timing import (
    FEWEST_ROUNDS,
    FEWEST_VALUES,
    ImageTimes,
    measure,
    median_interval,
    same_faces,
)
from edge_mtcnn.types import ImageArray

__all__ = ["Trial", "Tuning", "print_peak_memory", "tune"]

SLACK = 0.03
"""Share of time by which a value must be faster than one that is preferred to it: threads that
hardly help are left to the application, and the default is kept unless another value is clearly
faster."""
LONGEST_SECONDS = 10.0
"""Longest detection time for each value, seconds."""
_GROWTH = 1.5
"""Factor between the numbers of rounds at which the differences are looked at."""
_MEMORY_ROUNDS, _MEMORY_IMAGES = 3, 5
_MEMORY_TIME_LIMIT_S = 300.0


@dataclass(slots=True, kw_only=True)
class Trial:
    """One value of one setting.

    Attributes:
        setting: name in ``RuntimeOptions``.
        value: the value; ``None`` and ``"auto"`` are written into the file as they are.
        runs: what the value stands for on this device: a form, a number of threads, a provider.
        median_ms: time of a detection: the mean over the images of their median times.
        ratio: time divided by that of the best value, by the medians of the ratios to the default.
        noise: half the width of the 99.7 % interval of the ratio to the default, as a share;
            ``None`` for the default, and after too few rounds.
        better: whether it is better than the default, by ``SLACK``; ``None`` when the difference is
            not larger than the noise. ``True`` for the default itself.
        memory_mb: highest resident memory of a new process; ``None`` if not measured.
        error: why the value cannot be used; ``None`` when it can.
        chosen: whether this value was chosen.
    """

    setting: str
    value: Any
    runs: str = ""
    median_ms: float | None = None
    ratio: float | None = None
    noise: float | None = None
    better: bool | None = None
    memory_mb: float | None = None
    error: str | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The result of ``tune``.

    Attributes:
        runtime: the best options for this device.
        trials: everything that was tried, in order.
        undecided: settings whose default was kept because no difference was larger than the noise.
    """

    runtime: RuntimeOptions
    trials: tuple[Trial, ...]
    undecided: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "runtime": self.runtime.to_dict(),
            "trials": [asdict(trial) for trial in self.trials],
            "undecided": list(self.undecided),
        }


def tune(
    images: Sequence[ImageArray],
    options: DetectorOptions,
    runtime: RuntimeOptions,
    *,
    seconds: float = LONGEST_SECONDS,
    max_threads: int | None = None,
    max_memory_mb: float | None = None,
    report: Callable[[str], None] | None = None,
) -> Tuning:
    """Find the fastest device, form and number of threads on this device.

        tuning = tune([image], DetectorOptions(), RuntimeOptions(device="auto"))
        save_options("edge-mtcnn.json", runtime=tuning.runtime)

    Args:
        images: (H, W, 3) uint8 RGB each, like those to be searched later; at least one.
        options: what to find.
        runtime: the options to start from. Form and threads are always tried; the device only
            when it is ``"auto"``.
        seconds: longest detection time for each value. A setting takes less when the differences
            are larger than the noise before.
        max_threads: most threads to try; ``None`` for all that are available.
        max_memory_mb: choose the fastest value whose process needs less memory, if there is one.
        report: called with a line about what is tried, and how sure it is so far.

    Raises:
        EdgeMTCNNError: no value works; the error is that of the preferred value.
    """
    every = _Attempts(images, options, seconds, report or _silent)
    best = replace(runtime, form="auto", threads=max_threads)
    if runtime.device == "auto":
        cuda = "CUDAExecutionProvider" in available_providers()
        best = every.choose(best, "device", ["cpu", "cuda"] if cuda else ["cpu"])
    best = every.choose(best, "form", _forms(best))
    best = every.choose(best, "threads", _thread_counts(max_threads), max_memory_mb)
    return Tuning(runtime=best, trials=tuple(every.trials), undecided=tuple(every.undecided))


def _silent(line: str) -> None:
    del line


def _forms(runtime: RuntimeOptions) -> list[str]:
    """``auto``, then the forms that ``auto`` does not stand for."""
    with FaceDetector(runtime=replace(runtime, threads=1)) as detector:
        automatic = detector.info()["form"]
    return ["auto", *(f for f in load_manifest(runtime.models).forms if f != automatic)]


def _thread_counts(most: int | None) -> list[int | None]:
    """Powers of two and the most, fewest first; ``None`` stands for all that are available."""
    available = available_threads()
    most = available if most is None else min(most, available)
    counts = sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most})
    return [None if count == available else count for count in counts]


class _Attempts:
    """The trials so far; ``choose`` adds those of one setting."""

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
        self.undecided: list[str] = []

    def choose(
        self,
        runtime: RuntimeOptions,
        setting: str,
        values: Sequence[Any],
        max_memory_mb: float | None = None,
    ) -> RuntimeOptions:
        """``runtime`` with the best of the values; they are ordered by preference."""
        if setting != "threads" and len(values) == 1:
            return _with(runtime, Trial(setting=setting, value=values[0]))
        trials = [Trial(setting=setting, value=value) for value in values]
        self.trials += trials
        self._report(f"{setting}: trying {', '.join(map(_named, values))}")
        self._time(runtime, trials)
        if setting == "threads":
            for trial in trials:
                if trial.error is None:
                    trial.memory_mb = _memory(self._images, self._options, _with(runtime, trial))
        best = pick(trials, max_memory_mb)
        best.chosen = True
        if any(trial.better is None and trial.error is None for trial in trials) and not any(
            trial.better and trial.noise is not None for trial in trials
        ):
            self.undecided.append(setting)
        return _with(runtime, best)

    def _time(self, runtime: RuntimeOptions, trials: Sequence[Trial]) -> None:
        """Fill in times; a value that fails or finds other faces gets an error."""
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
                trial.runs = _setting_text(trial.setting, detector.info())
                running.append((trial, detector))
            if not running:
                assert first_error is not None  # there is at least one trial
                raise first_error
            # An error here comes from an image of the user, so it is raised and not kept.
            detectors = [detector for _, detector in running]
            comparison = _Comparison([trial for trial, _ in running], self._report)
            times = measure(
                detectors,
                self._images,
                self._seconds * len(running),
                fewest=max(FEWEST_ROUNDS, math.ceil(FEWEST_VALUES / len(self._images))),
                enough=comparison.is_decided,
            )
            comparison.update(times)
        for (trial, _), of_trial in zip(running, times, strict=True):
            trial.median_ms = statistics.fmean(image.median for image in of_trial)
            if not all(
                same_faces(image.faces, expected.faces)
                for image, expected in zip(of_trial, times[0], strict=True)
            ):
                trial.error = f"finds other faces than {_named(running[0][0].value)}"
        _relate([trial for trial, _ in running])


class _Comparison:
    """Compares the values of one setting with its default while they are timed."""

    def __init__(self, trials: Sequence[Trial], report: Callable[[str], None]) -> None:
        self._trials = trials
        self._report = report
        # Values are in order of preference. By default all threads are used, the last value.
        self._default = len(trials) - 1 if trials[0].setting == "threads" else 0
        self._next = 0

    def is_decided(self, times: Sequence[Sequence[ImageTimes]]) -> bool:
        """Whether each value is surely better than the default, or surely not.

        It looks at growing distances: each look is another chance to be misled.
        """
        rounds = len(times[0][0].samples)
        if rounds < self._next:
            return False
        self._next = math.ceil(rounds * _GROWTH)
        self.update(times)
        waiting = [trial for trial in self._trials if trial.better is None]
        if waiting and len(self._trials) > 1:
            default = _named(self._trials[self._default].value)
            told = ", ".join(f"{_named(trial.value)} {_beside(trial)}" for trial in waiting)
            self._report(f"{waiting[0].setting}: {rounds} rounds, against {default}: {told}")
        return not waiting

    def update(self, times: Sequence[Sequence[ImageTimes]]) -> None:
        """Fill in ratio (to the default), noise and ``better``."""
        for index, (trial, of_trial) in enumerate(zip(self._trials, times, strict=True)):
            gains = [
                math.log(default / mine)
                for image, of_default in zip(of_trial, times[self._default], strict=True)
                for mine, default in zip(image.samples, of_default.samples, strict=True)
            ]
            trial.ratio = math.exp(-statistics.median(gains))
            if index == self._default:
                trial.better = True
                continue
            low, high = median_interval(gains)
            trial.noise = None if math.isinf(low) else math.expm1((high - low) / 2)
            # A value that is preferred may be a little slower; another one must be faster.
            limit = math.log1p(SLACK) * (1 if index > self._default else -1)
            trial.better = True if low > limit else False if high < limit else None


def _beside(trial: Trial) -> str:
    """``3.1 % faster, +/- 5.0 %``."""
    gain = 1 - (trial.ratio or 1.0)
    noise = "" if trial.noise is None else f", +/- {trial.noise:.1%}"
    return f"{abs(gain):.1%} {'faster' if gain > 0 else 'slower'}{noise}"


def pick(trials: Sequence[Trial], max_memory_mb: float | None = None) -> Trial:
    """The first value that is as fast as the fastest, within ``SLACK``.

    Values that are not surely better than the default are left out where others remain. Values
    above the memory limit get an error. When all are above it, the one with the least memory is
    chosen.
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
    sound = [trial for trial in sound if trial.better] or sound
    fastest = min(trial.ratio or 0.0 for trial in sound)
    return next(trial for trial in sound if (trial.ratio or 0.0) <= fastest * (1 + SLACK))


def _relate(trials: Sequence[Trial]) -> None:
    """Divide the ratios, which are to the default, by the best of them."""
    best = min(trial.ratio or 1.0 for trial in trials if trial.error is None)
    for trial in trials:
        trial.ratio = (trial.ratio or 1.0) / best


def _with(runtime: RuntimeOptions, trial: Trial) -> RuntimeOptions:
    changes: dict[str, Any] = {trial.setting: trial.value}
    return replace(runtime, **changes)


def _named(value: Any) -> str:
    return "all" if value is None else str(value)


def _setting_text(setting: str, info: Mapping[str, Any]) -> str:
    return str(info["providers"][0] if setting == "device" else info[setting])


def _memory(
    images: Sequence[ImageArray], options: DetectorOptions, runtime: RuntimeOptions
) -> float | None:
    """Peak memory of a new process that detects in the largest images, MB of 10**6 bytes."""
    largest = sorted(images, key=lambda image: -image.size)[:_MEMORY_IMAGES]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        np.savez(file, *largest)
        try:
            done = run_in_new_process(
                print_peak_memory,
                str(file),
                options.to_dict(),
                runtime.to_dict(),
                timeout=_MEMORY_TIME_LIMIT_S,
            )
            done.check_returncode()
            peak: float | None = json.loads(done.stdout)["peak_mb"]
        except (OSError, subprocess.SubprocessError, ValueError, KeyError):
            return None  # the choice is made by times alone
    return peak


def print_peak_memory(images: str, options: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Detect in the images of a file and print the memory as JSON; for the new process only.

    Args:
        images: file written by ``numpy.savez``.
        options: ``DetectorOptions.to_dict()``.
        runtime: ``RuntimeOptions.to_dict()``.
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
