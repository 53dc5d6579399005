"""Makes records of rows that are spans, as the collector does of spans that arrive.

A call is often traced by several spans. Which one counts is decided by `EndedCalls`, exactly for the spans that are
handed to it together: those of one file, up to `SPANS_AT_ONCE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter.ledger.imports.fields import BadField, StatedFloat, find, instant_ns, number_of, text_of, words_of
from tokenmeter.ledger.imports.import_format import ImportFormat
from tokenmeter.ledger.imports.pricing import Pricing
from tokenmeter.money import Money
from tokenmeter.otel import semconv
from tokenmeter.otel.external.batches import EndedCalls
from tokenmeter.otel.external.metered_calls import PREFIX, carries_call
from tokenmeter.otel.external.model_calls import is_priced
from tokenmeter.otel.external.span_data import RELEVANT, SpanData
from tokenmeter.record import FROM_SPAN, Record

__all__ = ["SPANS_AT_ONCE", "SpanRows"]

SPANS_AT_ONCE: Final = 20_000
"""Spans of a file among which the one that counts is found; about 100 MB of them."""
_DEPTH_MOST: Final = 8


class SpanRows:
    """Reads the rows of one file. `provider` is who bills where a span names none."""

    def __init__(self, form: ImportFormat, pricing: Pricing, *, provider: str | None) -> None:
        self._form, self._pricing = form, pricing
        self._provider = provider or form.provider
        self._calls = EndedCalls(pricing, providers=form.providers or None, clock=lambda: 0.0, keep=pricing.keep)
        self._parents: dict[str, str | None] = {}
        self._spans: list[SpanData] = []
        self._costs: dict[str, Money] = {}
        tagged = (path for paths in form.tags.values() for path in paths)
        self._kept = _Names((*RELEVANT, *tagged, *form.fields.get("amount", ()), *form.fields.get("currency", ())))
        self.metered = 0
        """Spans that carry a call which tokenmeter metered."""

    def add(self, row: Any, around: Mapping[str, Any], place: str) -> bool:
        """Read one span; whether it may be a model call. Raises BadField for a field that cannot be read."""
        if not isinstance(row, Mapping):
            raise BadField(place.rstrip("."), "is no object")
        values = _Span(self._form, row, around, place)
        trace, own, parent = values.id("trace_id", 32), values.id("span_id", 16), values.id("parent_id", 16)
        if trace is None or own is None:
            raise BadField(values.name("trace_id" if trace is None else "span_id"), "is missing")
        key = trace + own
        self._parents[key] = None if parent is None else trace + parent
        scope = values.text("scope") or ""
        attributes = values.attributes(self._kept)
        self.metered += is_priced(attributes)
        known = self._calls.knows(scope) or scope == semconv.SCOPE_NAME
        known = known or carries_call(attributes)
        if not known and attributes.get(semconv.OPERATION) not in semconv.MODEL_CALLS and not self._form.attributes:
            return False
        started, ended = values.instant("started"), values.instant("ended")
        if started is None or ended is None:
            raise BadField(values.name("started" if started is None else "ended"), "is missing")
        if ended < started:
            raise BadField(values.name("ended"), f"lies {(started - ended) / 1e9:g} s before the start")
        cost, tags = values.cost(attributes), values.tags(attributes)
        if cost is not None:
            self._costs[key] = cost
        if self._provider is not None and not any(name in attributes for name in _PROVIDERS):
            attributes[semconv.PROVIDER] = self._provider
        parent_key = self._parents[key]
        self._spans.append(
            SpanData(
                key, parent_key, scope, attributes, started, ended, values.failed(), trace, own, tags, values.home()
            )
        )
        return True

    def take(self) -> Iterator[Record]:
        """The records of the spans so far, once there are enough of them."""
        if len(self._parents) >= SPANS_AT_ONCE:
            yield from self._records()
            self._costs.clear()

    def finish(self) -> Iterator[Record]:
        """The records of all spans."""
        yield from self._records()
        self._calls.release()
        yield from self._gathered()

    def _records(self) -> Iterator[Record]:
        spans, parents, self._spans, self._parents = self._spans, self._parents, [], {}
        for _ in self._calls.batch(parents, spans):
            pass
        return self._gathered()

    def _gathered(self) -> Iterator[Record]:
        records, self._pricing.gathered = self._pricing.gathered, []
        for record in records:
            if FROM_SPAN in record.flags:  # what it costs was said by the program that metered it
                yield record._replace(flags=(*record.flags, f"imported={self._form.name}"))
                continue
            cost = self._costs.get(f"{record.trace_id}{record.span_id}")
            yield record._replace(
                flags=(*record.flags, f"imported={self._form.name}"), vendor_cost=record.vendor_cost or cost
            )


_PROVIDERS: Final = (semconv.PROVIDER, "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider")


class _Names(frozenset[str]):
    """Attributes that are read: these, and all of our own."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(PREFIX))


