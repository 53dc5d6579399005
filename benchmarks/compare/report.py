"""Writes the page and the picture of the comparison from what the runs measured."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from itertools import pairwise
from typing import Any, Final

Results = Mapping[str, dict[str, Any]]

NAMES: Final = {
    "tokenmeter": "tokenmeter",
    "openinference": "OpenInference",
    "official": "OpenTelemetry GenAI (official)",
    "openllmetry": "OpenLLMetry",
    "langfuse": "Langfuse",
    "logfire": "Logfire",
    "openlit": "OpenLIT",
}
RIGHT: Final = {
    # By the vendors' lists: 400 tokens of input, 800 from the cache, 90 of output, per million.
    "openai": (Decimal("0.0029"), "USD"),  # 2.5, 1.25, 10
    "deepseek": (Decimal("0.000776"), "CNY"),  # 1, 0.02, 4
}
TOKENS: Final = (1200, 800, 90)


def page(results: Results, *, quick: bool = False) -> str:
    """`docs/benchmarks.md`; `quick` says that the figures are of few calls."""
    columns = [column for column in FIGURES if any(column[1](told) for told in results.values())] or FIGURES[:1]
    dates = sorted({f"{told['date']}, commit {told['commit']}" for told in results.values()})
    took = results.get("run", {}).get("seconds")
    in_all = "" if took is None else f" All of it took {took / 60:.0f} minutes."
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`; edit `benchmarks/compare`, not this page.",
            f"Measured {'; '.join(dates)}. {_machine()}.{in_all}",
            "",
            *(["**Few calls of each: these figures show that all can be measured, and nothing else.**", ""] * quick),
            "A call is an answer or a stream of OpenAI's SDK on a transport in the process that answers at once. The",
            "unit is millions of machine instructions (callgrind, garbage collector off) added over the same call",
            "without instrumentation: unlike time, it is the same on a busy machine. Spans go to a batch processor",
            "whose export is in no figure.",
            "",
            "![Instructions that each instrumentation adds to a call](images/benchmarks.svg)",
            "",
            "## Beside other instrumentations",
            "",
            *_table(
                ("", "version", *(head for head, _ in columns), "tokens", "cost, currency"), _peers(results, columns)
            ),
            "",
            "## What each recorded for the same two answers",
            "",
            "1,200 tokens in, 800 of them cached, and 90 out: at OpenAI 0.0029 USD, at DeepSeek 0.000776 CNY.",
            "Langfuse and Logfire price what they receive on their servers, which are not part of this. OpenLIT was",
            "given OpenAI's prices as a file in its format: its own list comes from the network. The file has no",
            "DeepSeek.",
            "",
            *_table(("", "vendor", "in / cached / out", "tokens", "cost", "currency", "cost is"), _recorded(results)),
            "",
            "## Bars",
            "",
            *_table(("", "measured", "bar", ""), _bars(results)),
            "",
            "## How cost grows",
            "",
            *_table(("of", "millions of instructions added, or µs", "grows"), _growth(results)),
            "",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]


def _machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def added(told: Mapping[str, Any], case: str, *, bare: str | None = None, whose: str = "all") -> float | None:
    """Millions of instructions that a case adds to its bare call; None where either was not measured."""
    counted = told.get("instructions", {})
    before = counted.get(bare or f"bare {case}")
    after = counted.get(case)
    return None if before is None or after is None else (after[whose] - before["caller"]) / 1e6


def _microseconds(told: Mapping[str, Any], case: str) -> str:
    figure = told.get("figures", {}).get(case)
    return "" if figure is None else f"{figure['added']:.0f}"


def _millions(told: Mapping[str, Any], case: str) -> str:
    value = added(told, case)
    return "" if value is None else f"{value:.3f}"


Figure = tuple[str, Callable[[Mapping[str, Any]], str]]
FIGURES: Final[Sequence[Figure]] = (
    ("call, M added", lambda told: _millions(told, "call")),
    ("50-chunk stream, M added", lambda told: _millions(told, "stream")),
    ("call, µs added by turns", lambda told: _microseconds(told, "call")),
    ("50-chunk stream, µs added by turns", lambda told: _microseconds(told, "stream")),
)
"""Columns of figures; those that no row has are left out."""


def _peers(results: Results, columns: Sequence[Figure]) -> Iterable[Sequence[str]]:
    for name, shown in NAMES.items():
        told = results.get(name)
        if told is None or "skipped" in told:
            why = "not measured" if told is None else f"skipped: {told['skipped'][:120]}"
            yield shown, why, *("" for _ in columns), "", ""
            continue
        versions = told["versions"]
        version = next(iter(versions.values()), "") if len(versions) > 2 else ""
        shape = f"{version} (openai {versions.get('openai')}, SDK {versions.get('opentelemetry-sdk')})"
        verdicts = list(_recorded({name: told}))
        tokens = ", ".join(dict.fromkeys(row[3] for row in verdicts))
        costs = "; ".join(f"{row[1]}: {row[6]}" for row in verdicts)
        alike = {row[6] for row in verdicts}
        yield shown, shape, *(read(told) for _, read in columns), tokens, alike.pop() if len(alike) == 1 else costs


def _recorded(results: Results) -> Iterable[Sequence[str]]:
    for name, shown in NAMES.items():
        for vendor, told in results.get(name, {}).get("recorded", {}).items():
            right, currency = RIGHT[vendor]
            tokens = (told.get("input"), told.get("cached"), told.get("output"))
            cost = told.get("cost")
            if cost is None:
                verdict = "none"
            elif Decimal(str(cost)) != right:
                verdict = "**wrong**"
            elif told.get("currency") is None:
                verdict = "right, without a currency"
            else:
                verdict = "right" if told["currency"] == currency else "**wrong** currency"
            yield (
                shown,
                vendor,
                " / ".join("none" if count is None else str(count) for count in tokens),
                "right" if tokens == TOKENS else "**wrong**",
                "none" if cost is None else str(cost),
                told.get("currency") or "none",
                verdict,
            )


def _fastest(results: Results, case: str) -> float | None:
    found = [added(told, case) for name, told in results.items() if name in NAMES and name != "tokenmeter"]
    return min((value for value in found if value is not None), default=None)


def _bars(results: Results) -> Iterable[Sequence[str]]:
    ours, alone = results.get("tokenmeter", {}), results.get("processes", {})
    call, stream = added(ours, "call"), added(ours, "stream")
    sdk = added(ours, "sdk", bare="bare call")
    counted = ours.get("instructions", {})
    noted, plain = added(ours, "ledger", bare="bare call", whose="caller"), added(ours, "call", whose="caller")
    long = alone.get("overhead", {}).get("a stream of 1,000 chunks", {})
    foreign, span = counted.get("foreign"), counted.get("bare foreign")
    memory, streams, cold = alone.get("memory"), alone.get("concurrent"), alone.get("cold")
    rows: list[tuple[str, float | None, float, str]] = [
        ("call ÷ the SDK's own span + histogram", _ratio(call, sdk), 1.0, ""),
        ("call ÷ the fastest peer", _ratio(call, _fastest(results, "call")), 0.32, ""),
        ("50-chunk stream ÷ the fastest peer", _ratio(stream, _fastest(results, "stream")), 0.5, ""),
        (
            "1,000-chunk stream, CPU beyond bare",
            long["OpenTelemetry SDK: span, default metrics"][1] / 1000 if long else None,
            1.0,
            " ms",
        ),
        ("nobody listening, what was put off included", added(ours, "nobody", bare="bare call"), 0.15, " M"),
        ("async ÷ sync, added", _ratio(added(ours, "async"), call), 1.2, ""),
        (
            "in 3 scopes with 5 tags and thinking parameters ÷ without",
            _ratio(added(ours, "scoped", bare="bare spoken"), call),
            1.3,
            "",
        ),
        ("with a ledger, caller's thread ÷ without", _ratio(noted, plain), 1.15, ""),
        ("foreign span priced ÷ bare span", _ratio(foreign and foreign["all"], span and span["caller"]), 2.5, ""),
        ("memory of an open stream beyond bare", memory and (memory["metered"] - memory["bare"]) / 1000, 1.0, " kB"),
        (
            "CPU of 1,000 concurrent async streams, metered ÷ bare",
            streams and streams["metered"] / streams["bare"],
            1 / 0.97,
            "",
        ),
        ("cold start with bytecode: set-up", cold and cold["set-up"], 25, " ms"),
        ("cold start with bytecode: first call", cold and cold["first call"], 10, " ms"),
        ("import beyond opentelemetry-api", alone["import"]["import"] if "import" in alone else None, 3, " ms"),
    ]  # fmt: skip
    for name, value, bar, unit in rows:
        if value is None:
            yield name, "not measured", f"≤ {bar:.3g}{unit}", ""
        else:
            yield name, f"{value:.3g}{unit}", f"≤ {bar:.3g}{unit}", "met" if value <= bar else "**not met**"


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _growth(results: Results) -> Iterable[Sequence[str]]:
    told = results.get("growth", {})
    call = added(told, "call")
    series: dict[str, dict[int, float | None]] = {
        "tags": {0: call, **_points(told, "tags", "bare call")},
        "open scopes": {0: call, **_points(told, "scopes", "bare call")},
        "models": {1: call, **_points(told, "models", "bare call")},
        "chunks of a stream": _points(told, "chunks", None),
    }
    alone = results.get("processes", {}).get("ledger")
    if alone:
        series["rows of the ledger, CPU µs of a record"] = {int(rows): took for rows, took in alone.items()}
    for name, points in series.items():
        there = {size: value for size, value in points.items() if value is not None}
        yield name, ", ".join(f"{size}: {value:.3g}" for size, value in there.items()) or "not measured", _shape(there)


def _points(told: Mapping[str, Any], unit: str, bare: str | None) -> dict[int, float | None]:
    """What the cases named `10 tags`, `50 tags` … add to their bare call."""
    cases = [name for name in told.get("instructions", {}) if re.fullmatch(rf"\d+ {unit}", name)]
    points = {int(name.split()[0]): added(told, name, bare=bare) for name in cases}
    return dict(sorted(points.items()))


def _shape(points: Mapping[int, float]) -> str:
    """How a cost grows: flat within a quarter, else by whether its increments keep their rate."""
    sizes = sorted(points)
    if len(sizes) < 2:
        return ""
    first, last = points[sizes[0]], points[sizes[-1]]
    if last <= first * 1.25:
        return "flat"
    rates = [(points[b] - points[a]) / (b - a) for a, b in pairwise(sizes)]
    if len(rates) == 1:
        return "not flat"
    return "linear or less" if rates[-1] <= max(rates[0], 0) * 1.5 else "**more than linear**"


def picture(results: Results) -> str:
    """Bars of what each instrumentation adds to a call and to a stream."""
    rows = [
        (shown, added(results.get(name, {}), "call"), added(results.get(name, {}), "stream"))
        for name, shown in NAMES.items()
    ]
    sdk = added(results.get("tokenmeter", {}), "sdk", bare="bare call")
    rows.insert(0, ("the SDK: span, histogram", sdk, None))
    lines: list[str] = []
    for at, (title, column) in enumerate((("call", 1), ("stream of 50 chunks", 2))):
        left = 230 + at * 330
        values = [value for row in rows if isinstance(value := row[column], float)]
        scale = 230 / max(values, default=1.0)
        lines.append(f'<text x="{left}" y="24" font-weight="bold">{title}, million instructions added</text>')
        for number, row in enumerate(rows):
            value, top = row[column], 40 + number * 26
            if at == 0:
                lines.append(f'<text x="220" y="{top + 14}" text-anchor="end">{escape(row[0])}</text>')
            if not isinstance(value, float):
                continue
            colour = "#1f6feb" if row[0] == "tokenmeter" else "#8c959f"
            lines.append(f'<rect x="{left}" y="{top}" width="{value * scale:.1f}" height="18" fill="{colour}"/>')
            lines.append(f'<text x="{left + value * scale + 6:.1f}" y="{top + 14}">{value:.2f}</text>')
    height = 50 + len(rows) * 26
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 {height}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="920" height="{height}" fill="#ffffff"/>', *lines, "</svg>", ""])
