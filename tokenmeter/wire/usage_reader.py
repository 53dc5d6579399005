"""One vendor's dialect of one wire format, compiled: a usage object in, `Usage` out.

The usage object is read in one pass (`paths.Fields`); then totals are brought to one meaning (inclusive, whatever the
vendor's own) and checked against the vendor's grand total. Numbers written as strings or as `12.0` are read and
flagged; a figure that is no number is left out and named in `reason`; figures that contradict one another are kept as
reported, with a flag. What is not reported stays None: the only zeros are the vendor's and those the wire format
implies (`fixed`, `zero_if_absent`).

`Reader.read` is on the path of every metered call, which is why its steps are spelled out rather than looped over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tokenmeter.money import EXACT, Money
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, checked_usage
from tokenmeter.wire.formats import Api, sign
from tokenmeter.wire.json_paths import Fields, Found, collector, getter, number

__all__ = ["Extracted", "Facts", "Reader"]

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
_TOKENS: Final = frozenset(TOKEN_FIELDS)
_PARTIAL_OUTPUT: Final[Mapping[str, Source]] = MappingProxyType(
    {name: Source.PARTIAL for name in TOKEN_FIELDS if "output" in name}
)
# Looking a member up on an enum class costs as much as reading a field of the answer.
_REPORTED: Final = Source.REPORTED
_PARTIAL: Final = Source.PARTIAL
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


class Facts(NamedTuple):
    model: str | None
    id: str | None
    tier: str | None
    finish: tuple[str, ...]
    error: str | None


class Reader:
    """One vendor's dialect of one wire format, compiled from its paths."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.merge = api.merge
        self._fields = Fields(api.counts, api.info, open_=api.open)
        # An answer may be cut down to `usage` and `model`, whatever its format calls the former.
        places = api.usage if "usage" in api.usage else (*api.usage, "usage")
        places = tuple(sorted(places, key=lambda place: place == "."))  # the answer itself is always there: last
        self._usage = _direct(places)
        self._beside = tuple((path, component, getter(path)) for path, component in api.beside.items())
        self._model = _direct(api.model)
        self._id = _direct(api.response_id)
        self._tier = _direct(api.tier)
        self._model_key, self._id_key, self._tier_key = map(_key, (self._model, self._id, self._tier))
        self._error = _direct(api.error)
        self._finish = tuple(collector(path) for path in api.finish)
        self.ends = tuple(sign(text) for text in api.ends)
        self.needles = _needles(api)
        self._adjusts = bool(api.outside or api.fixed or api.zero_if_absent)

    def usage_object(self, root: dict[str, Any]) -> dict[str, Any] | None:
        """The usage object of an answer already out of its envelope, wherever this format puts it."""
        for get in self._usage:
            usage = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
            if type(usage) is dict and usage:
                return usage
        return None

    def read(self, body: dict[str, Any]) -> Extracted:
        """Read one whole answer."""
        root = self.api.root(body) if self.api.envelopes else body
        raw = self.usage_object(root)
        facts = self.facts(root)
        if raw is None:
            return self.nothing(facts, self._why_not(root))
        return self.settle(raw, facts, root)

    def facts(self, root: dict[str, Any]) -> Facts:
        """What stands beside the usage. The first place of each is the usual one and tried without a call."""
        get = root.get
        model, name, tier = get(self._model_key), get(self._id_key), get(self._tier_key)
        if type(model) is not str:
            model = _text(self._model, root)
        if type(name) is not str:
            name = _text(self._id, root)
        if type(tier) is not str:
            tier = _text(self._tier, root)
        return Facts(model, name, tier, self._finished(root), self.error(root))

    def _finished(self, root: dict[str, Any]) -> tuple[str, ...]:
        for collect in self._finish:
            if reasons := collect(root):
                if len(reasons) == 1:
                    return (reasons[0],) if type(reasons[0]) is str else ()
                return tuple([reason for reason in reasons if type(reason) is str])
        return ()

    def error(self, root: dict[str, Any]) -> str | None:
        """The type or code of an error an answer carries; never its message, which may quote the prompt."""
        for get in self._error:
            error = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
            if error is None:
                continue
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

    def settle(self, raw: dict[str, Any], facts: Facts, root: dict[str, Any], *, partial: bool = False) -> Extracted:
        """Turn one usage object into an answer."""
        found = self._fields.pick(raw)
        for path, component, get in self._beside:
            if (value := get(root)) is not None:
                found.odd += ((path, component, 0, value),)
        if found.odd or found.disagreements or not found.plain:
            return self._settle_odd(found, raw, facts, partial)
        values = found.values
        flags: list[str] = []
        self._total(values, flags)
        if not values:
            return self._unreadable(found, raw, facts, flags, ())
        if _suspicious(values):
            flags.extend(f"contradiction: {text}" for text in checked_usage(values).contradictions())
        usage = checked_usage(values, sources=_PARTIAL_OUTPUT) if partial else checked_usage(values)
        return Extracted(
            usage, _PARTIAL if partial else _REPORTED, facts.model, facts.tier, None, found.unknown,
            tuple(flags), None, raw, facts.finish, facts.id, _EMPTY, self.api.id, facts.error,
        )  # fmt: skip

    def _settle_odd(self, found: Found, raw: dict[str, Any], facts: Facts, partial: bool) -> Extracted:
        """As `settle`, where there is more than plain token counts."""
        flags = [f"disagreement: {text}" for text in found.disagreements]
        unread: list[str] = []
        words: dict[str, Any] = {}
        _read_odd(found, words, flags, unread)
        self._total(found.values, flags)
        usage, cost = _usage(found.values, flags, partial)
        if usage is None and cost is None:
            return self._unreadable(found, raw, facts, flags, unread)
        tier, params = self._worded(words, facts.tier)
        source = Source.NONE if usage is None else Source.PARTIAL if partial else Source.REPORTED
        return Extracted(
            usage, source, words.get("model", facts.model), tier, cost, found.unknown, tuple(flags[:_FLAGS_MOST]),
            "; ".join(unread) or None, raw, facts.finish, facts.id, params, self.api.id, facts.error,
        )  # fmt: skip

    def _unreadable(
        self, found: Found, raw: dict[str, Any], facts: Facts, flags: list[str], unread: Iterable[str]
    ) -> Extracted:
        reason = "; ".join(unread) or "the usage object has none of the known fields"
        answer = self.nothing(facts, reason, raw)
        return answer._replace(unknown_fields=found.unknown, flags=tuple(flags[:_FLAGS_MOST]))

    def _total(self, values: dict[str, Any], flags: list[str]) -> None:
        """Bring totals to one meaning: what the vendor leaves out is added in, and the grand total is heeded."""
        total = values.pop("total", None)
        if self._adjusts:
            # Perplexity's grand total leaves out what we add in, Gemini's does not: either agrees.
            if total == values.get("input_tokens", 0) + values.get("output_tokens", 0) and "output_tokens" in values:
                total = None
            for name, parts in self.api.outside.items():
                for part in parts:
                    # Input is never made of its parts alone: a cache read beside an unknown rest says nothing of it.
                    if (extra := values.get(part)) and (name in values or name != "input_tokens"):
                        values[name] = values.get(name, 0) + extra
            if total is None and "input_tokens" in values:
                for name in self.api.zero_if_absent:
                    values.setdefault(name, 0)
            values.update(self.api.fixed)
        if total is not None:
            self._by_total(values, total, flags)

    def _by_total(self, values: dict[str, Any], total: int, flags: list[str]) -> None:
        """Use the grand total: for what is missing, for what the vendor left out, and as a check."""
        got_in, got_out = values.get("input_tokens"), values.get("output_tokens")
        if got_in is None or got_out is None:
            missing, there = ("input_tokens", got_out) if got_in is None else ("output_tokens", got_in)
            if there is not None and total >= there:
                values[missing] = total - there
            elif there is not None:
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
        usage = root.get("usage")
        if usage is not None:
            return f"usage is {_shown(usage)}, which says nothing"
        error = self.error(root)
        return f"the answer is an error ({error}) without usage" if error else "the answer has no usage"


