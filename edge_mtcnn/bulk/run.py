"""``run_bulk``: the faces of all inputs into a data set, with either engine."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_mtcnn.bulk.dataset import DataSet, Totals
from edge_mtcnn.bulk.listing import shards_of
from edge_mtcnn.bulk.local import run_here
from edge_mtcnn.bulk.options import BulkOptions, EngineOptions
from edge_mtcnn.bulk.searching import Model, Searchers
from edge_mtcnn.bulk.work import Failure, Part, work_on
from edge_mtcnn.detector import FaceDetector
from edge_mtcnn.errors import OptionsError
from edge_mtcnn.options.checks import check_bool, check_options, check_path

__all__ = ["Listener", "run_bulk"]


def _nothing(*_: object) -> None:
    """What a listener does that was not told what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Functions that are told about a run. They are called in several threads.

    Attributes:
        planned: called with the number of images that earlier runs have searched, and of all, as
            far as it is known before they are read.
        searched: called with a number of images and frames that were searched or failed.
        failed: called with each ``Failure``.
    """

    planned: Callable[[int, int], object] = _nothing
    searched: Callable[[int], object] = _nothing
    failed: Callable[[Failure], object] = _nothing


def run_bulk(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    detector: FaceDetector | None = None,
    *,
    options: BulkOptions | None = None,
    engine: EngineOptions | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    retry_failed: bool = False,
    listener: Listener | None = None,
    stop: threading.Event | None = None,
) -> Totals:
    """Find the faces of many images and videos, and write them to a Parquet data set.

        totals = run_bulk(["photos/", "s3://bucket/2024.tar"], "faces/")

    Every input has one row in the table ``images``. The same call goes on where an earlier one was
    killed or stopped, and searches inputs that are new.

    Args:
        inputs: images, videos, tar files, Parquet files; folders and patterns of those; text
            lists and CSV files that name them; local paths or addresses; ``"-"`` for a list on
            standard input.
        output: folder of the data set.
        detector: its options, models and known false faces are used, and its number of threads;
            those of ``FaceDetector()`` if omitted.
        options: what is read and written.
        engine: how the machine or the cluster is used.
        recursive: look in subfolders too.
        overwrite: remove what is in ``output`` before.
        retry_failed: search the inputs again that failed in earlier runs, with all others of their
            shards.
        listener: is told about the progress.
        stop: once set, the work that was begun is finished, and nothing else is begun.

    Returns:
        What the data set has, earlier runs included.

    Raises:
        OptionsError: ``output`` has other files, or was made with other models or options; or an
            argument is wrong.
        OSError: ``output`` cannot be written, such as on a full disk. What was written is whole.
        EdgeMTCNNError: as for ``FaceDetector``.
    """
    if isinstance(inputs, (str, os.PathLike)):
        raise OptionsError(f"inputs must be a list; got one, so use [{os.fspath(inputs)!r}]")
    options = check_options("options", options, BulkOptions)
    engine = check_options("engine", engine, EngineOptions)
    flags = {"recursive": recursive, "overwrite": overwrite, "retry_failed": retry_failed}
    for name, value in flags.items():
        check_bool(name, value)
    folder = Path(os.path.abspath(check_path("output", output)))  # noqa: PTH100 - links stay
    listener = check_options("listener", listener, Listener)
    stop = threading.Event() if stop is None else stop
    if detector is None:
        with FaceDetector() as own:
            model, information = Model.of(own), own.info()
    else:
        model, information = Model.of(detector), detector.info()
    made_with = {
        "model_version": information["model_version"],
        **model.options.to_dict(),
        "known_false": [entry.to_dict() for entry in model.known_false],
        **options.to_dict(),
    }
    about = {name: information[name] for name in ("version", "onnxruntime", "form")}
    if engine.nice and hasattr(os, "nice"):
        os.nice(engine.nice)
    with closing(
        DataSet(folder, made_with, about, overwrite=overwrite, retry_failed=retry_failed)
    ) as data:
        found = shards_of(
            [os.fspath(each) for each in inputs],
            recursive=recursive,
            column=options.column,
            batch_size=engine.batch_size,
            known=data.plan.places(),
            outside=os.fspath(folder),
        )
        data.add(itertools.takewhile(lambda _: not stop.is_set(), found))
        listener.planned(*data.counts())
        if engine.engine == "ray":
            from edge_mtcnn.bulk.on_ray import run_on_ray

            parts = run_on_ray(data.undone(), model, options, engine, stop)
        else:
            threads = information["threads"]
            parts = _here(data, model, threads, options, engine, listener, stop)
        with closing(parts):
            for part in parts:
                data.write(part)
                if engine.engine == "ray":
                    listener.searched(part.frames())
                for failure in part.failures():
                    listener.failed(failure)
        return data.totals


def _here(
    data: DataSet,
    model: Model,
    threads: int,
    options: BulkOptions,
    engine: EngineOptions,
    listener: Listener,
    stop: threading.Event,
) -> Generator[Part]:
    searchers = Searchers(model, threads, options, engine.limit_rate)

    def each(_failed: bool) -> None:
        listener.searched(1)

    work = partial(work_on, searchers=searchers, options=options, each=each)
    try:
        yield from run_here(data.undone(), work, stop, searchers.abandon)
    finally:
        searchers.close()
