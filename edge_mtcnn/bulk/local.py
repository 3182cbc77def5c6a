"""The engine ``local``: the threads of this process.

Two shards are worked on at the same time, so that no thread waits for the last image of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.bulk.work import Part

__all__ = ["run_here"]

_AT_ONCE = 2
_LOOK_SECONDS = 0.5


def run_here(
    shards: Iterator[Shard],
    work: Callable[[Shard], Part],
    stop: threading.Event,
    abandon: Callable[[], None],
) -> Iterator[Part]:
    """Work on shards, in any order.

    Args:
        shards: the shards.
        work: what is done with each.
        stop: once set, no further shard is begun.
        abandon: makes ``work`` give up; called when the caller ends before the last part.
    """
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="edge-mtcnn-shard")
    running: set[Future[Part]] = set()
    try:
        while True:
            while len(running) < _AT_ONCE and not stop.is_set():
                shard = next(shards, None)
                if shard is None:
                    break
                running.add(pool.submit(work, shard))
            if not running:
                return
            # With a limit, as Windows delivers Ctrl-C between two waits only.
            done, running = wait(running, _LOOK_SECONDS, FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        if running:
            abandon()
        pool.shutdown(cancel_futures=True)
