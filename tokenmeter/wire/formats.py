"""Vendors' wire formats: the places of usage, model, error and text in an answer, read from `formats/*.toml`.

Each `[[api]]` of `wire/formats/*.toml` describes one format (`openai.chat`, `anthropic.messages` …): the path
it is posted to, the OpenTelemetry operation, where usage, model, tier, finish reason and text stand, and what ends a
stream. What one vendor says beyond the format stands in that vendor's file under `[usage."<api>"]`, or under
`[usage."*"]` for all formats it speaks, and is laid over it by `Api.for_provider`. No vendor is named in code.

Keys of an `[[api]]`:

    extends      another api whose keys hold unless given here
    paths        ends of request paths, `*` for any text; the longest that fits wins
    envelopes    names under which the answer may be wrapped
    usage        places of the usage object, first that is there; "." is the answer itself
    spare        places of a second usage object, read only where the first is missing
    error        places of an error's type or code
    success      words at those places that mean success, besides those of `formats/_errors.toml`
    counts       field of the usage object -> component, in order of preference
    info         fields that are known and not counted
    beside       place in the answer, outside usage -> component
    outside      total -> components this format leaves out of it: they are added in
    by_total     total -> components left out of it only where the reported grand total says so
    hidden       component that is whatever the grand total has beyond input and output
    fixed        components with a value no answer needs to state (embeddings: output 0)
    values       words of the vendor -> ours, by parameter (`cache`: `ephemeral` is `explicit`); "" says nothing
    known        words that a parameter or the tier may have; any other is flagged
    elements     component -> places in the answer whose elements are counted, where no field states the number
    elements_of  the same for models that fit a pattern
    per_answer   component -> patterns of models of which each answer is one (a fee for each request)
    instead      component -> places counted where an answer has no usage object; the first that finds something
    text         false for a format that carries no text: its tokens are never counted, its zeros mean "not in tokens"
    true_zeros   true where zero input or output tokens beside a prompt or text are the vendor's real count
    begins       signs of an event that opens a new answer in a session
    turns        signs of an event after which the next usage is of a new answer, without an id to tell
    choice       [place of a usage that is of one choice alone, place of that choice's number]

Components are the fields of `Usage`; `cache_write_<lifetime>_input_tokens`; `<medium>_cache_read_input_tokens`;
`quantities.<name>`; `params.<name>`; `tier`; `tier.<word>`, a count whose name says the tier; `model`; `total`;
`vendor_cost.<currency>` with an optional divisor (`vendor_cost.USD / 10000000000`); `upstream_cost.<currency>`, what a
gateway's upstream vendor bills by itself where `params.is_byok` says so; and `part.<name>`, which only lives to be
added by `outside`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tokenmeter._support.toml_problems import CATALOG, Problems, read_folder
from tokenmeter.usage import TOKEN_FIELDS
from tokenmeter.wire.json_paths import collector, getter, written

__all__ = ["API_KEYS", "Api", "Apis", "Deltas", "check_components", "load_apis", "sign"]

API_KEYS: Final[dict[str, type]] = {
    "id": str, "extends": str, "operation": str, "paths": list, "envelopes": list, "usage": list, "model": list,
    "response_id": list, "tier": list, "finish": list, "error": list, "counts": dict, "info": list, "beside": dict,
    "outside": dict, "by_total": dict, "hidden": str, "fixed": dict, "values": dict, "done": list, "ends": list,
    "merge": bool, "cumulative_text": bool, "deltas": dict, "whole": dict, "open": bool, "zero_if_absent": list,
    "guess": bool, "spare": list, "success": list, "known": dict, "elements": dict, "elements_of": dict,
    "per_answer": dict, "instead": dict, "text": bool, "true_zeros": bool, "begins": list, "turns": list,
    "choice": list,
}  # fmt: skip
_KINDS: Final = ("text", "reasoning", "tool_calls")
_COMPONENT: Final = re.compile(
    r"(cache_write_[0-9]+[a-z]+_input_tokens|(audio|image|video)_cache_read_input_tokens|quantities\.[a-z_]+"
    r"|params\.[a-z_]+|tier(\.[a-z]+)?|model|total|vendor_cost\.[A-Z]{3}( / [0-9]+)?"
    r"|upstream_cost\.[A-Z]{3}|part\.[a-z0-9_]+)"
)

_TABLES_OF_LISTS: Final = ("outside", "by_total", "known", "elements", "per_answer", "instead")
_FILE: Final = {"api": list, "sign": list, "refusal": list, "success": list, "line": list, "header": list}

Sign = tuple[str, bool, tuple[Callable[[Any], bool], ...]]
"""(api, whether others look alike, what a body must hold)."""

Deltas = Mapping[str, tuple[tuple[str, Callable[[Any], Sequence[Any]]], ...]]
"""Event type (`*` for any) -> (kind, reader of that kind's text)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One wire format. See the module's list of keys."""

    id: str
    operation: str = "chat"
    paths: tuple[str, ...] = ()
    envelopes: tuple[str, ...] = ()
    usage: tuple[str, ...] = ("usage",)
    model: tuple[str, ...] = ("model",)
    response_id: tuple[str, ...] = ("id",)
    tier: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    counts: Mapping[str, str] = field(default_factory=dict)
    info: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_total: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hidden: str | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)
    zero_if_absent: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    done: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    merge: bool = False
    open: bool = False
    guess: bool = False
    cumulative_text: bool = False
    spare: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elements_of: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    per_answer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text: bool = True
    true_zeros: bool = False
    begins: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    text_places: tuple[str, ...] = ()
    """Places of text, as declared: `deltas` and `whole` hold their compiled readers."""
    deltas: Deltas = field(default_factory=dict)
    whole: Deltas = field(default_factory=dict)

    def for_provider(self, beyond: Mapping[str, Any]) -> Api:
        """This format as one vendor speaks it: the vendor's own places and fields come first."""
        changes: dict[str, Any] = {}
        for key, value in beyond.items():
            own = getattr(self, key)
            if isinstance(own, tuple):
                changes[key] = (*value, *(item for item in own if item not in value))
            elif isinstance(own, Mapping):
                tables = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
                changes[key] = {**tables, **{name: item for name, item in own.items() if name not in tables}}
            else:
                changes[key] = value
        return replace(self, **changes)

    def texts(self, answer: object) -> Iterator[tuple[str, str]]:
        """(kind, text) of everything a whole answer says; kinds are text, reasoning and tool_calls."""
        body = self.root(answer) if isinstance(answer, dict) else answer
        for kind, read in self.whole.get("*", ()):
            for piece in read(body):
                yield kind, piece if isinstance(piece, str) else _json(piece)

    def root(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer itself, out of its envelope."""
        for name in self.envelopes:
            inner = answer.get(name)
            if type(inner) is dict:
                return inner
        return answer


def _json(value: object) -> str:
    import json

    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a body that is no answer says why: `error` is the place of the code, `tests` what the body must hold."""

    error: Callable[[Any], Any]
    tests: tuple[Callable[[Any], bool], ...]


@dataclass(frozen=True, slots=True)
class ResultLine:
    """What a line of a batch's result file looks like: `answers` finds the answers in it, `error` its failure."""

    tests: tuple[Callable[[Any], bool], ...]
    answers: Callable[[Any], Sequence[Any]]
    error: tuple[Callable[[Any], Any], ...]


@dataclass(frozen=True, slots=True)
class Apis:
    """Every wire format by its id, how a path or a body is recognised, and the errors and batch lines all share."""

    by_id: Mapping[str, Api]
    signs: tuple[Sign, ...]
    patterns: tuple[tuple[str, str], ...]
    """(pattern, api id), the most literal first."""
    refusals: tuple[Refusal, ...] = ()
    refusal_heads: frozenset[str] = frozenset()
    success: frozenset[str] = frozenset()
    """Words of an error code that mean success, in lower case."""
    lines: Mapping[str, tuple[ResultLine, ...]] = field(default_factory=dict)
    """Lines of batch result files by the field they are recognised by."""
    line_heads: frozenset[str] = frozenset()
    cost_headers: Mapping[str, str] = field(default_factory=dict)
    """Header in which a gateway states a cost -> its currency."""

    def get(self, api: str | None) -> Api | None:
        return self.by_id.get(api) if api is not None else None

    def for_path(self, path: str, own: Mapping[str, str] | None = None) -> str | None:
        """The api posted to at a path, by a provider's own patterns or else by everybody's."""
        path = path.partition("?")[0].rstrip("/")
        for pattern, api in (own or {}).items():
            if _fits(pattern, path):
                return api or None
        return next((api for pattern, api in self.patterns if _fits(pattern, path)), None)

    def guess(self, body: dict[str, Any], prefer: tuple[str, ...] = ()) -> str | None:
        """The api a body looks like; where several look alike, one of `prefer`."""
        first: str | None = None
        for api, vague, tests in self.signs:
            if all(test(body) for test in tests):
                if not vague or not prefer or api in prefer:
                    return api
                first = first or api
        return first


@functools.cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + r"\Z")


def _fits(pattern: str, path: str) -> bool:
    if pattern.startswith("="):
        return path == pattern[1:]
    if "*" not in pattern:
        return path.endswith(pattern)
    return _pattern("*" + pattern).match(path) is not None


def sign(text: str) -> Callable[[Any], bool]:
    """`path` is there, `path=word` is that word, `path^word` begins with it, `!path` is not there."""
    if text.startswith("!"):
        absent = getter(text[1:])
        return lambda body: absent(body) is None
    match = re.fullmatch(r"([^=^]+)([=^])(.+)", text)
    if match is None:
        there = getter(text)
        return lambda body: there(body) is not None
    read, wanted = getter(match[1]), match[3]
    if match[2] == "=":
        return lambda body: written(read(body)) == wanted
    return lambda body: isinstance(value := read(body), str) and value.startswith(wanted)


def _deltas(place: str, tables: Mapping[str, Any], problems: Problems) -> Deltas:
    read: dict[str, tuple[tuple[str, Callable[[Any], Sequence[Any]]], ...]] = {}
    for event, kinds in tables.items():
        if problems.check(f'{place}: "{event}"', kinds, dict.fromkeys(_KINDS, list)):
            read[event] = tuple((kind, collector(path)) for kind, paths in kinds.items() for path in paths)
    return read


def check_components(place: str, entry: Mapping[str, Any], problems: Problems) -> None:
    """Say which declared component there is none of."""
    for key in ("counts", "beside"):
        for path, component in entry.get(key, {}).items():
            if component not in TOKEN_FIELDS and not _COMPONENT.fullmatch(str(component)):
                problems.add(place, f'{key}: "{path}": {component!r} is not a component')


def _api(place: str, entry: dict[str, Any], problems: Problems) -> Api | None:
    if not problems.check(place, entry, API_KEYS, need=("id", "operation")):
        return None
    check_components(place, entry, problems)
    keys: dict[str, Any] = {}
    for key, value in entry.items():
        if key in ("deltas", "whole"):
            keys[key] = _deltas(f"{place}: {key}", value, problems)
            places = (path for kinds in value.values() for paths in kinds.values() for path in paths)
            keys["text_places"] = (*keys.get("text_places", ()), *places)
        elif key in _TABLES_OF_LISTS:
            keys[key] = {name: tuple(parts) for name, parts in value.items()}
        else:
            keys[key] = tuple(value) if isinstance(value, list) else value
    return Api(**keys)


def _extended(entry: dict[str, Any], entries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    base = entries.get(entry.get("extends", ""))
    if base is None:
        return entry
    own = {key: value for key, value in entry.items() if key != "extends"}
    return {**_extended(base, entries), "paths": [], **own}


@functools.cache
def load_apis() -> Apis:
    """Every wire format there is, read once. Raises CatalogError with all problems of all files."""
    problems = Problems()
    files = read_folder(CATALOG / "wire" / "formats", problems)
    entries: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    signs: list[Sign] = []
    success: set[str] = set()
    refusals: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    headers: dict[str, str] = {}
    for place, content in files.items():
        problems.check(place, content, _FILE)
        success.update(content.get("success", ()))
        refusals.extend(content.get("refusal", ()))
        lines.extend(content.get("line", ()))
        headers.update((entry["name"], entry["component"][12:]) for entry in content.get("header", ()))
        for position, entry in enumerate(content.get("api", ()), start=1):
            name = str(entry.get("id", position))
            if name in entries:
                problems.add(place, f'api "{name}" is described in {places[name]} already: keep one of them')
            entries[name], places[name] = entry, f'{place}: api "{name}"'
        signs.extend(
            (entry["api"], "vague" in entry, tuple(map(sign, entry["has"]))) for entry in content.get("sign", ())
        )
    by_id: dict[str, Api] = {}
    for name, entry in entries.items():
        if entry.get("extends") and entry["extends"] not in entries:
            problems.add(places[name], f'"extends": there is no api {entry["extends"]!r}')
        api = _api(places[name], _extended(entry, entries), problems)
        if api is not None:
            by_id[name] = api
    problems.lines.extend(f"apis: sign for {api!r}: no such api" for api, *_ in signs if api not in entries)
    problems.done()
    by_head: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_head.setdefault(line["has"][0].split("=")[0].split(".")[0], []).append(line)
    patterns = [(pattern, api.id) for api in by_id.values() for pattern in api.paths]
    patterns.sort(key=lambda item: -len(item[0].replace("*", "")))
    return Apis(
        by_id=by_id,
        signs=tuple(signs),
        patterns=tuple(patterns),
        refusals=tuple(Refusal(getter(entry["error"]), tuple(map(sign, entry["has"]))) for entry in refusals),
        refusal_heads=frozenset(entry["error"].split(".")[0] for entry in refusals),
        success=frozenset(success),
        lines={head: tuple(map(_result_line, entries)) for head, entries in by_head.items()},
        line_heads=frozenset(by_head),
        cost_headers=headers,
    )


def _result_line(entry: Mapping[str, Any]) -> ResultLine:
    places = [collector(path) for path in entry["answers"]]

    def answers(body: Any) -> Sequence[Any]:
        return next((found for read in places if (found := read(body))), ())

    return ResultLine(
        tests=tuple(map(sign, entry["has"])), answers=answers, error=tuple(map(getter, entry.get("error", ())))
    )
