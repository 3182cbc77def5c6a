"""The engine ``ray``: Ray Data maps shards to parts, on this machine or on a cluster.

Ray divides, places, repeats and limits the work. The rows come back to the process that was
started, which alone writes the data set, so a worker that dies leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from edge_mtcnn.bulk.options import BulkOptions, EngineOptions
from edge_mtcnn.bulk.plan import Shard
from edge_mtcnn.bulk.searching import Model, Searchers
from edge_mtcnn.bulk.work import Part, given_up, work_on
from edge_mtcnn.errors import OptionsError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["run_on_ray"]

_DIED = "the process that searched it, or an input of its batch, has died again and again"
_LOOK_SECONDS = 0.2
_MISSING = "the engine ray needs the package ray: pip install 'edge-mtcnn[ray]'"


@dataclass(frozen=True, slots=True)
class _Job:
    """What each worker needs, in plain values."""

    model: Model
    threads: int
    options: BulkOptions
    limit_rate: float | None
    nice: int


def run_on_ray(
    shards: Iterator[Shard],
    model: Model,
    options: BulkOptions,
    engine: EngineOptions,
    stop: threading.Event,
) -> Generator[Part]:
    """Work on shards with actors of Ray Data, in any order.

    Args:
        shards: the shards.
        model: the detector that each actor opens once.
        options: what is written.
        engine: what Ray may use.
        stop: once set, the shards that are worked on are finished, and all others left.

    Raises:
        OptionsError: Ray is not installed, or there is no cluster at the address.
        OSError: Ray has given up a shard.
    """
    ray = _started(engine)
    rows = [{"shard": json.dumps(shard.to_dict())} for shard in shards]
    if not rows:
        return
    threads = model.runtime.threads or 1
    actors = _actors(ray, engine, threads, len(rows))
    rate = None if engine.limit_rate is None else engine.limit_rate / actors
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    register = ray.remote(num_cpus=0, scheduling_strategy=here)(_Register).remote(engine.retries)
    ended = threading.Event()
    threading.Thread(target=_pass_on, args=(stop, ended, register), daemon=True).start()
    parts = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_kwargs={
            "job": _Job(model, threads, options, rate, engine.nice),
            "register": register,
        },
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=threads,
        num_gpus=1 if engine.num_gpus else 0,
    )
    try:
        for batch in parts.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in batch.to_pylist():
                if row["tables"] is not None:
                    yield _unpacked(row)
    except (ray.exceptions.RayError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise OSError(f"Ray has given up: {text[:600]}") from None
    finally:
        ended.set()


class _Register:
    """Knows how often each shard was begun, and whether the run is to end. One actor, here."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._begun: Counter[int] = Counter()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def begin(self, number: int) -> str:
        """What to do with a shard: ``work``, ``leave`` or ``give up``."""
        if self._stopped:
            return "leave"
        self._begun[number] += 1
        return "work" if self._begun[number] <= 1 + self._retries else "give up"


def _pass_on(stop: threading.Event, ended: threading.Event, register: Any) -> None:
    while not ended.wait(_LOOK_SECONDS):
        if stop.is_set():
            register.stop.remote()
            return


class _Worker:
    """One actor: a detector on one GPU, or on as many processors as it has threads."""

    def __init__(self, job: _Job, register: Any) -> None:
        if job.nice and hasattr(os, "nice"):
            os.nice(job.nice)
        self._options = job.options
        self._searchers = Searchers(job.model, job.threads, job.options, job.limit_rate)
        self._register = register

    def __call__(self, batch: pa.Table) -> pa.Table:
        import ray

        packed = []
        for text in batch["shard"].to_pylist():
            shard = Shard.from_dict(json.loads(text))
            # Ray begins a shard again whose process has died, without end.
            todo = ray.get(self._register.begin.remote(shard.number))
            if todo == "leave":
                packed.append({"number": shard.number, "tables": None})
            elif todo == "give up":
                packed.append(_packed(given_up(shard, _DIED, self._options)))
            else:
                packed.append(_packed(work_on(shard, self._searchers, self._options)))
        return pa.Table.from_pylist(packed, schema=_PACKED)


_PACKED = pa.schema(
    [
        ("number", pa.int64()),
        ("tables", pa.list_(pa.struct([("name", pa.string()), ("ipc", pa.large_binary())]))),
    ]
)


def _packed(part: Part) -> dict[str, Any]:
    """A part as one row, whatever tables it has."""
    tables = []
    for name, table in part.tables.items():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        tables.append({"name": name, "ipc": sink.getvalue().to_pybytes()})
    return {"number": part.number, "tables": tables}


def _unpacked(row: dict[str, Any]) -> Part:
    tables = {each["name"]: pa.ipc.open_stream(each["ipc"]).read_all() for each in row["tables"]}
    return Part(row["number"], tables)


def _actors(ray: ModuleType, engine: EngineOptions, threads: int, shards: int) -> int:
    """How many actors the options and the cluster allow; not more than there are shards."""
    if engine.num_gpus:
        return min(engine.num_gpus, shards)
    cpus = engine.num_cpus or math.floor(ray.cluster_resources().get("CPU", 1))
    if cpus < threads:
        raise OptionsError(
            f"--threads {threads} is more than the {cpus} processors that Ray may use; --threads is"
            " the number for each actor"
        )
    return min(max(1, cpus // threads), shards)


def _started(engine: EngineOptions) -> ModuleType:
    """Ray with a connection to a cluster, which is started here if there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray Data itself makes its actors in the way that Ray warns of.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise OptionsError(f"{_MISSING} ({error})") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    if not ray.is_initialized():
        own: dict[str, Any] = {}
        if engine.ray_address is None and "RAY_ADDRESS" not in os.environ:
            own = {"include_dashboard": False, "address": "local"}
            if engine.num_cpus is not None:
                own["num_cpus"] = engine.num_cpus
            if engine.num_gpus:
                own["num_gpus"] = engine.num_gpus
        else:
            own = {"address": engine.ray_address or "auto"}
        try:
            with contextlib.redirect_stdout(None):
                ray.init(logging_level=logging.ERROR, log_to_driver=False, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            raise OptionsError(f"Ray cannot be started or reached: {text[:400]}") from None
    module: ModuleType = ray
    return module