class _Span:
    """One span as its format reads it."""

    def __init__(self, form: ImportFormat, row: Mapping[str, Any], around: Mapping[str, Any], place: str) -> None:
        self._form, self._row, self._around, self._place = form, row, around, place

    def value(self, path: str) -> Any:
        if path.startswith("@"):
            name, _, rest = path[1:].partition(".")
            return find(self._around.get(name), rest or ".")
        return find(self._row, path)

    def first(self, field: str) -> Any:
        return next((v for path in self._form.fields.get(field, ()) if (v := self.value(path)) not in (None, "")), None)

    def name(self, field: str) -> str:
        return f"{self._place}{(self._form.fields.get(field) or (field,))[0]}"

    def text(self, field: str) -> str | None:
        return text_of(self.first(field), self.name(field))

    def id(self, field: str, digits: int) -> str | None:
        """An id in hexadecimal digits; None where it is empty or zero."""
        text = self.text(field)
        if text is None or not text.strip("0"):
            return None
        bare = text.lower().removeprefix("0x")
        try:
            int(bare, 16)
        except ValueError:
            bare = ""
        if len(bare) != digits:
            raise BadField(self.name(field), f"{text[:40]!r} is not {digits} hexadecimal digits")
        return bare

    def instant(self, field: str) -> int | None:
        return instant_ns(self.first(field), self.name(field), unit=self._form.unit, zone=self._form.zone)

    def attributes(self, kept: _Names) -> dict[str, Any]:
        """The attributes that are read: of an object, flat or nested, a list of key and value, or other fields."""
        found: dict[str, Any] = {}
        for path in self._form.fields.get("resource", ()):
            _flatten(self.value(path), "", found, kept, 0)
        prefix = ""
        for path in self._form.fields.get("attributes", ()):
            _flatten(self.value(path), "", found, kept, 0)
            prefix = f"{path}."
            for column, value in self._row.items():
                if column.startswith(prefix):
                    _flatten(_of_column(value), column[len(prefix) :], found, kept, 0)
        for name, paths in self._form.attributes.items():
            value = next((v for path in paths if (v := self.value(path)) not in (None, "")), None)
            if value is not None:
                found.setdefault(name, value)
        return found

    def failed(self) -> bool:
        return any(
            str(self.value(path)).upper() in [one.upper() for one in values]
            for path, values in self._form.failed.items()
        )

    def cost(self, attributes: Mapping[str, Any]) -> Money | None:
        """What the span says that the call cost; None for zero, which is how tools write "unknown"."""
        for name in self._form.fields.get("amount", ()):
            amount = number_of(attributes.get(name), f"{self._place}{name}")
            if amount:
                stated = (attributes.get(one) for one in self._form.fields.get("currency", ()))
                currency = next((one for one in stated if isinstance(one, str) and one), self._form.currency)
                return None if currency is None else Money(amount, currency.upper())
        return None

    def tags(self, attributes: Mapping[str, Any]) -> Mapping[str, str]:
        tags = {}
        for name, paths in self._form.tags.items():
            for path in paths:
                if words := words_of(attributes.get(path), f"{self._place}{path}"):
                    tags[name] = ",".join(words)[:256]
                    break
        return tags or EMPTY

    def home(self) -> int:
        return hash(str([self.value(path) for path in self._form.fields.get("resource", ())]))


def _flatten(value: Any, name: str, found: dict[str, Any], kept: _Names, depth: int) -> None:
    """Add the plain values of an object by their dotted names, those of `kept` alone: prompts are passed over."""
    if name in kept and not isinstance(value, Mapping):
        if (plain := _plain(value)) is not None:
            found[name] = plain
        return
    if depth > _DEPTH_MOST:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(item, f"{name}.{key}" if name else key, found, kept, depth + 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping) and isinstance(key := item.get("key"), str) and key in kept:
                found[key] = _any_value(item.get("value"))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) or _is_texts(value) else None


def _of_column(value: Any) -> Any:
    """A cell; data frames write whole numbers as `1000.0` where some are missing."""
    bare = value.removesuffix(".0") if isinstance(value, str) else ""
    return int(bare) if bare != value and bare.isdigit() and len(bare) < 20 else value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _any_value(value: Any) -> Any:
    """The Python value of OTLP's `AnyValue`; None for a kind that pricing does not read."""
    if not isinstance(value, Mapping):
        return None
    if "arrayValue" in value:
        items = find(value, "arrayValue.values")
        return [_any_value(item) for item in items] if isinstance(items, list) else None
    for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if kind in value:
            stated = value[kind]
            if kind == "intValue" and isinstance(stated, str) and stated.lstrip("-").isdigit() and len(stated) < 20:
                return int(stated)
            return stated if isinstance(stated, str | int | float | StatedFloat) else None
    return None
