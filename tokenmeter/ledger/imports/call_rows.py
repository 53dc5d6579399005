"""Makes the record of a row that states one call, by the fields of its format.

Only the fields that a format names are read, so no prompt and no answer comes along. Usage is read as a vendor's is: as
the answer itself where the row has it, else by the format's table.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.imports.fields import BadField, find, instant_ns, number_of, text_of, words_of
from tokenmeter.ledger.imports.import_format import ImportFormat
from tokenmeter.ledger.imports.pricing import Pricing
from tokenmeter.money import Money
from tokenmeter.otel.external.billing_provider import BillingProvider, billing_provider
from tokenmeter.record import NOT_REPORTED, End, Record
from tokenmeter.usage import Source
from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.usage_reader import UsageReader

__all__ = ["CallRows", "import_id"]

_ONLY_INPUT: Final = frozenset({"embeddings", "rerank"})
_YES: Final = frozenset({"true", "1", "yes"})
_NO: Final = frozenset({"false", "0", "no"})


def import_id(source: str, name: str, at_ns: int) -> str:
    """The id of an imported call: the same whenever it is imported.

    A UUID of version 8 (RFC 9562): 48 bits of Unix milliseconds, as ids of version 7 begin, then a hash.
    """
    milliseconds = at_ns // 1_000_000 & 0xFFFF_FFFF_FFFF
    bits = blake2b(f"{source}\0{name}".encode("utf-8", "replace"), digest_size=10).hexdigest()
    return f"{milliseconds:012x}8{bits[:3]}{'89ab'[int(bits[3], 16) & 3]}{bits[4:19]}"


class CallRows:
    """Reads the rows of one file. `provider` bills where a row names none, `at_ns` is the instant of a row without."""

    def __init__(self, form: ImportFormat, pricing: Pricing, *, provider: str | None, at_ns: int | None) -> None:
        self._form, self._pricing, self._at_ns = form, pricing, at_ns
        self._provider = provider or form.provider
        self._usage = None if form.usage is None else UsageReader(form.usage)
        self._embeddings = None if form.embeddings is None else UsageReader(form.embeddings)
        self.metered = 0
        self._same: dict[str, int] = {}
        self._records: list[Record] = []

    def add(self, row: Any, around: Mapping[str, Any], place: str) -> bool:
        """Read one row; whether it is a call. Raises BadField for a field that cannot be read."""
        if not isinstance(row, Mapping):
            raise BadField(place.rstrip("."), "is no object")
        values = _Row(self._form, row, around, place)
        if not values.is_call():
            return False
        self._records.append(self._record(values))
        return True

    def take(self) -> Iterator[Record]:
        """The records of the rows since the last time."""
        records, self._records = self._records, []
        return iter(records)

    def finish(self) -> Iterator[Record]:
        """The records that waited for further rows: none."""
        return self.take()

    def _record(self, row: _Row) -> Record:
        form = self._form
        started_ns, ended_ns, flags = self._instants(row)
        stated = (row.text("operation") or "chat").lower()
        operation = form.operations.get(stated, stated if stated in _ONLY_INPUT else "chat")
        billing = self._billing(row)
        provider = billing.provider
        answer = self._answer(row, billing, operation)
        usage, source_id = answer.usage or NOT_REPORTED, row.text("id")
        if answer.usage is not None and any(row.value(path) == {} for path in form.usage_provided):
            usage = replace(usage, source=Source.ESTIMATED)
        error = row.text("error_type") or answer.error
        first_ns = row.instant("first_chunk")
        status = row.number("status_code")
        tier = row.text("service_tier") or answer.service_tier
        return Record._make(
            {
                "id": import_id(form.name, source_id or self._counted(row), ended_ns),
                "provider": None if provider is None else provider.id,
                "otel_provider": None if provider is None else provider.otel_name,
                "api": None,
                "operation": operation,
                "host": billing.host,
                "port": billing.port,
                "region": billing.region,
                "request_model": row.text("request_model"),
                "response_model": row.text("response_model") or answer.model,
                "response_id": row.text("response_id") or answer.response_id,
                "finish_reasons": row.words("finish_reasons") or answer.finish_reasons,
                "service_tier": tier,
                "stream": first_ns is not None or row.text("stream") in _YES,
                "time_to_first_chunk": None if first_ns is None else max(0, first_ns - started_ns) / 1e9,
                "started_ns": started_ns,
                "ended_ns": ended_ns,
                "end": End.ERROR if error is not None or row.failed() else End.COMPLETE,
                "error_type": error,
                "status_code": None if status is None or not 100 <= status < 600 else int(status),
                "usage": usage,
                "usage_raw": answer.raw,
                "unknown_fields": answer.unknown_fields,
                "flags": (*answer.flags, *flags, f"imported={form.name}"),
                "vendor_cost": row.cost() or answer.vendor_cost,
                "reason": answer.reason,
                "params": {**answer.params, **self._params(row, billing)} or EMPTY,
                "tags": row.tags(),
                "budget_window": EMPTY,
                "trace_id": row.text("trace_id"),
                "span_id": row.text("span_id"),
                "pricer": self._pricing.price,
            }
        )

    def _instants(self, row: _Row) -> tuple[int, int, tuple[str, ...]]:
        started, ended, duration = row.instant("started"), row.instant("ended"), row.number("duration")
        between = None if duration is None or not 0 <= duration < 10**7 else int(duration * 10**9)
        if started is None and ended is None:
            if self._at_ns is None:
                _, place = row.stated("ended" if "ended" in self._form.fields else "started")
                raise BadField(place, "is missing: say by --at when the calls were made")
            return self._at_ns, self._at_ns, ("instant_assumed",)
        if started is None:
            started = (ended or 0) - (between or 0)
        if ended is None:
            return started, started + (between or 0), () if between is not None else ("end_unknown",)
        if ended < started:
            raise BadField(row.stated("ended")[1], f"lies {(started - ended) / 1e9:g} s before the start")
        return started, ended, ()

    def _billing(self, row: _Row) -> BillingProvider:
        """Who bills: by name and address, else by the format's table of models, else the one that the user named."""
        form = self._form
        facts: dict[str, Any] = {
            name: value for name in ("provider", "address", "region") if (value := row.text(name)) is not None
        }
        if (stated := str(facts.get("provider", "")).lower()) in form.providers:
            facts["provider"] = form.providers[stated]
        if "provider" not in facts:
            model = row.text("request_model") or row.text("response_model") or ""
            named = next((one for glob, one in form.models.items() if fnmatch.fnmatchcase(model, glob)), self._provider)
            if named is not None:
                facts["provider"] = named
        return billing_provider(facts, self._pricing.providers)

    def _answer(self, row: _Row, billing: BillingProvider, operation: str) -> Extracted:
        """What the row says of usage, as a vendor's answer would."""
        form, provider = self._form, billing.provider
        reader = self._embeddings if operation in _ONLY_INPUT else self._usage
        if form.usage is not None and reader is not None:
            for path in form.usage_object:
                stated = row.value(path)
                if path == "." and isinstance(stated, Mapping):
                    heads = {name.partition(".")[0] for name in (*form.usage.counts, *form.usage.info)}
                    stated = {name: value for name, value in stated.items() if name in heads}
                if isinstance(stated, Mapping) and stated:
                    kept = {name: value for name, value in stated.items() if value not in (None, "")}
                    answer = reader.read({"usage": kept})
                    if path == ".":  # other things stand there, too, and none of them is a vendor's usage object
                        answer = answer._replace(raw=None, unknown_fields=())
                    if answer.usage is not None or not form.fields.get("answer"):
                        return answer
        found, place = row.stated("answer")
        if found is None:
            return Extracted(None, Source.NONE, reason="the row states no usage")
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except (ValueError, RecursionError):
                raise BadField(place, "is not JSON") from None
        return extract(found, provider=None if provider is None else provider.id)

    def _params(self, row: _Row, billing: BillingProvider) -> dict[str, Any]:
        params: dict[str, Any] = {} if billing.region is None else {"region": billing.region}
        for name, paths in self._form.params.items():
            for path in paths:
                if (text := text_of(row.value(path), path)) is not None:
                    params[name] = True if text.lower() in _YES else False if text.lower() in _NO else text
                    break
        return params

    def _counted(self, row: _Row) -> str:
        """A name for a row without an id: its content, and which of several equal rows of the file it is."""
        content = json.dumps(row.values, sort_keys=True, default=str)
        digest = blake2b(content.encode("utf-8", "replace"), digest_size=16).hexdigest()
        self._same[digest] = self._same.get(digest, 0) + 1
        return f"{digest}:{self._same[digest]}"


