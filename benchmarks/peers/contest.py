"""Programs side by side: the same images, in turn, A B A B, one process each.

In a round every contestant detects in one image, so that drift of the machine affects all alike and
ratios can be taken round by round. Only the process that is measured runs, see ``PeerProcess``. It
detects a few times in a row; the first time does not count, because caches are cold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.timing import geometric_mean, pair_ratios
from benchmarks.peers.process import (
    DETECTING_SECONDS,
    OPENING_SECONDS,
    PeerError,
    PeerProcess,
    interpreter,
)
from benchmarks.peers.specs import OURS, PEERS, Peer

Pixels = npt.NDArray[np.uint8]
BURST_MS = 60.0
LONGEST_BURST = 5


@dataclass(slots=True, eq=False)
class Contestant:
    """One program with its settings.

    Attributes:
        name: name in tables and results.
        peer: the program.
        request: settings with which its worker opens it.
        times: samples by image, milliseconds, one for each round.
        faces: number of faces found, by image.
        rss_mb: largest memory of its process, MB.
        error: why it was left out; ``None`` while it runs.
    """

    name: str
    peer: Peer
    request: dict[str, Any]
    times: dict[str, list[float]] = field(default_factory=dict)
    faces: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    rss_mb: float = 0.0
    error: str | None = None
    process: PeerProcess | None = None

    def ask(self, seconds: float, **request: Any) -> dict[str, Any]:
        """Send one request to its worker."""
        if self.process is None:
            raise PeerError("not started")
        return self.process.ask(request, seconds)

    def open(self, environments: Path, threads: int) -> None:
        """Start its process and the program in it."""
        key = self.name.partition(",")[0]
        python = interpreter(key, self.peer, environments)
        self.process = PeerProcess(python, threads)
        answer = self.ask(
            OPENING_SECONDS, do="open", adapter=self.peer.adapter, threads=threads, **self.request
        )
        self.versions = answer["versions"]

    def detect(self, index: int, repeats: int) -> tuple[list[float], int]:
        """Times and number of faces of one image."""
        answer = self.ask(DETECTING_SECONDS, do="detect", index=index, repeats=repeats)
        self.rss_mb = max(self.rss_mb, answer["rss_mb"] or 0.0)
        return answer["ms"], answer["faces"]

    def drop(self, error: Exception) -> None:
        """Leave the contest; the others continue."""
        self.error = str(error)
        self.times.clear()
        self.close()

    def close(self) -> None:
        """End its process."""
        if self.process is not None:
            self.process.close()
            self.process = None


def ours(preset: str, min_face: int | None) -> Contestant:
    """This project with a preset; ``None`` keeps the preset's own smallest face."""
    return Contestant(f"ours {preset}", OURS, {"preset": preset, "min_face": min_face})


def theirs(name: str, min_face: int, yunet: Path | None) -> Contestant:
    """A peer; YuNet without its file is left out at once."""
    request: dict[str, Any] = {"min_face": min_face}
    contestant = Contestant(name, PEERS[name], request)
    if name == "yunet":
        if yunet is None or not yunet.is_file():
            contestant.error = "name its ONNX file with --yunet FILE"
        request["yunet"] = str(yunet.resolve()) if yunet else None
    return contestant


@contextmanager
def running(
    contestants: Sequence[Contestant], environments: Path, threads: int
) -> Iterator[list[Contestant]]:
    """Start the contestants that can be started, one after the other, and end them afterwards."""
    try:
        for contestant in contestants:
            if contestant.error is None:
                _try(contestant, lambda c=contestant: c.open(environments, threads))
        yield [contestant for contestant in contestants if contestant.error is None]
    finally:
        for contestant in contestants:
            contestant.close()


def compete(
    contestants: Sequence[Contestant], images: Mapping[str, Pixels], rounds: int, warm_up: int = 2
) -> None:
    """Fill in times and faces of each contestant for each image."""
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in images.items():
            file = Path(folder) / "image.npy"
            np.save(file, pixels[None])
            repeats = {}
            for contestant in _still(contestants):

                def warm(c: Contestant = contestant, file: Path = file, name: str = name) -> int:
                    c.ask(DETECTING_SECONDS, do="load", path=str(file))
                    times, c.faces[name] = c.detect(0, warm_up)
                    return 1 + max(1, min(LONGEST_BURST, round(BURST_MS / times[-1])))

                repeats[contestant.name] = _try(contestant, warm)
            for _ in range(rounds):
                for contestant in _still(contestants):
                    burst = repeats[contestant.name]
                    done = _try(contestant, lambda c=contestant, n=burst: c.detect(0, n))
                    if done is not None:
                        contestant.times.setdefault(name, []).append(median(done[0][1:]))


def ratios(peer: Contestant, own: Contestant) -> dict[str, list[float]]:
    """Their time divided by ours, by image, for each round."""
    return {name: pair_ratios(peer.times[name], own.times[name]) for name in own.times}


def over_images(by_image: Mapping[str, Sequence[float]]) -> list[float]:
    """The geometric mean over the images, for each round."""
    return [geometric_mean(values) for values in zip(*by_image.values(), strict=True)]


def _still(contestants: Sequence[Contestant]) -> list[Contestant]:
    return [contestant for contestant in contestants if contestant.error is None]


def _try(contestant: Contestant, step: Any) -> Any:
    try:
        return step()
    except PeerError as error:
        contestant.drop(error)
        return None
