"""The pool of threads: order, errors, nesting, forks, and how many threads there may be."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_mtcnn.runtime import workers
from edge_mtcnn.runtime.workers import Workers, _cgroup_cpus, available_threads

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60  # long enough for the slowest machine; a pool that hangs never ends


@pytest.fixture(params=[1, 2, 3, 8])
def pool(request: pytest.FixtureRequest) -> Iterator[Workers]:
    workers = Workers(request.param)
    yield workers
    workers.close()


@pytest.fixture
def four() -> Iterator[Workers]:
    workers = Workers(4)
    yield workers
    workers.close()


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "edge-mtcnn"}


def test_map_gives_results_in_the_order_of_the_items(pool: Workers) -> None:
    def late_first(number: int) -> int:
        time.sleep(0.002 if number < 3 else 0)
        return number * number

    assert pool.map(late_first, range(50)) == [number * number for number in range(50)]


def test_map_takes_any_iterable_and_none_at_all(pool: Workers) -> None:
    assert pool.map(str, (number for number in (3, 1))) == ["3", "1"]
    assert pool.map(str, []) == []


def test_map_keeps_none_and_falsy_results(pool: Workers) -> None:
    assert pool.map(lambda item: item, [None, 0, "", [], 7]) == [None, 0, "", [], 7]


def test_jobs_run_at_the_same_time(four: Workers) -> None:
    # Passes only if all four are inside at once.
    together = threading.Barrier(4)
    assert four.map(lambda _: together.wait(SECONDS) >= 0, range(4)) == [True] * 4


def test_the_calling_thread_works_too(four: Workers) -> None:
    before = own_threads()
    together = threading.Barrier(4)

    def who(_: int) -> threading.Thread:
        together.wait(SECONDS)
        return threading.current_thread()

    assert threading.current_thread() in four.map(who, range(4))
    assert len(own_threads() - before) == 3


def test_one_thread_starts_no_other() -> None:
    before = threading.active_count()
    pool = Workers(1)
    assert (
        pool.map(lambda _: threading.current_thread(), range(5)) == [threading.current_thread()] * 5
    )
    assert threading.active_count() == before


def test_no_thread_starts_before_the_first_call() -> None:
    before = threading.active_count()
    Workers(8)
    assert threading.active_count() == before


def test_an_exception_reaches_the_caller_and_later_calls_work(pool: Workers) -> None:
    def fails(number: int) -> int:
        if number == 7:
            raise ZeroDivisionError("job 7")
        return number

    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="job 7"):
            pool.map(fails, range(20))
        assert pool.map(fails, range(5)) == [0, 1, 2, 3, 4]


def test_an_exception_that_is_no_error_reaches_the_caller(pool: Workers) -> None:
    def interrupted(number: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.map(interrupted, range(6))
    assert pool.map(str, [1, 2]) == ["1", "2"]


def test_jobs_not_yet_begun_are_left_out_after_an_exception() -> None:
    with_one = Workers(1)
    begun: list[int] = []

    def fails(number: int) -> None:
        begun.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        with_one.map(fails, range(100))
    assert begun == [0]


def test_a_map_inside_a_job_runs_in_that_jobs_thread(pool: Workers) -> None:
    def inner(_: int) -> threading.Thread:
        return threading.current_thread()

    def outer(_: int) -> bool:
        return set(pool.map(inner, range(6))) == {threading.current_thread()}

    assert pool.map(outer, range(12)) == [True] * 12


def test_a_map_inside_a_job_raises_in_that_job(pool: Workers) -> None:
    def inner(number: int) -> int:
        return 1 // number

    def outer(number: int) -> str:
        try:
            pool.map(inner, [1, 0])
        except ZeroDivisionError:
            return "caught"
        return "lost"

    assert pool.map(outer, range(8)) == ["caught"] * 8


def test_a_call_after_a_nested_one_is_shared_again(four: Workers) -> None:
    four.map(lambda _: four.map(str, range(3)), range(4))
    together = threading.Barrier(4)
    assert len(four.map(lambda _: together.wait(SECONDS), range(4))) == 4


def test_many_callers_at_once_each_get_their_own_results(pool: Workers) -> None:
    wrong: list[int] = []
    done: list[int] = []

    def caller(base: int) -> None:
        for _ in range(20):
            got = pool.map(lambda number: base + number, range(7))
            if got != [base + number for number in range(7)]:
                wrong.append(base)
        done.append(base)

    callers = [threading.Thread(target=caller, args=(base * 100,)) for base in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(SECONDS)
    assert sorted(done) == [base * 100 for base in range(8)]
    assert wrong == []


def test_a_stream_keeps_the_order_and_takes_any_iterable(pool: Workers) -> None:
    def late_first(number: int) -> int:
        time.sleep(0.002 if number % 5 == 0 else 0)
        return number * number

    assert list(pool.stream(late_first, range(50), 7)) == [n * n for n in range(50)]
    assert list(pool.stream(str, iter([3, 1]), 1)) == ["3", "1"]
    assert list(pool.stream(str, [], 1)) == []


def test_a_stream_runs_as_many_jobs_at_once_as_there_are_threads(four: Workers) -> None:
    together = threading.Barrier(4)
    assert list(four.stream(lambda _: together.wait(SECONDS) >= 0, range(8), 4)) == [True] * 8


def test_a_map_inside_a_stream_runs_in_that_jobs_thread_unless_the_job_is_alone(
    four: Workers,
) -> None:
    def inner(_: int) -> threading.Thread:
        return threading.current_thread()

    def outer(_: int) -> bool:
        return set(four.map(inner, range(6))) == {threading.current_thread()}

    assert list(four.stream(outer, range(5), 8)) == [True] * 5
    together = threading.Barrier(4)
    shared = four.stream(lambda _: four.map(lambda _: together.wait(SECONDS), range(4)), [1], 8)
    assert len(next(shared)) == 4, "all threads share the jobs of a single item"


def test_items_go_on_while_the_first_takes_long_and_few_are_unfinished_at_once(
    four: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MOST_WAITING", 31)
    others_ended = threading.Event()
    ended: list[int] = []
    unfinished: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            unfinished.append(number + 1 - len(ended))
            yield number
            if number >= 29:
                others_ended.set()

    def work(number: int) -> int:
        if number == 0:
            assert others_ended.wait(SECONDS)
        ended.append(number)
        return number

    stream = four.stream(work, items(), 5)
    assert next(stream) == 0, "31 were read before; else the first would never have ended"
    assert list(stream) == list(range(1, 100))
    assert max(unfinished) <= 5 + 1 + 4  # a thread notes its end before the future does


def test_not_more_results_wait_for_a_slow_one_than_the_limit(
    four: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MOST_WAITING", 10)
    taken: list[int] = []
    first_may_end = threading.Event()

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(SECONDS)
        return number

    stream = four.stream(work, items(), 5)
    timer = threading.Timer(0.5, first_may_end.set)
    timer.start()
    assert next(stream) == 0
    assert len(taken) == 10
    assert list(stream) == list(range(1, 50))
    timer.join()


def test_an_exception_of_a_stream_comes_in_its_place_and_ends_it(pool: Workers) -> None:
    def fails(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError("job 3")
        return number

    stream = pool.stream(fails, range(20), 5)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="job 3"):
        next(stream)
    assert list(stream) == []


def test_close_ends_the_threads_and_may_be_repeated(four: Workers) -> None:
    before = own_threads()
    four.map(str, range(10))
    started = own_threads() - before
    assert len(started) == 3
    four.close()
    four.close()
    assert not started & own_threads()


def test_a_pool_that_is_dropped_without_close_ends_its_threads() -> None:
    output = run_python(
        "import gc, threading, time\n"
        "from edge_mtcnn.runtime.workers import Workers\n"
        "for _ in range(5):\n"
        "    Workers(4).map(str, range(10))\n"
        "gc.collect()\n"
        "for _ in range(200):\n"
        "    if threading.active_count() == 1:\n"
        "        break\n"
        "    time.sleep(0.05)\n"
        "print(threading.active_count())\n"
    )
    assert output == "1\n"


def test_close_without_a_call_does_nothing() -> None:
    Workers(4).close()


def test_a_call_after_close_runs_in_the_calling_thread(four: Workers) -> None:
    four.map(str, range(10))
    four.close()
    before = own_threads()
    seen = four.map(lambda _: threading.current_thread(), range(10))
    assert seen == [threading.current_thread()] * 10
    assert own_threads() <= before


def test_closing_from_another_thread_between_two_calls_starts_no_thread_again() -> None:
    pool = Workers(4)
    before = own_threads()
    under_way, closing = threading.Event(), threading.Event()

    def job(number: int) -> int:
        under_way.set()
        assert closing.wait(SECONDS)
        return number

    results: list[list[int]] = []

    def two_calls() -> None:
        results.append(pool.map(job, range(8)))
        results.append(pool.map(job, range(8)))

    caller = threading.Thread(target=two_calls)
    caller.start()
    assert under_way.wait(SECONDS)
    threading.Timer(0.05, closing.set).start()  # close() waits for the jobs that have begun
    pool.close()
    caller.join(SECONDS)
    assert results == [list(range(8))] * 2
    assert own_threads() <= before


def test_idle_threads_use_no_processor_time() -> None:
    # In its own process: other tests' threads are none of its business. A spinning thread would
    # use about the whole half second, three of them more; ending the last jobs uses some of it.
    used = float(
        run_python(
            "import time\n"
            "from edge_mtcnn.runtime.workers import Workers\n"
            "pool = Workers(4)\n"
            "pool.map(str, range(100))\n"
            "start = time.process_time()\n"
            "time.sleep(0.5)\n"
            "print(time.process_time() - start)\n"
        )
    )
    assert used < 0.2


def test_a_process_ends_without_close() -> None:
    code = (
        "from edge_mtcnn.runtime.workers import Workers; print(len(Workers(4).map(str, range(9))))"
    )
    assert run_python(code) == "9\n"


def test_idle_threads_do_not_keep_the_last_items_alive() -> None:
    class Item:
        pass

    pool = Workers(3)
    items = [Item() for _ in range(6)]
    references = [weakref.ref(item) for item in items]
    pool.map(id, items)
    items.clear()
    for _ in range(100):  # the threads leave the call a moment after it returned
        gc.collect()
        if not any(reference() for reference in references):
            break
        time.sleep(0.05)
    assert not any(reference() for reference in references)
    pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_an_exception_keeps_nothing_alive_after_it_was_handled(four: Workers) -> None:
    class Large:
        pass

    seen: list[weakref.ref[Large]] = []

    def work() -> None:
        image = Large()
        seen.append(weakref.ref(image))
        four.map(lambda number: 1 / number, [0] * 8)

    gc.disable()  # a cycle would stay until the garbage collector comes by
    try:
        with pytest.raises(ZeroDivisionError):
            work()
        until = time.monotonic() + 10  # a helper may still hold the call for a moment
        while seen[0]() is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert seen[0]() is None
    finally:
        gc.enable()


def test_a_forked_child_starts_its_own_threads() -> None:
    output = run_python(
        "import os, sys, threading\n"
        "from edge_mtcnn.runtime.workers import Workers\n"
        "pool = Workers(4)\n"
        "assert len(pool.map(str, range(20))) == 20\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    barrier = threading.Barrier(4)\n"
        "    ok = len(pool.map(lambda _: barrier.wait(30), range(4))) == 4\n"
        "    pool.close()\n"
        "    os._exit(0 if ok and threading.active_count() == 1 else 1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "assert len(pool.map(str, range(20))) == 20\n"
        "pool.close()\n"
        "print('child', os.waitstatus_to_exitcode(status))\n"
    )
    assert output == "child 0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_closing_in_a_forked_child_leaves_the_parent_alone() -> None:
    output = run_python(
        "import os\n"
        "from edge_mtcnn.runtime.workers import Workers\n"
        "pool = Workers(3)\n"
        "pool.map(str, range(9))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    pool.close()\n"
        "    os._exit(0)\n"
        "_, status = os.waitpid(child, 0)\n"
        "print(len(pool.map(str, range(9))), os.waitstatus_to_exitcode(status))\n"
    )
    assert output == "9 0\n"


def test_available_threads_is_at_least_one_and_within_the_affinity_mask() -> None:
    count = available_threads()
    assert count >= 1
    if hasattr(os, "sched_getaffinity"):
        assert count <= len(os.sched_getaffinity(0))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no such mask")
def test_available_threads_follows_the_affinity_mask() -> None:
    output = run_python(
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from edge_mtcnn.runtime.workers import available_threads\n"
        "print(available_threads())\n"
    )
    assert output == "1\n"


@pytest.mark.parametrize(
    ("content", "cpus"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("400000 100000\n", 4.0),
        ("", None),
        ("garbage here\n", None),
        ("100000 0\n", None),
        ("1 2 3\n", None),
    ],
)
def test_control_groups_version_2(tmp_path: Path, content: str, cpus: float | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert _cgroup_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        ("-1\n", "100000\n", None),
        ("250000\n", "100000\n", 2.5),
        ("x\n", "100000\n", None),
        ("100000\n", "0\n", None),
    ],
)
def test_control_groups_version_1(
    tmp_path: Path, quota: str, period: str, cpus: float | None
) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text(period)
    assert _cgroup_cpus(tmp_path) == cpus


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    assert _cgroup_cpus(tmp_path) is None
