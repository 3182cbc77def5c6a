"""Measure ``edge_mtcnn.bulk``: its rate beside ``detect_batch``, that of Ray, and its memory.

The images are real photos, cut and resized to random sizes with a fixed seed, as JPEG files in a
temporary folder; file names beyond ``--different`` are links to the same files. Rates are compared
in turns, a few hundred images each, so that what else the machine does meets both. Start-up, such
as opening the networks and starting the actors of Ray, is left out.

    python -m benchmarks.bulk rate --images 5000
    python -m benchmarks.bulk ray --images 2000
    python -m benchmarks.bulk memory --images 20000

Needs the extra ``bulk``, and ``ray`` for that; without the photos beside the project it uses the
project's samples.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common.images import cut, photo_pool, read_rgb
from benchmarks.common.program import script, script_parser
from benchmarks.common.results import (
    Result,
    Target,
    add_output,
    document,
    save,
    table,
    target_table,
)
from benchmarks.common.timing import rss_mb
from edge_mtcnn import FaceDetector, RuntimeOptions
from edge_mtcnn.bulk import EngineOptions, Listener, run_bulk

SEED = 17
SMALLEST = (64, 64)
LARGEST = {"rate": (1600, 1200), "ray": (1600, 1200), "memory": (4000, 3000)}
BATCH = 64
"""Images of a batch where Ray is measured: its time to start is left out by whole batches."""
RATE, RAY_RATE = 0.95, 0.85
NOISE_MB = 5.0
"""RSS that comes and goes: glibc returns the memory of large images late."""


@script
def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the exit code is 1 if a target is missed."""
    parser = script_parser("benchmarks.bulk", __doc__)
    parser.add_argument("what", choices=sorted(LARGEST), help="what to measure")
    parser.add_argument("--images", type=int, default=5000, help="number of images (5000)")
    parser.add_argument("--different", type=int, default=500, help="different files (500)")
    parser.add_argument("--threads", type=int, default=2, help="threads, or actors of Ray (2)")
    add_output(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="edge-mtcnn-bulk-") as folder:
        place = Path(folder)
        files = make_files(place / "in", options.images, options.different, LARGEST[options.what])
        measure = {"rate": rates, "ray": ray_rates, "memory": memory}[options.what]
        results, targets = measure(files, place, options.threads)
    print(table([(r.name, r.value, r.unit) for r in results], ("figure", "value", "unit")))
    print(target_table(targets))
    settings = {name: getattr(options, name) for name in ("what", "images", "different", "threads")}
    save(document("bulk", results, settings=settings, targets=targets), options.output)
    return 1 if any(target.reached is False for target in targets) else 0


def make_files(folder: Path, count: int, different: int, largest: tuple[int, int]) -> list[Path]:
    """JPEG files of sizes that are spread evenly over their logarithm."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    photos = [read_rgb(path) for path in photo_pool()[:12]]
    files: list[Path] = []
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number < different:
            share = rng.uniform()
            width, height = (
                round(low * (high / low) ** share)
                for low, high in zip(SMALLEST, largest, strict=True)
            )
            picture = cut(photos[number % len(photos)], width, height, rng)
            cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        else:
            os.link(files[number % different], path)
        files.append(path)
    return files


def rates(files: list[Path], place: Path, threads: int) -> tuple[list[Result], list[Target]]:
    """The rate of the engine ``local`` beside ``detect_batch``, which gets the files' bytes."""
    with FaceDetector(runtime=RuntimeOptions(threads=threads)) as detector:
        detector.warm_up()

        def batch(turn: list[Path], _output: Path) -> Cost:
            held = [path.read_bytes() for path in turn]
            cost = Cost()
            cost.begin()
            detector.detect_batch(held)
            cost.end()
            return cost

        def local(turn: list[Path], output: Path) -> Cost:
            cost = Cost()
            # From the end of the listing, when the threads begin.
            listener = Listener(planned=lambda *_: cost.begin())
            run_bulk(turn, output, detector, listener=listener)
            cost.end()
            return cost

        pairs = in_turns(files, place, batch, local)
    wall = [first.wall / second.wall for first, second in pairs]
    cpu = [first.cpu / second.cpu for first, second in pairs]
    total = sum(first.wall for first, _ in pairs) / sum(second.wall for _, second in pairs)
    rate = len(files) / sum(second.wall for _, second in pairs)
    results = [
        Result(name="local", unit="images/s", value=rate, better="higher"),
        _ratio("local/detect_batch", statistics.median(wall), wall),
        _ratio("local/detect_batch, all", total),
        _ratio("local/detect_batch, processor time", statistics.median(cpu), cpu),
    ]
    value = statistics.median(wall)
    return results, [Target(name="local", limit=RATE, at_least=True, value=value)]


