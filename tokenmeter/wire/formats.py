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
from pathlib import Path
from typing import Any, Final, TypeVar

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.lazy import LazyMapping
from tokenmeter._support.toml_problems import CATALOG, Problems, read_folder
from tokenmeter._support.value import Value
from tokenmeter.wire.json_paths import collector, getter, written
from tokenmeter.wire.paths import bare_path, path_ends

__all__ = ["Api", "Apis", "Deltas", "load_apis", "read_apis", "sign"]

_TABLES_OF_LISTS: Final = ("outside", "by_total", "known", "elements", "per_answer", "instead")
_SHARED: Final = ("sign", "refusal", "success", "line", "header")
_Compiled = TypeVar("_Compiled")

Sign = tuple[str, bool, tuple[Callable[[Any], bool], ...]]
"""(api, whether others look alike, what a body must hold)."""

Table = Mapping[str, Any]
"""A table of a TOML file."""

Deltas = Mapping[str, tuple[tuple[str, Callable[[Any], Sequence[Any]]], ...]]
"""Event type (`*` for any) -> (kind, reader of that kind's text)."""


class Api(Value):
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
    counts: Mapping[str, str] = EMPTY
    info: tuple[str, ...] = ()
    beside: Mapping[str, str] = EMPTY
    outside: Mapping[str, tuple[str, ...]] = EMPTY
    by_total: Mapping[str, tuple[str, ...]] = EMPTY
    hidden: str | None = None
    fixed: Mapping[str, int] = EMPTY
    zero_if_absent: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, str]] = EMPTY
    done: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    merge: bool = False
    open: bool = False
    guess: bool = False
    cumulative_text: bool = False
    spare: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    known: Mapping[str, tuple[str, ...]] = EMPTY
    elements: Mapping[str, tuple[str, ...]] = EMPTY
    elements_of: Mapping[str, Mapping[str, tuple[str, ...]]] = EMPTY
    per_answer: Mapping[str, tuple[str, ...]] = EMPTY
    instead: Mapping[str, tuple[str, ...]] = EMPTY
    text: bool = True
    true_zeros: bool = False
    begins: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    text_places: tuple[str, ...] = ()
    """Places of text, as declared: `deltas` and `whole` hold their compiled readers."""
    deltas: Deltas = EMPTY
    whole: Deltas = EMPTY

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
        return self._replace(**changes)

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


class Refusal(Value):
    """How a body that is no answer says why: `error` is the place of the code, `tests` what the body must hold."""

    error: Callable[[Any], Any]
    tests: tuple[Callable[[Any], bool], ...]


class ResultLine(Value):
    """What a line of a batch's result file looks like: `answers` finds the answers in it, `error` its failure."""

    tests: tuple[Callable[[Any], bool], ...]
    answers: Callable[[Any], Sequence[Any]]
    error: tuple[Callable[[Any], Any], ...]


class Apis:
    """Every wire format by its id, how a path or a body is recognised, and the errors and batch lines all share.

    Made of the tables of the files. What is in them is compiled when it is first asked for: a process meets few of
    the formats.
    """

    def __init__(self, entries: Mapping[str, Table], shared: Mapping[str, Sequence[Any]]) -> None:
        self.by_id: Mapping[str, Api] = LazyMapping(entries, lambda name: _api(_extended(entries[name], entries)))
        patterns = [(pattern, name) for name, entry in entries.items() for pattern in entry.get("paths", ())]
        patterns.sort(key=lambda item: -len(item[0].replace("*", "")))
        self.patterns: Sequence[tuple[str, str]] = patterns
        """(pattern, api id), the most literal first."""
        self.success = frozenset(shared["success"])
        """Words of an error code that mean success, in lower case."""
        self.cost_headers: Mapping[str, str] = {
            entry["name"]: entry["component"].removeprefix("vendor_cost.") for entry in shared["header"]
        }
        """Header in which a gateway states a cost -> its currency."""
        self._signs = shared["sign"]
        self._refusals = shared["refusal"]
        self._lines: dict[str, list[Table]] = {}
        for line in shared["line"]:
            self._lines.setdefault(line["has"][0].split("=")[0].split(".")[0], []).append(line)
        self.refusal_heads = frozenset(entry["error"].split(".")[0] for entry in self._refusals)
        self.line_heads = frozenset(self._lines)
        self._compiled: dict[str, Any] = {}

    @property
    def refusals(self) -> Sequence[Refusal]:
        """The bodies that are no answer of any format."""
        return self._once("refusals", lambda: tuple(map(_refusal, self._refusals)))

    @property
    def lines(self) -> Mapping[str, Sequence[ResultLine]]:
        """Lines of batch result files by the field they are recognised by."""
        return self._once(
            "lines", lambda: {head: tuple(map(_result_line, entries)) for head, entries in self._lines.items()}
        )

    def _once(self, name: str, make: Callable[[], _Compiled]) -> _Compiled:
        found: _Compiled | None = self._compiled.get(name)
        return found if found is not None else self._compiled.setdefault(name, make())

    def get(self, api: str | None) -> Api | None:
        return self.by_id.get(api) if api is not None else None

    def for_path(self, path: str, own: Mapping[str, str] | None = None) -> str | None:
        """The api posted to at a path, by a provider's own patterns or else by everybody's."""
        path = bare_path(path)
        for pattern, api in (own or {}).items():
            if path_ends(pattern, path):
                return api or None
        return next((api for pattern, api in self.patterns if path_ends(pattern, path)), None)

    def guess(self, body: dict[str, Any], prefer: tuple[str, ...] = ()) -> str | None:
        """The api a body looks like; where several look alike, one of `prefer`."""
        first: str | None = None
        for api, vague, tests in self._once("signs", lambda: tuple(map(_sign, self._signs))):
            if all(test(body) for test in tests):
                if not vague or not prefer or api in prefer:
                    return api
                first = first or api
        return first


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


