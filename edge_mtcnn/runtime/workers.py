"""A pool of threads that share the jobs of one image, and how many threads this process may use.

Networks, OpenCV and NumPy release the GIL, so jobs of one thread each use the cores better than one
session with many threads. The calling thread works too. Idle workers block on a queue and use no
processor time.
"""

from __future__ import annotations

import itertools
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from operator import length_hint
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Workers", "available_threads"]

T = TypeVar("T")
R = TypeVar("R")

_MOST_WAITING = 256
"""Most results of a stream that wait for an earlier one, which takes long."""


def available_threads() -> int:
    """Number of threads that may run at once, by affinity mask and CPU quota of the container."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        allowed = os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _cgroup_cpus(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Number of CPUs that the control group allows; ``None`` for no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()  # version 1
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # a limit that cannot be read is ignored
        return None


class Workers:
    """Threads that run jobs in parallel; the calling thread is one of them.

    Args:
        threads: number of threads for one call, including the calling thread, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._started: list[threading.Thread] = []
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Compute ``[function(item) for item in items]``, shared among the threads.

        Jobs start in the order of the items, so put the largest first. If a job raises, no further
        job is started, and the exception is raised when the running ones have ended. A call from
        inside a job runs in the thread of that job; a call after ``close`` in the calling thread.
        """
        jobs = list(items)
        helpers = min(self.threads, len(jobs)) - 1
        if helpers < 1 or getattr(_inside, "job", False):
            return [function(job) for job in jobs]
        call = _Call(function, jobs)
        with self._lock:  # so that no call is queued behind the end marker of `close`
            if not self._closed:
                self._start()
                for _ in range(helpers):
                    self._calls.put(call)
        call.work()
        return call.results()

    def stream(
        self, function: Callable[[T], R], items: Iterable[T], ahead: int
    ) -> Generator[R, None, None]:
        """Compute ``function(item)`` for each item, while the caller uses the results before it.

        The threads are those of this stream alone. They end with it, also when it is closed early:
        items that were not started are dropped, and it waits for those that are running. A job that
        is known to be alone, as that of a list with one item, may share its own jobs with ``map``.

        Args:
            function: computes one result. If it raises, the exception is raised in the place of
                that result, and the stream ends.
            items: read in the thread that asks for the results. If reading raises an exception, the
                results of the items before it are given first, and then it is raised.
            ahead: most items that are not finished beyond the one whose result is given next, at
                least 1. While that one takes long, further items are begun as others end, until
                256 results wait for it.

        Yields:
            The results, in the order of the items.
        """
        remaining: Iterator[T] | None = iter(items)
        failure: Exception | None = None
        pending: deque[Future[R]] = deque()
        pool = ThreadPoolExecutor(self.threads, "edge-mtcnn-stream")

        def job(item: T, *, alone: bool) -> R:
            _inside.job = not alone
            return function(item)

        try:
            while True:
                read = False
                while remaining is not None and len(pending) < _MOST_WAITING:
                    unfinished = [future for future in pending if not future.done()]
                    # A result that is there is given, after one more item was read in its place.
                    if pending and pending[0].done() and (read or len(pending) > ahead):
                        break
                    if len(unfinished) > ahead:
                        wait(unfinished, return_when=FIRST_COMPLETED)
                        continue
                    try:
                        item = next(remaining)
                    except StopIteration:
                        remaining = None
                    except Exception as error:  # noqa: BLE001 -- raised after the results before it
                        remaining, failure = None, error
                    else:
                        alone = not pending and length_hint(remaining, 1) == 0
                        pending.append(pool.submit(job, item, alone=alone))
                        del item
                        read = True
                if not pending:
                    break
                yield pending.popleft().result()
        finally:
            # One of its own threads may collect it as garbage, and cannot wait for itself.
            own = threading.current_thread().name.startswith("edge-mtcnn-stream")
            pool.shutdown(wait=not own, cancel_futures=True)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Stop the threads for good, after the jobs that are running."""
        with self._lock:
            self._closed = True
            threads, self._started = self._started, []
        if self._process == os.getpid():
            for _ in threads:
                self._calls.put(None)
            for thread in threads:
                thread.join()

    def __del__(self) -> None:
        # A detector that is deleted without `close` must not leave threads behind; they only hold
        # the queue. They are not joined, because a destructor may run in any thread.
        if self._process == os.getpid():
            for _ in self._started:
                self._calls.put(None)

    def _start(self) -> None:
        """Start the threads that are missing. The caller holds the lock."""
        if self._process != os.getpid():  # threads do not survive a fork
            self._started, self._process = [], os.getpid()
            self._calls = queue.SimpleQueue()
        while len(self._started) < self.threads - 1:
            thread = threading.Thread(
                target=_serve, args=(self._calls,), name="edge-mtcnn", daemon=True
            )
            self._started.append(thread)
            thread.start()


_inside = threading.local()


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call.work()
        del call  # or an idle worker keeps the last image alive


class _Call:
    """The jobs of one ``Workers.map`` and their results."""

    def __init__(self, function: Callable[[Any], Any], jobs: list[Any]) -> None:
        self._function = function
        self._jobs = jobs
        self._results: list[Any] = [None] * len(jobs)
        self._next = itertools.count()
        self._lock = threading.Lock()
        self._open = len(jobs)
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def work(self) -> None:
        """Run jobs until all have been started."""
        _inside.job = True
        try:
            while (index := next(self._next)) < len(self._jobs):
                try:
                    if self._error is None:
                        self._results[index] = self._function(self._jobs[index])
                except BaseException as error:  # noqa: BLE001 -- raised in the calling thread
                    self._error = error
                with self._lock:
                    self._open -= 1
                    if self._open == 0:
                        self._ended.set()
        finally:
            _inside.job = False

    def results(self) -> list[Any]:
        """Wait for the jobs of the other threads, then return all results in order."""
        self._ended.wait()
        if self._error is not None:
            # This call and the error would hold each other, and the error's frames the image, until
            # the garbage collector comes by.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return self._results