def ray_rates(files: list[Path], place: Path, threads: int) -> tuple[list[Result], list[Target]]:
    """The rate of the engine ``ray`` beside ``local``, from the first finished batch on."""
    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    ray.init(num_cpus=threads, include_dashboard=False, log_to_driver=False)
    with FaceDetector(runtime=RuntimeOptions(threads=threads)) as detector:

        def after_start(engine: EngineOptions, who: FaceDetector) -> Callable[..., Cost]:
            def run(turn: list[Path], output: Path) -> Cost:
                seen: list[tuple[float, int]] = []
                listener = Listener(searched=lambda n: seen.append((time.perf_counter(), n)))
                run_bulk(turn, output, who, engine=engine, listener=listener)
                # As if all parts had come in whole batches, as they do from Ray.
                times = [t for t, n in seen for _ in range(n)]
                begin = BATCH * threads - 1
                cost = Cost()
                cost.wall = (times[-1] - times[begin]) / (len(times) - begin - 1)
                return cost

            return run

        local = after_start(EngineOptions(batch_size=BATCH), detector)
        with FaceDetector(runtime=RuntimeOptions(threads=1)) as single:
            on_ray = after_start(EngineOptions(engine="ray", batch_size=BATCH), single)
            pairs = in_turns(files, place, local, on_ray, turn=max(len(files) // 3, 1))
    ratios = [first.wall / second.wall for first, second in pairs]
    value = statistics.median(ratios)
    results = [_ratio("ray/local", value, ratios)]
    return results, [Target(name="ray", limit=RAY_RATE, at_least=True, value=value)]


def memory(files: list[Path], place: Path, threads: int) -> tuple[list[Result], list[Target]]:
    """The resident memory of a long run, and its growth over the last half."""
    samples: list[tuple[int, float]] = []
    count = 0

    def note(images: int) -> None:
        nonlocal count
        count += images
        if count % max(1, len(files) // 200) == 0:
            samples.append((count, rss_mb()))

    with FaceDetector(runtime=RuntimeOptions(threads=threads)) as detector:
        run_bulk(files, place / "out", detector, listener=Listener(searched=note))
    shown = samples[:: max(1, len(samples) // 20)]
    print(table(shown, ("images", "RSS MB")))
    half = [value for _, value in samples[len(samples) // 2 :]]
    fifth = max(1, len(half) // 5)
    growth = statistics.median(half[-fifth:]) - statistics.median(half[:fifth])
    results = [
        Result(name="RSS, highest", unit="MB", value=max(value for _, value in samples)),
        Result(name="RSS, last half", unit="MB", value=statistics.median(half)),
        Result(name="growth over the last half", unit="MB", value=growth),
    ]
    name = f"growth over the last half, MB, with {NOISE_MB:g} of noise"
    return results, [Target(name=name, limit=NOISE_MB, at_least=False, value=growth)]


class Cost:
    """Seconds of wall time and of all threads of this process."""

    wall = cpu = 0.0

    def begin(self) -> None:
        """Note the times."""
        self._begin = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Note the times since the start."""
        self.wall = time.perf_counter() - self._begin[0]
        self.cpu = time.process_time() - self._begin[1]


def in_turns(
    files: list[Path],
    place: Path,
    first: Callable[[list[Path], Path], Cost],
    second: Callable[[list[Path], Path], Cost],
    turn: int = 250,
) -> list[tuple[Cost, Cost]]:
    """The costs of both on the same files, turn by turn; which one begins alternates."""
    pairs = []
    for number, start in enumerate(range(0, len(files), turn)):
        part = files[start : start + turn]
        costs = {}
        for name, job in ((0, first), (1, second))[:: -1 if number % 2 else 1]:
            costs[name] = job(part, place / f"out-{number}-{name}")
        pairs.append((costs[0], costs[1]))
    return pairs


def _ratio(name: str, value: float, samples: list[float] | None = None) -> Result:
    return Result(name=name, unit="", value=value, samples=tuple(samples or ()), better="higher")


if __name__ == "__main__":
    raise SystemExit(main())