def _deltas(tables: Mapping[str, Any]) -> Deltas:
    return {
        event: tuple((kind, collector(path)) for kind, paths in kinds.items() for path in paths)
        for event, kinds in tables.items()
    }


def _api(entry: Table) -> Api:
    keys: dict[str, Any] = {}
    for key, value in entry.items():
        if key in ("deltas", "whole"):
            keys[key] = _deltas(value)
            places = (path for kinds in value.values() for paths in kinds.values() for path in paths)
            keys["text_places"] = (*keys.get("text_places", ()), *places)
        elif key in _TABLES_OF_LISTS:
            keys[key] = {name: tuple(parts) for name, parts in value.items()}
        else:
            keys[key] = tuple(value) if isinstance(value, list) else value
    return Api(**keys)


def _extended(entry: Table, entries: Mapping[str, Table]) -> Table:
    base = entries.get(entry.get("extends", ""))
    if base is None:
        return entry
    own = {key: value for key, value in entry.items() if key != "extends"}
    return {**_extended(base, entries), "paths": [], **own}


def _sign(entry: Table) -> Sign:
    return entry["api"], "vague" in entry, tuple(map(sign, entry["has"]))


def _refusal(entry: Table) -> Refusal:
    return Refusal(getter(entry["error"]), tuple(map(sign, entry["has"])))


def _result_line(entry: Table) -> ResultLine:
    places = [collector(path) for path in entry["answers"]]

    def answers(body: Any) -> Sequence[Any]:
        return next((found for read in places if (found := read(body))), ())

    return ResultLine(
        tests=tuple(map(sign, entry["has"])), answers=answers, error=tuple(map(getter, entry.get("error", ())))
    )


# Reading the files ------------------------------------------------------------------------------------------------


@functools.cache
def load_apis() -> Apis:
    """Every wire format there is, read once. Raises CatalogError with all problems of all files."""
    return read_apis(CATALOG / "wire" / "formats")


def read_apis(path: Path) -> Apis:
    """The wire formats of one folder. Raises CatalogError with all problems of all files."""
    problems = Problems()
    folder = read_folder(path, problems)
    entries: dict[str, Table] = {}
    places: dict[str, str] = {}
    shared: dict[str, list[Any]] = {key: [] for key in _SHARED}
    for place, content in folder.files.items():
        for key, tables in shared.items():
            tables.extend(content.get(key, ()))
        for position, entry in enumerate(content.get("api", ()), start=1):
            name = str(entry.get("id", position))
            if name in entries:
                problems.add(place, f'api "{name}" is described in {places[name]} already: keep one of them')
            entries[name], places[name] = entry, f'{place}: api "{name}"'
    if not folder.checked:
        from tokenmeter.wire.format_checks import check_formats

        extended = {places[name]: _extended(entry, entries) for name, entry in entries.items()}
        check_formats(folder.files, extended, problems)
    problems.done()
    return Apis(entries, shared)
