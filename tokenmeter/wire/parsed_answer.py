"""Reads an answer that an SDK has parsed already: its facts from the SDK's object, its usage from the end of the body.

Parsing a body again takes as long as the rest of reading it. The facts beside the usage (model, id, tier, why it ended)
are attributes of the object. The usage object itself is read from the body, exactly as the vendor wrote it: it is
parsed together with what follows it, which also proves that it stands at the top of the answer. One that differs from
an earlier one in its numbers alone, and is followed by the same, needs no parsing (`usage_frames.py`).

Both steps answer None for anything that is not plain: then the body is parsed and read as ever.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from json.scanner import make_scanner
from typing import Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.wire.answer_facts import Facts
from tokenmeter.wire.element_counts import ElementCounts
from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.extracted import Extracted
from tokenmeter.wire.usage_reader import UsageReader

__all__ = ["ParsedAnswers", "parsed_answers"]

_KEY: Final = b'"usage":'
_TAIL_MOST: Final = 8192
_REST_MOST: Final = 256
_RESTS_MOST: Final = 4
_TEXT: Final = frozenset((str,))
_new: Final = tuple.__new__
_scan: Final[Callable[[str, int], tuple[Any, int]]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]


class ParsedAnswers:
    """The answers of one dialect of a wire format, compiled: which attributes say what, and which must not be there."""

    __slots__ = (
        "_absent",
        "_counted",
        "_elements",
        "_finish",
        "_id",
        "_listed",
        "_model",
        "_reader",
        "_rests",
        "_tier",
    )

    def __init__(self, reader: UsageReader) -> None:
        """Raises ValueError for a dialect whose answers cannot be read so."""
        api = reader.api
        self._reader = reader
        self._rests: tuple[bytes, ...] = ()
        """What has stood after a usage object at the top of an answer, and says nothing that is counted."""
        self._model, self._id, self._tier = (_name(paths) for paths in (api.model, api.response_id, api.tier))
        self._listed, _, self._finish = (api.finish[0] if api.finish else "").rpartition("[].")
        names = (self._model, self._id, self._finish, "usage" if api.usage[:1] == ("usage",) else "")
        if not all(names) or "." in f"{self._listed}{self._finish}":
            raise ValueError(api.id)
        counted = (api.elements, *api.elements_of.values())
        words = {word.strip('"') for one in counted for word in ElementCounts(one).needles}
        self._elements = tuple(f'"{word}"'.encode() for word in words)
        self._counted = frozenset(_head(path) for one in counted for paths in one.values() for path in paths)
        beside = (*api.error, *api.spare, *api.beside, *api.envelopes, "endpoint")
        self._absent = frozenset(_head(path) for path in beside)

    def facts(self, answer: object) -> Facts | None:
        """What the SDK's object says beside the usage. The object is the caller's next: nothing of it is kept."""
        try:
            fields = answer.__dict__
            more = answer.__pydantic_extra__  # type: ignore[attr-defined]
        except AttributeError:
            return None
        model, name = fields.get(self._model), fields.get(self._id)
        if type(model) is not str or type(name) is not str:
            return None
        absent = self._absent
        if not absent.isdisjoint(fields) and any(fields.get(head) is not None for head in absent):
            return None
        if more and not absent.isdisjoint(more):
            return None
        tier = fields.get(self._tier) if self._tier else None
        if tier is not None and type(tier) is not str:
            return None
        if self._listed:
            listed = fields.get(self._listed)
            if type(listed) is not list:
                return None
            finish = self._finish
            if len(listed) == 1:
                reasons: tuple[Any, ...] = (getattr(listed[0], finish, None),)
            else:
                reasons = tuple([getattr(one, finish, None) for one in listed])
        else:
            reasons = (fields.get(self._finish),)
        if not reasons or not _TEXT.issuperset(map(type, reasons)):
            return None
        said: Facts = _new(Facts, (model, name, tier, reasons, None))
        return said

    def read(self, body: bytes, facts: Facts) -> Extracted | None:
        """The whole answer; None where there is more to it than plain counts that agree with one another."""
        start = body.rfind(_KEY)
        if start < 0 or len(body) - start > _TAIL_MOST:
            return None
        for word in self._elements:
            if body.find(word, 0, start) >= 0:
                return None
        for rest in self._rests:
            if body.endswith(rest):
                known = self._reader.by_frame(body[start + len(_KEY) : len(body) - len(rest)], facts)
                if known is not None:
                    return known
        try:
            text = "{" + body[start:].decode().rstrip()
            end, stop = _scan(text, 0)
        except (ValueError, StopIteration, RecursionError):
            return None
        raw = end["usage"]
        if stop != len(text) or type(raw) is not dict or not raw or not self._counted.isdisjoint(end):
            return None
        self._learn(body, start + len(_KEY), raw)
        said = self._reader.settle(raw, facts, {"usage": raw})
        usage = said.usage
        if usage is None or not usage.input_tokens or not usage.output_tokens or said.flags or said.reason is not None:
            return None
        return said

    def _learn(self, body: bytes, start: int, raw: dict[str, Any]) -> None:
        """Note what stands at `start` and after it, at the top of an answer that was parsed."""
        frames = self._reader.frames
        if frames is not None:
            text = body[start:].decode()
            value = text.lstrip()
            stop = start + len((text[: len(text) - len(value)] + value[: _scan(value, 0)[1]]).encode())
            frames.learn(body[start:stop], raw)
            rest = body[stop:]
            if len(rest) <= _REST_MOST and rest not in self._rests:
                self._rests = (rest, *self._rests[: _RESTS_MOST - 1])


def _name(paths: tuple[str, ...]) -> str:
    """The first place, if it is a name at the top of the answer."""
    return paths[0] if paths and "." not in paths[0] and "[" not in paths[0] else ""


def _head(path: str) -> str:
    return path.removesuffix("?").split(".")[0].split("[")[0]


@functools.cache
def _compiled(reader: UsageReader) -> ParsedAnswers | None:
    with contextlib.suppress(ValueError):
        return ParsedAnswers(reader)
    return None


def parsed_answers(provider: str | None, api: str | None) -> ParsedAnswers | None:
    """The reader of parsed answers of one vendor's dialect; None where there is none."""
    key = (provider, api)
    if key in _known:
        return _known[key]
    reader = reader_for(provider, api)
    return _known.put(key, None if reader is None else _compiled(reader))


_known: Final[BoundedDict[tuple[str | None, str | None], ParsedAnswers | None]] = BoundedDict(1000)
