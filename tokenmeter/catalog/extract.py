"""A vendor's answer → `Usage`, by declared paths.

`extract` finds the usage object, reads it in one pass (`paths.Fields`), brings totals to one meaning (inclusive,
whatever the vendor's own) and says what it could not read. Which field means what is data: `apis/*.toml` for the
wire format, `providers/*.toml` for what one vendor says beyond it.

No input makes it raise. Numbers written as strings or as `12.0` are read and flagged; a figure that is no number
is left out and named in `reason`; figures that contradict one another are kept as reported, with a flag. What is
not reported stays None: the only zeros are the vendor's and those the wire format implies (`fixed`,
`zero_if_absent`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tokenmeter._guard import guard
from tokenmeter.catalog.apis import Api, load_apis, sign
from tokenmeter.catalog.paths import Fields, Found, collector, getter, number
from tokenmeter.catalog.providers import load_providers
from tokenmeter.money import EXACT, Money
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, checked_usage

__all__ = ["Extracted", "Reader", "extract", "reader_for"]

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
_TOKENS: Final = frozenset(TOKEN_FIELDS)
_PARTS_OF_INPUT: Final = ("cache_read_input_tokens", "cache_write_input_tokens", "audio_input_tokens")
_FLAGS_MOST: Final = 20


class Extracted(NamedTuple):
    """What an answer says about the call. `reason` says what could not be read, `raw` is the vendor's own usage.

    `params` holds the vendor's facts that choose a price (`cache`, `speed`, `inference_geo` …); `error` is the
    vendor's error type or code where the answer is an error.
    """

    usage: Usage | None
    source: Source
    model: str | None = None
    service_tier: str | None = None
    vendor_cost: Money | None = None
    unknown_fields: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    reason: str | None = None
    raw: object = None
    finish_reasons: tuple[str, ...] = ()
    response_id: str | None = None
    params: Mapping[str, Any] = _EMPTY
    api: str | None = None
    error: str | None = None


def extract(
    body: object, *, provider: str | None = None, host: str | None = None, api: str | None = None
) -> Extracted:
    """Read the usage out of an answer: a dict, its JSON text, or an SDK's object that can dump itself.

    `api` names the wire format; absent, it is told from the body, with the provider's own formats preferred.
    """
    if type(body) is not dict:
        body = as_dict(body)
        if type(body) is not dict:
            return Extracted(None, Source.NONE, reason="the answer is not a JSON object")
    if provider is None and host is not None:
        endpoint = load_providers().for_host(host, "")
        provider = endpoint.provider_id if endpoint is not None else None
    reader = _readers.get((provider, api)) or reader_for(provider, api, body)
    if reader is None:
        return Extracted(
            None, Source.NONE, raw=body.get("usage"), reason="no known wire format: say which with api"
        )
    return reader.read(body)


_readers: dict[tuple[str | None, str | None], Reader] = {}
_READERS_MOST: Final = 1000


def reader_for(provider: str | None, api: str | None, body: dict[str, Any] | None = None) -> Reader | None:
    """The compiled reader of one vendor's dialect of a wire format; None where neither name nor body tells it."""
    reader = _readers.get((provider, api))
    if reader is not None:
        return reader
    apis = load_apis()
    known = load_providers().get(provider)
    format_ = apis.get(api)
    if format_ is None or format_.guess:
        guessed = apis.get(apis.guess(body, known.apis if known is not None else ())) if body is not None else None
        if guessed is None:
            guessed = format_ or (apis.get(known.apis[0]) if known is not None and known.apis else None)
        return _compiled(known.id if known is not None else None, guessed.id) if guessed is not None else None
    reader = _compiled(known.id if known is not None else None, format_.id)
    if len(_readers) < _READERS_MOST:  # names come from callers: bounded
        _readers[provider, api] = reader
    return reader


@functools.cache
def _compiled(provider: str | None, api: str) -> Reader:
    format_ = load_apis().by_id[api]
    known = load_providers().get(provider)
    return Reader(format_.for_provider(known.usage.get(api, _EMPTY)) if known is not None else format_)


