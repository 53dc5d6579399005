"""The background thread runs jobs in order and on time, takes them from finalizers, and is renewed in a child."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator

import pytest

from tokenmeter._support.worker import Worker

SECONDS = 10.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.end()


def test_jobs_run_in_order_once_the_thread_is_started(worker: Worker) -> None:
    done, seen = threading.Event(), list[int]()
    for number in range(100):
        worker.put(lambda number=number: seen.append(number))
    worker.put(done.set)
    assert (worker.waiting, seen) == (True, [])
    assert worker.start()
    assert done.wait(SECONDS)
    assert seen == list(range(100))


def test_delayed_jobs_run_by_their_deadline_and_let_others_pass(worker: Worker) -> None:
    worker.start()
    done, seen = threading.Event(), list[str]()
    began = time.monotonic()
    worker.after(0.05, lambda: (seen.append("late"), done.set()))
    worker.after(0.02, lambda: seen.append("soon"))
    worker.put(lambda: seen.append("now"))
    assert done.wait(SECONDS)
    assert seen == ["now", "soon", "late"]
    assert time.monotonic() - began >= 0.05


def test_a_finalizer_may_put_a_job(worker: Worker) -> None:
    worker.start()
    done = threading.Event()

    class Ended:
        def __init__(self) -> None:
            self.circle = self

        def __del__(self) -> None:
            worker.put(done.set)

    Ended()
    gc.collect()
    assert done.wait(SECONDS)


def test_many_deadlines_need_one_thread(worker: Worker) -> None:
    worker.start()
    before = threading.active_count()
    for _ in range(800):
        worker.after(60, object)
    assert threading.active_count() == before


@pytest.mark.parametrize("running", [False, True])
def test_its_end_runs_what_waits_and_takes_no_more(worker: Worker, running: bool) -> None:
    seen: list[str] = []
    worker.after(60, lambda: seen.append("late"))
    worker.put(lambda: seen.append("now"))
    if running:
        worker.start()
    worker.end()
    assert seen == ["now", "late"]
    assert not worker.start()
    assert not worker.running


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_starts_a_thread_of_its_own_and_none_of_the_parents_jobs(worker: Worker) -> None:
    read, write = os.pipe()
    parent = os.getpid()
    worker.put(lambda: os.getpid() != parent and os.write(write, b"parent's "))
    pid = os.fork()
    if pid == 0:
        done = threading.Event()
        worker.put(lambda: (os.write(write, b"child's"), done.set()))
        worker.start()
        done.wait(SECONDS)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "child's"
    os.waitpid(pid, 0)