class _Row:
    """One row as its format reads it."""

    def __init__(self, form: ImportFormat, row: Mapping[str, Any], around: Mapping[str, Any], place: str) -> None:
        self._form, self._around, self._place = form, around, place
        self.values: Mapping[str, Any] = row
        parsed = {}
        for name in form.json:
            if isinstance(text := row.get(name), str) and text:
                try:
                    parsed[name] = json.loads(text)
                except (ValueError, RecursionError):
                    raise BadField(f"{place}{name}", "is not JSON") from None
        if parsed:
            self.values = {**row, **parsed}

    def value(self, path: str) -> Any:
        if path.startswith("@"):
            name, _, rest = path[1:].partition(".")
            return find(self._around.get(name), rest or ".")
        return find(self.values, path)

    def stated(self, field: str) -> tuple[Any, str]:
        """The value of a field and where it stands: the first of its places that has one."""
        paths = self._form.fields.get(field, ())
        for path in paths:
            value = self.value(path)
            if value is not None and value != "":
                return value, f"{self._place}{path}"
        return None, f"{self._place}{paths[0] if paths else field}"

    def text(self, field: str) -> str | None:
        return text_of(*self.stated(field))

    def words(self, field: str) -> tuple[str, ...]:
        return words_of(*self.stated(field))

    def number(self, field: str) -> Decimal | None:
        return number_of(*self.stated(field))

    def instant(self, field: str) -> int | None:
        return instant_ns(*self.stated(field), unit=self._form.unit, zone=self._form.zone)

    def cost(self) -> Money | None:
        """What the row says that the call cost; None for zero, which is how tools write "unknown"."""
        amount, currency = self.number("amount"), self.text("currency") or self._form.currency
        if not amount:
            return None
        if currency is None:
            raise BadField(self.stated("currency")[1], "is missing: an amount has a currency")
        return Money(amount, currency.upper())

    def is_call(self) -> bool:
        return all(self._holds(path, values) for path, values in self._form.where.items())

    def failed(self) -> bool:
        return any(self._holds(path, values) for path, values in self._form.failed.items())

    def _holds(self, path: str, values: tuple[str, ...]) -> bool:
        """Whether the value at a path is one of some; with `!` before the path, whether it is none of them."""
        bare = path.removeprefix("!")
        found = self.value(bare)
        text = None if isinstance(found, list | Mapping) else text_of(found, bare)
        return (text is not None and text.lower() in [one.lower() for one in values]) == (bare == path)

    def tags(self) -> Mapping[str, str]:
        tags: dict[str, str] = {}
        for name, paths in self._form.tags.items():
            for path in paths:
                if words := words_of(self.value(path), f"{self._place}{path}"):
                    tags[name] = ",".join(words)[:256]
                    break
        if (prefix := self._form.tag_columns) is not None:
            for column, value in self.values.items():
                if column.startswith(prefix) and (text := text_of(value, column)) is not None:
                    tags.setdefault(column[len(prefix) :], text)
        return tags or EMPTY


def check_provider(name: str | None, pricing: Pricing) -> str | None:
    """The id of a provider that the user named. Raises ConfigurationError if there is none."""
    if name is None:
        return None
    found = pricing.providers.get(name)
    if found is None:
        raise ConfigurationError(f"--provider: there is no provider {name!r}; give an id such as 'deepseek'")
    return found.id
