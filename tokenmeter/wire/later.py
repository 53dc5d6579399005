"""Answers that come later, as data (`wire/later.toml`): how vendors announce one, and which request returns it.

A `LaterForm` recognises the announcement in the answer to a POST and the finished answer in what a poll returns;
`BatchForms` recognises the objects of batches and the downloads of their results.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tokenmeter._support.data_files import read_data
from tokenmeter._support.value import Value
from tokenmeter.wire.json_paths import getter
from tokenmeter.wire.paths import bare_path, path_ends

__all__ = ["BatchForms", "LaterForm", "Poll", "batch_forms", "is_batch_path", "later_forms", "later_forms_at"]

_HOLE: Final = r"\{id(?::([^}]*))?\}"


class Poll(Value):
    """A request that returns something by its id: `GET /responses/{id}`."""

    method: str
    target: str
    """A pattern of `re`, with a group `id` where the text has its hole. Compiled when a request is compared with it."""

    def id_in(self, method: str, target: str) -> str | None:
        """The id that a request's target names; "" where the target fits and has no place for one."""
        if method != self.method or (match := _compiled(self.target).search(target)) is None:
            return None
        return str(match.groupdict().get("id") or "")


class LaterForm(Value):
    """One way to announce an answer that comes later. The keys are described in `later.toml`."""

    name: str
    posts: tuple[str, ...]
    """Ends of the paths posted to."""
    providers: tuple[str, ...]
    asked: str | None
    id: Callable[[Any], Any]
    status: Callable[[Any], Any]
    waiting: tuple[str, ...]
    done: tuple[str, ...]
    failed: tuple[str, ...]
    ready: Callable[[Any], Any] | None
    error: Callable[[Any], Any]
    answer: Callable[[Any], Any]
    polls: tuple[Poll, ...]
    body_id: Callable[[Any], Any] | None
    words: tuple[bytes, ...]
    """What the JSON of every announcement holds one of."""

    def announced(self, answer: object) -> str | None:
        """The id under which the answer will come; None where this is the answer, or an error."""
        found = self.id(answer)
        if not isinstance(found, str) or not found:
            return None
        if self.ready is not None:
            return found if self.ready(answer) in (None, False) else None
        status = self.status(answer)
        waits = status in self.waiting if self.waiting else status not in (*self.done, *self.failed)
        return found if waits else None

    def over(self, answer: object) -> bool | None:
        """True for a finished answer, False for a failure, None for one that is still to come."""
        if self.ready is not None:
            if self.ready(answer) in (None, False):
                return None
            return self.error(answer) is None
        status = self.status(answer)
        return True if status in self.done else False if status in self.failed else None

    def polled_id(self, method: str, target: str, body: Callable[[], Any]) -> str | None:
        """The id that a request asks for; None where it is no poll of this form."""
        for poll in self.polls:
            found = poll.id_in(method, target)
            if found == "" and self.body_id is not None:
                named = self.body_id(body())
                return named if isinstance(named, str) else None
            if found:
                return found
        return None


class BatchForms(Value):
    """The requests and fields of batches of all vendors."""

    objects: tuple[Poll, ...]
    results: tuple[Poll, ...]
    id: tuple[Callable[[Any], Any], ...]
    status: tuple[Callable[[Any], Any], ...]
    done: frozenset[str]
    file: tuple[Callable[[Any], Any], ...]
    inside: tuple[Callable[[Any], Any], ...]

    def watches(self, method: str, target: str) -> tuple[str, bool] | None:
        """The id of the batch or file that a request asks for, and whether it asks for results; None for neither."""
        for polls, results in ((self.results, True), (self.objects, False)):
            for poll in polls:
                found = poll.id_in(method, target)
                if found:
                    return found, results
        return None

    def finished(self, body: object) -> bool:
        """Whether a batch's object says that the batch is over."""
        return first(self.status, body) in self.done


def first(places: Iterable[Callable[[Any], Any]], value: object) -> Any:
    """What stands at the first place that has anything."""
    return next((found for get in places if (found := get(value)) is not None), None)


@functools.cache
def _data() -> Mapping[str, Any]:
    return read_data("later")


@functools.cache
def later_forms() -> tuple[LaterForm, ...]:
    """Every form there is, read once. Raises CatalogError for a broken file."""
    return tuple(_form(entry) for entry in _data()["answer"])


@functools.lru_cache(maxsize=1000)
def later_forms_at(path: str, provider: str | None) -> tuple[LaterForm, ...]:
    """The forms in which an answer to a POST at a path may announce another."""
    path = bare_path(path)
    return tuple(
        form
        for form in later_forms()
        if (not form.providers or provider in form.providers) and any(path_ends(post, path) for post in form.posts)
    )


@functools.cache
def batch_forms() -> BatchForms:
    """What is declared of batches, read once. Raises CatalogError for a broken file."""
    data = _data()["batch"]
    return BatchForms(
        objects=tuple(map(_poll, data["objects"])),
        results=tuple(map(_poll, data["results"])),
        id=tuple(map(getter, data["id"])),
        status=tuple(map(getter, data["status"])),
        done=frozenset(data["done"]),
        file=tuple(map(getter, data["file"])),
        inside=tuple(map(getter, data["inside"])),
    )


@functools.cache
def _batch_paths() -> Sequence[str]:
    paths: Sequence[str] = _data()["batch"]["price"]
    return paths


def is_batch_path(path: str) -> bool:
    """Whether calls posted to a path are billed at the batch price."""
    path = bare_path(path)
    return any(path_ends(pattern, path) for pattern in _batch_paths())


def _form(entry: Mapping[str, Any]) -> LaterForm:
    waiting = tuple(entry.get("waiting", ()))
    words = waiting or (entry["id"].rpartition(".")[2],)
    return LaterForm(
        name=entry["name"],
        posts=tuple(entry["posts"]),
        providers=tuple(entry.get("providers", ())),
        asked=entry.get("asked"),
        id=getter(entry["id"]),
        status=getter(entry["status"]) if "status" in entry else _nothing,
        waiting=waiting,
        done=tuple(entry.get("done", ())),
        failed=tuple(entry.get("failed", ())),
        ready=getter(entry["ready"]) if "ready" in entry else None,
        error=getter(entry["error"]) if "error" in entry else _nothing,
        answer=getter(entry.get("answer", ".")),
        polls=tuple(map(_poll, entry["polls"])),
        body_id=getter(entry["body_id"]) if "body_id" in entry else None,
        words=tuple(f'"{word}"'.encode() for word in words),
    )


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _nothing(_: object) -> None:
    return None


def _poll(text: str) -> Poll:
    """`GET /tasks/{id}`: a method, and the end of a path with its query."""
    method, _, target = text.partition(" ")
    hole = re.search(_HOLE, target)
    if hole is None:
        return Poll(method, re.escape(target) + r"/?(?:\?.*)?\Z")
    inside = "[^/?&]+" if hole[1] is None else "[^/?&]+".join(map(re.escape, hole[1].split("*")))
    before, after = re.escape(target[: hole.start()]), re.escape(target[hole.end() :])
    before = before.replace(r"\?", r"\?(?:.*&)?")  # other parameters may stand before
    return Poll(method, rf"{before}(?P<id>{inside}){after}/?(?:[?&].*)?\Z")
