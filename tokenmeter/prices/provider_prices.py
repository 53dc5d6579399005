"""The prices of one provider: from a call's names, parameters and instant to the quote that prices it.

A `Quote` answers one form of request (names and parameters) over a period: until the next rate or the next alias.
Quotes are kept, so a warm call does one dictionary lookup and two comparisons before the arithmetic, and a bisection
per time-of-day window the rate depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from tokenmeter.offers import Offer
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.conditions import number
from tokenmeter.prices.model_names import ModelMatch, ModelNames, pattern_of
from tokenmeter.prices.price_file import EVER, PriceFile, Rate, Validity, instant_of
from tokenmeter.prices.quote import Quote, Resolved
from tokenmeter.prices.resolved_rate import ResolvedRate

__all__ = ["ProviderPrices", "read_moment"]

_QUOTES_MOST: Final = 20_000
_NONE: Final[Mapping[str, Any]] = {}


def read_moment(at: datetime | date | str | None, zone: Any) -> datetime:
    """An instant as callers give it: aware datetime, RFC 3339 text, or a bare day (its midnight in `zone`).

    None is now. Raises ValueError for a time without offset and for what is no time at all.
    """
    if at is None:
        return datetime.now(UTC)
    if isinstance(at, str):
        try:
            at = date.fromisoformat(at) if len(at) == 10 else datetime.fromisoformat(at)
        except ValueError:
            raise ValueError(f'{at!r} is not a time such as "2026-11-21T10:00:00+08:00" or "2026-11-21"') from None
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise ValueError(f"{at.isoformat()} has no offset: add one, such as +08:00, or give the day alone")
        return at
    if isinstance(at, date):
        return datetime.combine(at, time(), zone)
    raise ValueError(f"{at!r} is a {type(at).__name__}, not a time")


class ProviderPrices:
    """The price files of one provider, topmost overlay first, and the quotes given so far.

    `own` holds the user's own prices, which come before all files; there may be no file beside it.
    """

    def __init__(
        self,
        files: list[PriceFile],
        *,
        book: str,
        default_list: str | None = None,
        own: PriceFile | None = None,
    ) -> None:
        self.files = files
        self.own = own
        self.names = ModelNames(files)
        head, *_ = [*files, own] if own is not None else files
        self.provider = head.provider
        self.zone = head.zone
        self.default_list = default_list or (files[-1] if files else head).currency
        # A name in full comes before a pattern, and a long pattern before a short one.
        models = sorted(own.entries if own is not None else (), key=lambda one: ("*" in one, -len(one)))
        self._own = [(pattern_of(model), rate) for model in models if (rate := _own_rate(own, model)) is not None]
        self._book = book
        self._quotes: dict[tuple[Any, ...], list[Quote]] = {}
        self._count = 0

    def quote(self, model: str, response_model: str | None, params: Mapping[str, Any] | None, instant: float) -> Quote:
        """The quote for this form of request at an instant."""
        key = (model, response_model, *params.items()) if params else (model, response_model)
        try:
            quotes = self._quotes.get(key)
        except TypeError:  # a parameter that cannot be hashed, such as a dict, is no condition of the book
            plain = {name: value for name, value in (params or _NONE).items() if isinstance(value, str | int | bool)}
            return self.quote(model, response_model, plain, instant)
        if quotes is not None:
            for quote in quotes:
                if quote.since <= instant < quote.until:
                    if quote is not quotes[0]:  # the period asked last is asked next
                        self._quotes[key] = [quote, *(other for other in quotes if other is not quote)]
                    return quote
        quote = self._find(model, response_model, params or _NONE, instant)
        if self._count >= _QUOTES_MOST:
            self._quotes, self._count = {}, 0
        self._quotes[key] = [quote, *self._quotes.get(key, ())[:63]]
        self._count += 1
        return quote

    def _find(self, model: str, response_model: str | None, params: Mapping[str, Any], instant: float) -> Quote:
        own = self._own_quote(response_model, model, params) if self._own else None
        if own is not None:
            return own
        validity = Validity()
        flags: tuple[str, ...] = ()
        match = None
        if response_model and response_model != model:
            match = self.names.find(response_model, instant, validity)
            flags = () if match is not None else ("response_model_unknown",)
        if match is None:
            match = self.names.find(model, instant, validity)
        if match is None:
            return Quote(validity, self._nothing(None), flags=flags, reason=self._why_unknown(model, instant))
        flags += match.flags
        rate, name = self._rate(match, params, instant, validity)
        if rate is None:
            reason = self._why_no_rate(match.model, name, instant)
            return Quote(validity, self._nothing(match.model, name), flags=flags, reason=reason)
        return self._quote(rate, match, params, instant, validity, flags)

    def knows(self, model: str, instant: float) -> bool:
        """Whether a rate is in force for a model, or a name of it."""
        own = any(pattern.fullmatch(model) for pattern, _ in self._own)
        return own or self.names.find(model, instant, Validity()) is not None

    def _own_quote(self, response_model: str | None, model: str, params: Mapping[str, Any]) -> Quote | None:
        """The user's own price, which depends on nothing else of a request than its model."""
        listed = params.get("currency")
        for pattern, rate in self._own:
            named = next((name for name in (response_model, model) if name and pattern.fullmatch(name)), None)
            if named is not None and (not isinstance(listed, str) or listed.upper() == rate.list):
                return self._quote_of_own(rate, named, params)
        return None

    def _quote_of_own(self, rate: Rate, named: str, params: Mapping[str, Any]) -> Quote:
        covered_by, flags = self._covered_by(params)
        resolved = ResolvedRate(rate.prices(), _NONE, (), load_schema())
        return Quote(Validity(), self._offer(rate, named), lambda _: (resolved, None, flags), covered_by=covered_by)

    def _offer(self, rate: Rate, model: str) -> Offer:
        return Offer(
            provider=self.provider,
            model=model,
            rate_id=rate.id,
            effective_from=rate.starts_at,
            dating=rate.dating,
            confidence=rate.confidence,
            list=rate.list,
            book=self._book,
            last_seen=rate.last_seen(),
        )

    def _nothing(self, model: str | None, name: str | None = None) -> Offer:
        return Offer(provider=self.provider, model=model, list=name, book=self._book)

    def _rate(
        self,
        match: ModelMatch,
        params: Mapping[str, Any],
        instant: float,
        validity: Validity,
        below: PriceFile | None = None,
    ) -> tuple[Rate | None, str]:
        """The rate in force, from the topmost file that has one (beneath `below`), and the list asked."""
        files = self.files if below is None else self.files[self.files.index(below) + 1 :]
        asked = params.get("currency")
        names = (asked,) if isinstance(asked, str) else self._lists_of(match.model, files)
        for name in names:
            for file in files:
                timeline = file.timeline(match.model, name.upper())
                rate = None if timeline is None else timeline.in_force(instant, validity)
                # Another list's price without a beginning says nothing of the days before the default list has one.
                if rate is not None and (name == names[0] or rate.starts_at is not None):
                    return (None if rate.withdrawn else rate), name
        return None, names[0]

    def _lists_of(self, model: str, files: Sequence[PriceFile]) -> tuple[str, ...]:
        """The default list, and the only other that has this model, which prices it until the default one does.

        Never a conversion: a price is of the list that has it.
        """
        lists = dict.fromkeys(one for file in files for one in file.lists(model))
        others = tuple(one for one in lists if one != self.default_list)
        if len(others) != 1:
            return (self.default_list,)
        return (self.default_list, *others) if self.default_list in lists else others

    def _quote(
        self,
        rate: Rate,
        match: ModelMatch,
        params: Mapping[str, Any],
        instant: float,
        validity: Validity,
        flags: tuple[str, ...],
    ) -> Quote:
        timeline = rate.file.timeline(rate.model, rate.list)
        next_start = EVER if timeline is None else timeline.after(rate)
        stale_after = self.files[0].stale_after  # the topmost file says it for all
        for turn in rate.turns(stale_after):
            validity.narrow(*((turn, EVER) if turn <= instant else (-EVER, turn)))
        flags += tuple(rate.flags(instant, next_start, stale_after))
        covered_by, plan_flags = self._covered_by(params)
        facts = {**match.params, **params}
        offer = self._offer(rate, rate.model)
        discount = None if rate.file.contract else self._discount(rate.model, instant, validity)
        listed = rate if discount is not None else None
        if rate.file.contract:
            listed, _ = self._rate(match, {**params, "currency": rate.list}, instant, validity, rate.file)

        def make(windows: Collection[str]) -> Resolved:
            resolved = ResolvedRate(rate.prices(), facts, windows, load_schema(), discount=discount)
            list_rate = None if listed is None else ResolvedRate(listed.prices(), facts, windows, load_schema())
            return resolved, list_rate, resolved.flags + plan_flags

        windows = {
            name: one.file.window(name)
            for one in (rate, listed)
            if one is not None
            for case in one.prices().cases
            for name in case.windows
        }
        return Quote(
            validity,
            offer,
            make,
            windows=tuple(windows.values()),
            flags=flags,
            covered_by=covered_by,
            stale_from=lambda seen: rate.stale_from(seen, stale_after),
        )

    def _covered_by(self, params: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        plan = params.get("plan") or params.get("covered_by")
        if not isinstance(plan, str):
            return None, ()
        known = any(plan in file.plans for file in self.files)
        return plan, () if known else ("plan_unknown",)

    def _discount(self, model: str, instant: float, validity: Validity) -> Decimal | dict[str, Decimal] | None:
        """The account's discount on this model: the first that applies; discounts do not stack."""
        for file in self.files:
            for entry in file.discounts:
                since = instant_of(entry["from"], file.zone) if "from" in entry else -EVER
                until = instant_of(entry["until"], file.zone) if "until" in entry else EVER
                if model not in entry["models"] and "*" not in entry["models"]:
                    continue
                if since <= instant < until:
                    validity.narrow(since, until)
                    multiply = entry["multiply"]
                    if isinstance(multiply, Mapping):
                        return {name: number(factor) for name, factor in multiply.items()}
                    return number(multiply)
                validity.narrow(*((until, EVER) if until <= instant else (-EVER, since)))
        return None

    def _why_unknown(self, model: str, instant: float) -> str:
        if any(model in file.entries for file in self.files):
            return self._why_no_rate(model, None, instant)
        near = self.names.near(model)
        # Endpoint and deployment ids (ep-2024…) are the customer's own: nothing in a book is near them.
        hint = (
            f"near names: {', '.join(near)}"
            if near
            else "a name of your own? say its model: TOKENMETER_MODELS=name=model"
        )
        return f"{self.provider} has no model {model!r} in this book ({hint})"

    def _why_no_rate(self, model: str, name: str | None, instant: float) -> str:
        lists = dict.fromkeys(one for file in self.files for one in file.lists(model))
        if name is not None and name.upper() not in lists:
            return f"{self.provider} has no {name} list for {model!r} (lists: {', '.join(lists)}); nothing is converted"
        starts = []
        for file in self.files:
            for one in lists if name is None else (name.upper(),):
                timeline = file.timeline(model, one)
                if timeline is None:
                    continue
                rate = timeline.in_force(instant, Validity())
                if rate is not None and rate.withdrawn:
                    return f"{model!r} was withdrawn on {rate.id.rpartition('@')[2]}"
                starts += [rate.starts_at.isoformat() for rate in timeline.rates[:1] if rate.starts_at is not None]
        return f"no rate for {model!r} is known before {min(starts, default='any day')}: the book's first is later"


def _own_rate(file: PriceFile | None, model: str) -> Rate | None:
    if file is None:
        return None
    timeline = file.timeline(model, file.lists(model)[0])
    return None if timeline is None else timeline.rates[0]
