"""Celery, a real worker: the tags of the sender are those of the calls in the task, and they end with it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

import tokenmeter
from tokenmeter import Usage
from tokenmeter.attribution import tag_tasks
from tokenmeter.testing import capture

celery = pytest.importorskip("celery")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A worker sets up the root logger for itself."""
    root = logging.getLogger()
    before = root.handlers.copy(), root.level
    yield
    root.handlers[:], level = before[0], before[1]
    root.setLevel(level)


def test_the_tags_of_the_sender_are_those_of_the_task() -> None:
    from celery.contrib.testing.worker import start_worker

    tag_tasks()
    tag_tasks()
    app = celery.Celery("app", broker="memory://", backend="cache+memory://")

    @app.task  # type: ignore[untyped-decorator]
    def ask() -> dict[str, str]:
        with tokenmeter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=1, output_tokens=1))
        return dict(tokenmeter.calls.context.TAGS.get())

    meter = tokenmeter.configure(spans="none", replace=True)
    with warnings.catch_warnings(), capture(meter) as records:
        warnings.simplefilter("ignore")
        with start_worker(app, perform_ping_check=False, pool="solo", loglevel="error"):
            with tokenmeter.tags(user="u1", team="search"):
                assert ask.delay().get(timeout=20) == {"user": "u1", "team": "search"}
            assert ask.delay().get(timeout=20) == {}
    assert [dict(record.tags) for record in records] == [{"user": "u1", "team": "search"}, {}]
