"""What the calls of a ledger would cost as calls of other models: low, likely and high, never one number.

Each call is priced at its own instant with the tiers, peak hours and batch of the other model. Tokens are scaled by the
measured range between the families of the two models; the length of outputs is kept. A call whose tokens nobody can
scale (tools, media, a family that was not measured) is left out, and the answer says what share of the spend it rests
on.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, Final

from tokenmeter.cost import Cost
from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.valuation.candidate import Candidate, Sums
from tokenmeter.ledger.valuation.columns import batches, can_vectorise
from tokenmeter.ledger.valuation.fast_compare import KEPT, TOOLS, FastCandidate
from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests, recount
from tokenmeter.ledger.valuation.stored_calls import CallRow, StoredCall, rows_at, stored_rows
from tokenmeter.ledger.valuation.token_ratios import (
    TokenRatio,
    recounted,
    scaled,
    token_ratio,
    with_cache_rate,
    without_cache,
)
from tokenmeter.ledger.valuation.vector_compare import sums_of
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import Book
from tokenmeter.tokens.families import match_model
from tokenmeter.usage import Usage

__all__ = ["ModelComparison", "compare_models"]

_MEDIA: Final = (
    "audio_input_tokens", "image_input_tokens", "video_input_tokens", "audio_output_tokens", "image_output_tokens",
)  # fmt: skip


@dataclass(slots=True)
class ModelComparison:
    """The calls compared, what they cost, and the candidates."""

    candidates: list[Candidate]
    cache: str
    language: str | None
    at: datetime | None
    calls: int = 0
    spend: Sums = field(default_factory=lambda: defaultdict(Decimal))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "calls": self.calls,
            "spend": [{"currency": currency, "amount": plain(sum_)} for currency, sum_ in sorted(self.spend.items())],
            "at": None if self.at is None else self.at.isoformat(),
            "cache": self.cache,
            "language": self.language,
            "kept": ["the length of outputs", "the inputs that follow from them"],
            "models": [one.to_dict(self.spend) for one in self.candidates],
        }


def compare_models(
    path: str,
    book: Book,
    models: Sequence[tuple[str, str]],
    *,
    at: datetime | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    cache: str = "keep",
    language: str | None = None,
    requests: RecordedRequests | None = None,
) -> ModelComparison:
    """Price the calls of a ledger as calls of `models` (provider and model). `at` None is each call's own instant.

    `cache` is `keep` (as much is read from the cache as was), `none`, or `measured` (as much as the model's own calls
    in the ledger read). Calls whose `requests` are there are counted anew. Raises LedgerError.
    """
    answer = ModelComparison([Candidate(*one) for one in models], cache, language, at)
    with closing(open_calls(path)) as connection:
        if cache == "measured":
            for candidate in answer.candidates:
                candidate.cache_rate = _cache_rate(connection, candidate)
        fast = [
            FastCandidate(one, book, cache=cache, at=at, ratio_of=partial(_ratio, one.name, language))
            for one in answer.candidates
        ]
        whole = requests is None and can_vectorise(connection)
        rows_of = partial(_by_columns, answer, fast) if whole else stored_rows
        for page in rows_of(connection, since_us, until_us):
            for row in page:
                _add(row, answer, fast, book, None if requests is None else requests.find(row.ids))
    for one in fast:
        one.close()
    return answer


def _by_columns(
    answer: ModelComparison,
    fast: Sequence[FastCandidate],
    connection: sqlite3.Connection,
    since_us: int | None,
    until_us: int | None,
) -> Iterator[list[CallRow]]:
    """Add up calls by columns, and yield those that cannot be."""
    for batch in batches(connection, since_us, until_us):
        others = batch.others
        for group in batch.groups:
            sums = [sums_of(group, quick) for quick in fast]
            known = [one for one in sums if one is not None]
            if len(known) < len(sums):
                others += group.seqs.to_pylist()
                continue
            answer.calls += group.calls
            currency = group.form[-1] or ""
            if group.spent is not None:
                whole, pico = group.spent
                spent = EXACT.add(Decimal(whole), Decimal(pico).scaleb(-12))
                answer.spend[currency] = EXACT.add(answer.spend[currency], spent)
            for quick, one in zip(fast, known, strict=True):
                quick.take(one.amounts, one.currency, group.calls)
                if group.spent is None:
                    quick.candidate.unpriced += group.calls
                else:
                    rests = quick.candidate.rests_on
                    rests[currency] = EXACT.add(rests[currency], spent)
        yield from rows_at(connection, others)


def _add(
    row: CallRow, answer: ModelComparison, fast: Sequence[FastCandidate], book: Book, line: Mapping[str, Any] | None
) -> None:
    answer.calls += 1
    spent = None if row.spent is None else Decimal(row.spent)
    if spent is not None:
        currency = row.currency or ""
        answer.spend[currency] = EXACT.add(answer.spend[currency], spent)
    call = None
    for candidate, quick in zip(answer.candidates, fast, strict=True):
        if line is None and quick.add(row, spent):
            continue
        call = call or row.call()
        problem = _Pricing(candidate, call, book, answer, line).problem()
        if problem is not None:
            candidate.unknown[problem] += 1


def _cache_rate(connection: sqlite3.Connection, candidate: Candidate) -> Fraction | None:
    """The share of input that the model's own calls read from the cache; None where none of them says."""
    read, whole = connection.execute(
        "SELECT sum(cache_read_input_tokens), sum(input_tokens) FROM calls WHERE provider = ?"
        " AND ? IN (model, request_model, response_model) AND cache_read_input_tokens IS NOT NULL"
        " AND end_state NOT IN ('delegated', 'refused')",
        candidate.name,
    ).fetchone()
    return Fraction(read, whole) if whole and read <= whole else None