# A name at the top of the answer, or the reader of a longer path: most are the former, and cost one dict probe.
_Place = str | Callable[[Any], Any]


def _direct(paths: Iterable[str]) -> tuple[_Place, ...]:
    def itself(root: Any) -> Any:
        return root

    return tuple(path if "." not in path else itself if path == "." else getter(path) for path in paths)


def _key(places: tuple[_Place, ...]) -> str:
    return places[0] if places and isinstance(places[0], str) else ""


def _text(places: tuple[_Place, ...], root: dict[str, Any]) -> str | None:
    for place in places:
        value = root.get(place) if type(place) is str else place(root)  # type: ignore[operator]
        if type(value) is str and value:
            return value
    return None


def _is_word(component: str) -> bool:
    return component in ("tier", "model") or component.startswith("params.")


def _read_odd(found: Found, words: dict[str, Any], flags: list[str], unread: list[str]) -> None:
    """Read what is not a plain integer: words, fractions, costs, and numbers written otherwise."""
    for path, component, rank, value in found.odd:
        if component is not None and _is_word(component):
            if type(value) in (str, int) or value is True:
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
    return str(value)[:40] if isinstance(value, Decimal) else repr(value)[:40]


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


def _suspicious(values: dict[str, int]) -> bool:
    """Whether `Usage.contradictions` is worth its time."""
    get = values.get
    total, cached = get("input_tokens"), get("cache_read_input_tokens")
    written, audio = get("cache_write_input_tokens"), get("audio_input_tokens")
    if (cached or written or audio) and max((cached or 0) + (written or 0), audio or 0) > (total or 0):
        return True
    reasoning = get("reasoning_output_tokens")
    return bool(reasoning and reasoning > (get("output_tokens") or 0)) or min(values.values(), default=0) < 0


def _cost(name: str, value: int | Decimal) -> Money:
    currency, _, divisor = name[12:].partition(" / ")
    amount = Decimal(value)
    return Money(EXACT.divide(amount, Decimal(divisor)) if divisor else amount, currency)


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