class Reader:
    """One vendor's dialect of one wire format, compiled from its paths."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.merge = api.merge
        self._fields = Fields(api.counts, api.info, open_=api.open)
        self._usage = tuple((path, getter(path) if path != "." else None) for path in api.usage)
        self._beside = tuple((path, component, getter(path)) for path, component in api.beside.items())
        self._model = _first(api.model)
        self._id = _first(api.response_id)
        self._tier = _first(api.tier)
        self._error = tuple(getter(path) for path in api.error)
        self._finish = tuple(collector(path) for path in api.finish)
        self.ends = tuple(sign(text) for text in api.ends)
        self.needles = _needles(api)
        self._adjusts = bool(api.outside or api.fixed or api.zero_if_absent)

    def usage_object(self, root: dict[str, Any]) -> dict[str, Any] | None:
        """The usage object of an answer already out of its envelope, wherever this format puts it."""
        for _, get in self._usage:
            usage = root if get is None else get(root)
            if type(usage) is dict and usage:
                return usage
        return None

    def read(self, body: dict[str, Any]) -> Extracted:
        """Read one whole answer."""
        root = self.api.root(body)
        raw = self.usage_object(root)
        facts = self.facts(root)
        if raw is None:
            return self.nothing(facts, self._why_not(root))
        return self.settle(raw, facts, root)

    def facts(self, root: dict[str, Any]) -> Facts:
        """What stands beside the usage."""
        finish: tuple[str, ...] = ()
        for collect in self._finish:
            finish = tuple(reason for reason in collect(root) if type(reason) is str)
            if finish:
                break
        return Facts(_text(self._model, root), _text(self._id, root), _text(self._tier, root), finish, self.error(root))

    def error(self, root: dict[str, Any]) -> str | None:
        """The type or code of an error an answer carries; never its message, which may quote the prompt."""
        for get in self._error:
            error = get(root)
            if type(error) is dict:
                name = error.get("type") or error.get("code") or error.get("status") or "error"
                return str(name)[:100]
            if error not in (None, "", 0, False) and type(error) in (str, int):
                return str(error)[:100] if type(error) is int or " " not in error else "error"
        return None

    def nothing(self, facts: Facts, reason: str, raw: object = None, source: Source = Source.NONE) -> Extracted:
        """An answer without usage."""
        return Extracted(
            None, source, facts.model, facts.tier, reason=reason, raw=raw, finish_reasons=facts.finish,
            response_id=facts.id, api=self.api.id, error=facts.error,
        )  # fmt: skip

    def settle(
        self, raw: dict[str, Any], facts: Facts, root: dict[str, Any], *, partial: bool = False
    ) -> Extracted:
        """Turn one usage object into an answer."""
        found = self._fields.pick(raw)
        for path, component, get in self._beside:
            if (value := get(root)) is not None:
                found.odd.append((path, component, 0, value))
        flags: list[str] = []
        unread: list[str] = []
        words: dict[str, Any] = {}
        if found.odd:
            _read_odd(found, words, flags, unread)
        values = found.values
        if found.disagreements:
            flags.extend(f"disagreement: {text}" for text in found.disagreements)
        total = values.pop("total", None)
        if self._adjusts:
            self._adjust(values)
        if total is not None or self.api.fixed:
            self._by_total(values, total, flags)
        usage, cost = _usage(values, flags, partial)
        if usage is None and cost is None:
            reason = "; ".join(unread) or "the usage object has none of the known fields"
            return self.nothing(facts, reason, raw)._replace(
                unknown_fields=tuple(found.unknown), flags=tuple(flags[:_FLAGS_MOST])
            )
        params = _EMPTY
        tier = facts.tier
        if words:
            tier, params = self._worded(words, tier)
        source = Source.NONE if usage is None else Source.PARTIAL if partial else Source.REPORTED
        return Extracted(
            usage, source, words.get("model", facts.model), tier, cost, tuple(found.unknown),
            tuple(flags[:_FLAGS_MOST]), "; ".join(unread) or None, raw, facts.finish, facts.id, params, self.api.id,
            facts.error,
        )  # fmt: skip

    def _adjust(self, values: dict[str, Any]) -> None:
        """Bring totals to one meaning: what the vendor leaves out is added in."""
        for total, parts in self.api.outside.items():
            for part in parts:
                extra = values.get(part)
                if extra:
                    held = values.get(total)
                    if held is not None or total not in ("input_tokens",) or part.startswith("part."):
                        values[total] = (held or 0) + extra
        if "input_tokens" in values:
            for name in self.api.zero_if_absent:
                values.setdefault(name, 0)
        for name, fixed in self.api.fixed.items():
            values[name] = fixed

    def _by_total(self, values: dict[str, Any], total: int | None, flags: list[str]) -> None:
        """Use the grand total: for what is missing, for what the vendor left out, and as a check."""
        if total is None:
            return
        got_in, got_out = values.get("input_tokens"), values.get("output_tokens")
        if got_in is None and got_out is None:
            return
        if got_in is None or got_out is None:
            rest = total - (got_out if got_in is None else got_in)
            if rest >= 0:
                values["input_tokens" if got_in is None else "output_tokens"] = rest
            else:
                flags.append(f"total_mismatch: total is {total}, below the one part that is there")
            return
        rest = total - got_in - got_out
        if rest == 0:
            return
        if rest > 0:
            for name, parts in self.api.by_total.items():
                if rest == sum(values.get(part) or 0 for part in parts):
                    values[name] += rest
                    return
            if self.api.hidden is not None:
                values["output_tokens"] += rest
                values[self.api.hidden] = (values.get(self.api.hidden) or 0) + rest
                return
        flags.append(f"total_mismatch: total is {total}, input and output are {got_in} and {got_out}")

    def _worded(self, words: dict[str, Any], tier: str | None) -> tuple[str | None, Mapping[str, Any]]:
        params: dict[str, Any] = {}
        for name, word in words.items():
            key = name.removeprefix("params.")
            word = self.api.values.get(key, _EMPTY).get(str(word), word)
            if name == "tier":
                tier = tier or str(word)
            elif name.startswith("params."):
                params[key] = word
        return tier, params

    def _why_not(self, root: dict[str, Any]) -> str:
        for path, get in self._usage:
            usage = root if get is None else get(root)
            if usage is not None:
                kind = "an empty object" if usage == {} else f"a {type(usage).__name__}"
                return f"{path} is {kind}"
        error = self.error(root)
        return f"the answer is an error ({error}) without usage" if error else "the answer has no usage"


def _needles(api: Api) -> re.Pattern[str]:
    """What the text of an event must hold to be worth decoding where nobody wants its text.

    The names of the usage object with an object after them, of a finish reason with a word after it, of errors and
    of last events; most events of a stream have none of these.
    """
    needles = {r'"error', r'"code"', r'"type"\s*:\s*"error'}
    for place in api.usage:
        if place == ".":
            needles.update(f'"{re.escape(path.split(".")[0].split("[")[0])}"' for path in api.counts)
        else:
            needles.add(rf'"{re.escape(place.split(".")[-1])}"\s*:\s*\{{')
    needles.update(rf'"{re.escape(path.split(".")[-1])}"\s*:\s*"' for path in api.finish)
    needles.update(re.escape(path.split("=")[-1].split(".")[-1]) for path in (*api.ends, *api.error))
    return re.compile("|".join(sorted(needles)))


class Facts(NamedTuple):
    model: str | None
    id: str | None
    tier: str | None
    finish: tuple[str, ...]
    error: str | None


def _first(paths: Iterable[str]) -> tuple[Callable[[Any], Any], ...]:
    return tuple(getter(path) for path in paths)


def _text(getters: tuple[Callable[[Any], Any], ...], root: dict[str, Any]) -> str | None:
    for get in getters:
        value = get(root)
        if type(value) is str and value:
            return value
    return None


def as_dict(body: object) -> object:
    """JSON text, or the object of an SDK, as plain data; None where it cannot be."""
    if isinstance(body, str | bytes | bytearray):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None
    if isinstance(body, dict):
        return dict(body)
    if isinstance(body, Mapping):
        with guard("reading a response object"):
            return dict(body)
        return None
    dump = getattr(body, "model_dump", None) or getattr(body, "to_dict", None) or getattr(body, "dict", None)
    if callable(dump):
        with guard("reading a response object"):
            return dump()
    return None


def _is_word(component: str) -> bool:
    return component in ("tier", "model") or component.startswith("params.")


def _read_odd(found: Found, words: dict[str, Any], flags: list[str], unread: list[str]) -> None:
    """Read what is not a plain integer: words, fractions, costs, and numbers written otherwise."""
    for path, component, rank, value in found.odd:
        if component is not None and _is_word(component):
            if type(value) in (str, int, bool):
                words.setdefault(component, value)
            continue
        read = number(value) if component is not None else None
        if read is None or component is None:
            unread.append(f"{path} is {_shown(value)}, not {'a number' if component is not None else 'an object'}")
            continue
        fractional = component.startswith(("quantities.", "vendor_cost."))
        if type(read) is Decimal and not fractional:
            unread.append(f"{path} is {_shown(value)}, not a whole number")
            continue
        if type(value) is not int and not fractional:
            flags.append(f"not_an_integer: {path} is {_shown(value)}")
        found.put(component, rank, read, path)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:40]


def _usage(values: dict[str, Any], flags: list[str], partial: bool) -> tuple[Usage | None, Money | None]:
    """Sort components into a `Usage`; a contradiction becomes a flag."""
    cost: Money | None = None
    writes: dict[str, int] = {}
    media: dict[str, int] = {}
    quantities: dict[str, int | Decimal] = {}
    if not values.keys() <= _TOKENS:
        for name in [name for name in values if name not in _TOKENS]:
            value = values.pop(name)
            if name.startswith("quantities."):
                quantities[name[11:]] = value
            elif name.startswith("cache_write_"):
                writes[name[12:-13]] = value
            elif name.endswith("_cache_read_input_tokens"):
                media[name[:-24]] = value
            elif name.startswith("vendor_cost."):
                cost = _cost(name, value)
    if writes and "cache_write_input_tokens" not in values and any(writes.values()):
        values["cache_write_input_tokens"] = sum(writes.values())
    if not values and not quantities and not writes:
        return None, cost
    usage = checked_usage(
        values,
        cache_writes=writes or _EMPTY,
        cached_media=media or _EMPTY,
        quantities=quantities or _EMPTY,
        sources=_PARTIAL_OUTPUT if partial else _EMPTY,
    )
    if _suspicious(values) or quantities or writes or media:
        flags.extend(f"contradiction: {text}" for text in usage.contradictions())
    return usage, cost


_PARTIAL_OUTPUT: Final[Mapping[str, Source]] = MappingProxyType(
    {name: Source.PARTIAL for name in TOKEN_FIELDS if "output" in name}
)


def _suspicious(values: dict[str, int]) -> bool:
    """Whether `Usage.contradictions` is worth its time."""
    total = values.get("input_tokens", 0)
    if total < 0 or values.get("reasoning_output_tokens", 0) > values.get("output_tokens", 0):
        return True
    get = values.get
    return (
        get("cache_read_input_tokens", 0) + get("cache_write_input_tokens", 0) > total
        or get("audio_input_tokens", 0) > total
        or min(values.values(), default=0) < 0
    )


def _cost(name: str, value: int | Decimal) -> Money:
    currency, _, divisor = name[12:].partition(" / ")
    amount = Decimal(value)
    return Money(EXACT.divide(amount, Decimal(divisor)) if divisor else amount, currency)