class _Pricing:
    """One call as a call of one candidate."""

    def __init__(
        self,
        candidate: Candidate,
        call: StoredCall,
        book: Book,
        answer: ModelComparison,
        line: Mapping[str, Any] | None,
    ) -> None:
        self.candidate, self.call, self.book, self.answer, self.line = candidate, call, book, answer, line
        self.at = call.at if answer.at is None else answer.at
        self.params = {name: call.params[name] for name in KEPT if name in call.params}
        self.as_input = False

    def problem(self) -> str | None:
        """Add the call to the candidate's sums; or say why its cost there is unknown."""
        candidate, call = self.candidate, self.call
        problem = _not_scalable(call, self.line is not None)
        if problem is None and self.answer.cache == "measured" and candidate.cache_rate is None:
            problem = "no call of this model in the ledger says what it read from the cache"
        if problem is not None:
            return problem
        ways = self._recounted() if self.line is not None else self._scaled()
        if isinstance(ways, str):
            return ways
        costs: dict[str, Decimal] = {}
        seen: dict[int, Decimal] = {}
        currency = None
        for name, usage in ways:
            if name == "uncached" and currency != call.currency:
                break  # what breaks even is only known in one currency
            amount = seen.get(id(usage))
            if amount is None:
                cost = self._cost(name, usage)
                if cost.amount is None:
                    return cost.reason or "unpriced"
                amount, currency = cost.amount, cost.currency
                seen[id(usage)] = amount
            costs[name] = amount
        candidate.currency = currency
        candidate.calls += 1
        candidate.recounted += self.line is not None
        candidate.cache_as_input += self.as_input
        for name, amount in costs.items():
            candidate.add(name, amount)
        if call.amount is None:
            candidate.unpriced += 1
        else:
            spent = call.currency or ""
            candidate.rests_on[spent] = EXACT.add(candidate.rests_on[spent], call.amount)
        return None

    def _cost(self, name: str, usage: Usage) -> Cost:
        cost = self._price(usage)
        if cost.amount is None and usage.cache_read_input_tokens:
            cost = self._price(without_cache(usage))
            self.as_input = self.as_input or name in ("low", "likely")
        return cost

    def _price(self, usage: Usage) -> Cost:
        candidate = self.candidate
        return self.book.price(
            usage, provider=candidate.provider, model=candidate.model, at=self.at, params=self.params
        )

    def _cached(self, usage: Usage) -> Usage:
        """The usage with what the comparison assumes of the cache."""
        if self.answer.cache == "keep":
            return usage
        rate = Fraction(0) if self.answer.cache == "none" else self.candidate.cache_rate
        assert rate is not None  # `problem` leaves such calls out
        return with_cache_rate(usage, rate)

    def _scaled(self) -> list[tuple[str, Usage]] | str:
        call, target = self.call, self.candidate.name
        source = (call.provider, call.response_model or call.model)
        ratio = _ratio(target, self.answer.language, *source)
        if ratio is None:
            here, there = _family(target[1], target[0]), _family(source[1], source[0])
            return f"tokens of {here} for those of {there} were not measured"
        same = self._cached(call.usage)
        ends = [
            ("low", self._cached(scaled(call.usage, ratio.low, up=False))),
            ("likely", self._cached(scaled(call.usage, ratio.likely, up=None))),
            ("high", self._cached(scaled(call.usage, ratio.high, up=True))),
        ]
        if ratio.low == ratio.high == 1:
            ends = [(name, same) for name, _ in ends]
        return self._steps(ends, same, same)

    def _recounted(self) -> list[tuple[str, Usage]] | str:
        call, target, line = self.call, self.candidate.name, self.line
        assert line is not None  # the caller looked
        source = (call.provider, call.response_model or call.model)
        same = self._cached(call.usage)
        if source == target:
            return self._steps([(name, same) for name in ("low", "likely", "high")], same, same)
        found = recount(line, source, target, f"{self.at:%Y-%m-%d}")
        if isinstance(found, str):
            return found
        output = found.output or _ratio(target, self.answer.language, *source)
        if output is None:
            return "the answers are not in the file, and tokens of such answers were not measured"
        ends = [
            (name, self._cached(recounted(call.usage, tokens, ratio, up=up)))
            for name, tokens, ratio, up in (
                ("low", found.low, output.low, False), ("likely", found.likely, output.likely, None),
                ("high", found.high, output.high, True),
            )
        ]  # fmt: skip
        tools = max(0, (call.usage.input_tokens or 0) - found.source_tools + found.tools)
        moved = self._cached(recounted(call.usage, tools, Fraction(1), up=None))
        return self._steps(ends, same, moved)

    def _steps(self, ends: list[tuple[str, Usage]], same: Usage, with_tools: Usage) -> list[tuple[str, Usage]]:
        likely = dict(ends)["likely"]
        return [
            *ends, ("as_they_were", self.call.usage), ("same_tokens", same), ("with_tools", with_tools),
            ("uncached", without_cache(likely)), ("all_cached", without_cache(likely, all_read=True)),
        ]  # fmt: skip


def _not_scalable(call: StoredCall, recorded: bool) -> str | None:
    usage = call.usage
    if call.provider is None or usage.input_tokens is None or usage.output_tokens is None:
        return "its usage is not known"
    if usage.quantities or usage.cached_media or any(getattr(usage, name) for name in _MEDIA):
        return "media and fees: each vendor counts them by a rule of its own"
    if not recorded and TOOLS & set(call.finish_reasons):
        return "tools: unknown without --requests, each vendor renders tool definitions its own way"
    return None


def _ratio(target: tuple[str, str], language: str | None, provider: str | None, model: str) -> TokenRatio | None:
    return token_ratio(_family(model, provider), _family(target[1], target[0]), language)


@lru_cache(4096)
def _family(model: str, provider: str | None) -> str:
    return match_model(model, provider).family
