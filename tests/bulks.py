"""Photos, archives and videos for the tests of ``bulk``, and the rows of its data sets."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_mtcnn.bulk import BulkOptions, EngineOptions, Failure, Listener, Totals, run_bulk

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra bulk")

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("astronaut", "grace_hopper", "chelsea", "rocket")


def jpeg(number: int) -> bytes:
    """A small photo, different for each number; of those modulo 4, 0 and 1 show a face."""
    image = cv2.imread(str(ROOT / "samples" / f"{SAMPLES[number % 4]}.jpg"))
    side = 120 + number % 40
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small)
    assert done
    return data.tobytes()


def photos(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(number))
    return paths


def tar(path: Path, count: int, mode: str = "w") -> Path:
    """A WebDataset: each photo with a JSON and a class beside it."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for number in range(count):
            members = {".jpg": jpeg(number), ".json": b"{}", ".cls": b"1"}
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{number:04}{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def video(path: Path, frames: int = 50, fps: float = 10.0) -> Path:
    """A video of a face for its first half, and of a cat after that."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (160, 160))
    assert writer.isOpened()
    for number in range(frames):
        name = SAMPLES[0] if number < frames // 2 else SAMPLES[2]
        image = cv2.imread(str(ROOT / "samples" / f"{name}.jpg"))
        writer.write(cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA))
    writer.release()
    return path


def run(
    inputs: Sequence[str | Path], output: Path, *, batch_size: int = 8, **more: Any
) -> tuple[Totals, list[Failure]]:
    """One run, and what it reported as failed."""
    failures: list[Failure] = []
    engine = more.pop("engine", None) or EngineOptions(batch_size=batch_size)
    names = ("every", "column", "rotate", "flip", "crops")
    options = BulkOptions(**{name: more.pop(name) for name in names if name in more})
    listener = Listener(failed=failures.append)
    totals = run_bulk(inputs, output, options=options, engine=engine, listener=listener, **more)
    return totals, failures


def table(output: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table of a data set, in the order of their sources."""
    rows = pq.read_table(output / name).to_pylist()
    return sorted(
        rows, key=lambda row: (row["source"], row.get("frame") or 0, row.get("face") or 0)
    )


def rows(output: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows but times, which differ from run to run."""
    images = table(output, "images")
    for row in images:
        del row["milliseconds"]
    return {"images": images, "faces": table(output, "faces")}


def sources(output: Path) -> list[str]:
    return [row["source"] for row in table(output, "images")]


def failed(output: Path) -> dict[str, str]:
    return {row["source"]: row["error"] for row in table(output, "images") if row["error"]}


def names(paths: Iterable[Path]) -> list[str]:
    return sorted(map(str, paths))
