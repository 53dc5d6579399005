"""How sound the bounds of requests are, and what share of a budget each policy of holding spends before it refuses.

    python benchmarks/bound.py cases.jsonl.gz

`cases.jsonl.gz` holds recorded requests with their billed usage. A case is plain if it has no media, no tools that the
vendor runs, and no model that runs them; each is bounded as of its own day. Prints how many bills are covered by the
bound of their request, the misses, what is held for each unit that is spent, and the share of a budget that is spent
when the first call is refused, for 4, 16 and 64 concurrent calls.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from truth_goals import runs_tools

from tokenmeter.budgets.bound import QuickRates, bound
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage
from tokenmeter.wire.extract import extract
from tokenmeter.wire.request_params import request_params

PROVIDERS = {"dashscope": "alibaba", "bedrock": "aws-bedrock", "google-vertex": "google-vertex"}
UNSEEN = ("inconsistent", "output_incomplete", "output_omitted")
HIDDEN = ("builtin_tools", "server_context", "hidden_prompt", "grounding", "block:", "reseller")
RATES = QuickRates("CNY", Decimal(1), Decimal(1), Decimal(0))
"""Rates as a process remembers them: the quick bound is timed without looking them up."""
BUDGET_CALLS = 300
DELTA = 64


class Case(NamedTuple):
    """One recorded call with its bound. Tokens; amounts in the currency of the provider."""

    id: str
    provider: str
    model: str
    plain: bool
    sound: bool
    input: int
    output: int
    choices: int
    limit: int | None
    bounded_input: int | None
    cheap_input: int | None
    bounded: Decimal | None
    billed: Decimal | None
    exact_us: float
    cheap_us: float


def read(path: str) -> Iterator[Case]:
    """The cases that have a request and a usage."""
    book = load_book()
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.readlines()
    for line in lines:
        case = json.loads(line)
        request, api = case["request"], case["api"] or ""
        if not request or any(flag.startswith(UNSEEN) for flag in case["flags"]):
            continue
        if "embedding" in api or "token" in api.rpartition(".")[2]:
            continue
        provider = PROVIDERS.get(case["vendor"], case["vendor"])
        model = case["model_requested"] or case["model_returned"] or ""
        answer = {"usage": case["usage"], "usageMetadata": case["usage"], "model": case["model_returned"]}
        usage = extract(answer, provider=provider, api=api).usage or extract({"usage": case["usage"]}, api=api).usage
        if usage is None or usage.input_tokens is None or not model:
            continue
        at = case["date"] or "2026-10-01"

        def price(tokens: Usage, said: Any, provider: str = provider, model: str = model, at: str = at) -> Any:
            return book.price(tokens, provider=provider, model=model, at=at, params=said)

        started = time.thread_time_ns()
        made = bound(request, provider=provider, model=model, api=api, price=price, at=case["date"])
        between = time.thread_time_ns()
        cheap = bound(request, provider=provider, model=model, api=api, price=price, quick=lambda params, writes: RATES)
        ended = time.thread_time_ns()
        billed = price(usage, request_params(request) or {}).total
        hidden = any(flag.startswith(HIDDEN) for flag in case["flags"]) or runs_tools(case)
        yield Case(
            case["id"], provider, model, not hidden and not case["has_media"], made.sound, usage.input_tokens,
            usage.output_tokens or 0, made.choices, made.output_tokens, made.input_tokens, cheap.input_tokens,
            made.amount.amount if made.amount is not None else None, billed.amount if billed is not None else None,
            (between - started) / 1000, (ended - between) / 1000,
        )  # fmt: skip


def share(part: int, whole: int) -> str:
    """A share for people, with its counts."""
    return f"{part:,} of {whole:,} = {100 * part / whole:.2f}%" if whole else "none"


def covers(cases: list[Case]) -> None:
    """Print how many bills and inputs lie within their bounds, and the bills that do not."""
    plain = [case for case in cases if case.plain]
    known = [case for case in plain if case.bounded is not None and case.billed is not None]
    within = [case for case in known if case.billed <= case.bounded]  # type: ignore[operator]
    print(f"{len(cases):,} cases with a usage, {len(plain):,} of them plain")
    print("plain, with an output limit and a price: bill <= bound:", share(len(within), len(known)))
    inputs = [case for case in plain if case.bounded_input is not None]
    print(
        "plain: input <= its bound:", share(sum(one.input <= (one.bounded_input or 0) for one in inputs), len(inputs))
    )
    quick = [case for case in plain if case.cheap_input is not None]
    print(
        "plain: input <= its cheap bound:", share(sum(one.input <= (one.cheap_input or 0) for one in quick), len(quick))
    )
    factor = sum(one.cheap_input or 0 for one in quick) / max(1, sum(one.input for one in quick))
    print(f"the cheap bound is {factor:.1f} times the input in sum")
    others = [case for case in cases if not case.plain]
    print("not plain, flagged as unsound or with media:", share(sum(not one.sound for one in others), len(others)))
    for case in known:
        if case.billed > case.bounded:  # type: ignore[operator]
            print(
                f"  miss {case.id} {case.provider} {case.model}: billed {case.billed}, bound {case.bounded};"
                f" input {case.input} of {case.bounded_input}, output {case.output} of {case.limit} x {case.choices}"
            )
    held = sum((case.bounded or Decimal(0) for case in known), Decimal(0))
    spent = sum((case.billed or Decimal(0) for case in known), Decimal(0))
    print(f"held / billed, the whole bound held: {held / spent:.1f} in sum")
    for name, times in (("counted", [one.exact_us for one in cases]), ("cheap", [one.cheap_us for one in cases])):
        cuts = statistics.quantiles(times, n=100)
        print(f"{name} bound, CPU: p50 {cuts[49]:.0f} µs, p95 {cuts[94]:.0f} µs, p99 {cuts[98]:.0f} µs")


def first_refusal(pairs: list[tuple[int, int]], policy: str, concurrent: int, seed: int) -> float:
    """The share of a budget of 300 mean answers that is spent when a call is refused; (limit, length) of answers."""
    pick = random.Random(seed)
    lengths = sorted(length for _, length in pairs)
    usual = lengths[int(len(lengths) * 0.95)]
    budget = int(sum(lengths) / len(lengths) * BUDGET_CALLS)
    spent = held = 0
    open_calls: list[list[int]] = []  # limit, length, held, done
    while True:
        while len(open_calls) < concurrent:
            limit, length = pick.choice(pairs)
            first = limit if policy == "full" else min(limit, usual)
            if spent + held + first > budget:
                return spent / budget
            held += first
            open_calls.append([limit, length, first, 0])
        for call in open_calls.copy():
            call[3] += DELTA
            limit, length, mine, done = call
            if done >= length:
                open_calls.remove(call)
                held -= mine
                spent += length
            elif policy == "extend" and done > mine and spent + held + DELTA * 4 <= budget:
                held += DELTA * 4
                call[2] += DELTA * 4


def policies(cases: list[Case]) -> None:
    """Print the share spent at the first refusal for every policy."""
    pairs = [(case.limit, case.output) for case in cases if case.plain and case.limit and case.output]
    for policy, of in (("full", "the whole limit is held"), ("extend", "the 95th percentile is held, and extended")):
        for concurrent in (4, 16, 64):
            mean = statistics.mean(first_refusal(pairs, policy, concurrent, seed) for seed in range(20))
            print(f"{of}, {concurrent} concurrent: {100 * mean:.1f}% spent at the first refusal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases")
    cases = list(read(parser.parse_args().cases))
    covers(cases)
    policies(cases)
    print(Counter(case.provider for case in cases).most_common(8))


if __name__ == "__main__":
    main()
