"""Learn the ranges of counts from recorded calls, and check them with every source left out in turn.

    python benchmarks/truth_bands.py CASES [--dates DATES]              the cover of each source, by the others' ranges
    python benchmarks/truth_bands.py CASES [--dates DATES] --write      learn from all, and write error_bands.toml
    python benchmarks/truth_bands.py CASES [--dates DATES] --docs docs/counting.md   put the table into the page

A source is a repository: recordings of one repository are near-copies of each other, so a split by call would show the
same prompt on both sides. A range is the narrowest of a few forms (fixed tokens and a share) that holds 95% of every
source, wider where fewer sources know the rule. `any` is the range of a rule that was never measured: it holds 90% of
every rule and source. `other-host` is added where a rule meets a provider it was not measured on.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from truth import Row, answers, load, prompts, provider_of
from truth_goals import SET_ASIDE, SET_ASIDE_ANSWERS, kept, rewrite

from tokenmeter.tokens import requests
from tokenmeter.tokens.requests import error_bands
from tokenmeter.tokens.requests.error_bands import ANY, OTHER_HOST, Band, Bands

SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8)
KINDS = {"text": "output", "json text": "output", "text+thought": "output_reasoning", "calls": "output_calls"}
MARGINS = {1: (6.0, 0.05), 2: (3.0, 0.02), 3: (1.0, 0.005)}
"""Tokens and share that a range has at least, by the number of sources it was learnt from."""
MOST = 60
"""Calls of one source in the pool of all."""
JUDGE = 15
"""Calls from which on a source must be held by itself."""
LEAST = 6
"""Calls from which on a rule and kind get a range of their own."""


def source_of(case: Mapping[str, Any]) -> str:
    """The repository, package or page that a recording was found in."""
    return str(case["provenance"]).partition("@")[0].partition(" (")[0]


def kind_of(row: Row) -> str:
    return KINDS.get(row.kind, row.kind)


def _side(groups: Iterable[list[Row]], sign: int, held: float) -> tuple[float, float]:
    """Fixed tokens and share, above (1) or below (-1) the count, that hold in every group."""
    groups = list(groups)
    everything = [row for group in groups for row in group]
    best = (math.inf, 0.0, 0.0)
    for part in SHARES:
        fixed = 0.0
        for group in groups:
            misses = sorted(sign * row.miss - part * row.tokens for row in group)
            fixed = max(fixed, math.ceil(misses[len(misses) - 1 - int((1 - held) / 2 * len(misses))]))
        best = min(best, (sum(fixed + part * row.tokens for row in everything), fixed, part))
    return best[1], best[2]


def learn(rows: list[Row], held: float = 0.96, by: Callable[[Row], str] = lambda row: source_of(row.case)) -> Band:
    """The range of one rule and kind.

    A prompt of which half is not in the request (a host's own preamble) is left out where it is rare: a range wide
    enough for it would say nothing of the others.
    """
    usual = [row for row in rows if abs(row.miss) <= max(100, 0.5 * row.true)]
    rows = usual if len(usual) >= 0.9 * len(rows) else rows
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[by(row)].append(row)
    sources = len({source_of(row.case) for row in rows})
    # The pool keeps a source with thousands of near-copies from speaking for all; a source of a few calls speaks in it.
    pool = [row for group in groups.values() for row in group[:: 1 + len(group) // MOST]]
    judges = [pool, *(group for group in groups.values() if len(group) >= JUDGE)]
    fixed, share = MARGINS.get(sources, (0.0, 0.0) if len(rows) >= 100 else (1.0, 0.0))
    below, above = _side(judges, -1, held), _side(judges, 1, held)
    return Band(
        max(below[0], fixed), max(below[1], share), max(above[0], fixed), max(above[1], share), sources,
    )  # fmt: skip


def learn_all(rows: list[Row]) -> Bands:
    """Ranges of every rule and kind, of rules never measured, and of providers a rule was not measured on."""
    cells: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.kind != "media":  # media bring their own range
            cells[row.rule, kind_of(row)].append(row)
    found: dict[str, dict[str, Band]] = defaultdict(dict)
    hosts: dict[str, set[str]] = defaultdict(set)
    for (rule, kind), part in sorted(cells.items()):
        hosts[rule].update(provider_of(row.case) for row in part)
        if len(part) >= LEAST and rule != "none":
            found[rule][kind] = learn(part)
    for kind in sorted({kind for _, kind in cells}):
        of_kind = [row for (_, one), part in cells.items() if one == kind for row in part]
        found[ANY][kind] = learn(of_kind, 0.8, lambda row: row.rule)
        elsewhere = [row for row in of_kind if len(hosts[row.rule]) > 1]
        if len(elsewhere) >= LEAST:
            found[OTHER_HOST][kind] = learn(elsewhere, 0.8, lambda row: provider_of(row.case))
    return Bands(found, {rule: frozenset(names) for rule, names in hosts.items()})


def check(cases: list[dict[str, Any]], rows: list[Row]) -> list[str]:
    """Count each source's calls with the ranges that the other sources give, and print how many they hold.

    Returns the lines of a table that says so.
    """
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    judged = {id(row.case) for row in rows}
    sides = {(id(row.case), "prompt" if kind_of(row) == row.kind else "answer") for row in rows}
    for case in cases:
        if id(case) in judged:
            by_source[source_of(case)].append(case)
    every: list[Row] = []
    table = [
        "| left out | figures | prompts inside | answers inside | both | median width |",
        "|---|---|---|---|---|---|",
    ]
    print(f"{'source left out':<44}{'n':>6} {'prompts':>8} {'answers':>8} {'both':>6}")
    for source, part in sorted(by_source.items(), key=lambda item: -len(item[1])):
        error_bands.use(learn_all([row for row in rows if source_of(row.case) != source]))
        inputs = [row for row in prompts(part) if (id(row.case), "prompt") in sides]
        outputs = [row for row in answers(part) if (id(row.case), "answer") in sides]
        found = inputs + outputs
        every += found
        if len(found) >= 50:
            print(f"{source:<44}{len(found):>6} {_held(inputs)} {_held(outputs)} {_held(found)}")
            table.append(_line(source.removeprefix("pypi:"), inputs, outputs))
    error_bands.use(None)
    for name, test in (
        ("prompts", lambda row: kind_of(row) == row.kind),
        ("answers", lambda row: kind_of(row) != row.kind),
        ("all", lambda row: True),
    ):
        part = [row for row in every if test(row)]
        print(f"{name:<44}{len(part):>6} {_held(part)}   median width {_width(part)}")
    sides = [[row for row in every if (kind_of(row) == row.kind) is prompt] for prompt in (True, False)]
    return [*table, _line("each in turn", *sides)]


def _line(name: str, inputs: list[Row], outputs: list[Row]) -> str:
    both = inputs + outputs
    held = " | ".join(_held(part).strip() for part in (inputs, outputs, both))
    return f"| {name} | {len(both):,} | {held} | {_width(both)} |"


def _width(rows: list[Row]) -> str:
    widths = sorted((row.high - row.low) / max(1, row.tokens) for row in rows)
    return f"{100 * widths[len(widths) // 2]:.0f}%"


def _held(rows: list[Row]) -> str:
    return f"{100 * sum(row.low <= row.true <= row.high for row in rows) / len(rows):7.1f}%" if rows else "       -"


def write(bands: Bands) -> None:
    lines = [
        "# Written by `python benchmarks/truth_bands.py CASES --write`. By rule and kind of request or answer: tokens",
        "# below, share below, tokens above, share above, and the number of sources (repositories) it was learnt from.",
        "# `hosts` are the providers that the rule was measured on.",
    ]
    for rule, kinds in sorted(bands.kinds.items()):
        lines.append(f'\n["{rule}"]')
        if rule in bands.hosts:
            lines.append(f"hosts = {sorted(bands.hosts[rule])}".replace("'", '"'))
        lines += [f"{kind} = [{', '.join(f'{number:g}' for number in band)}]" for kind, band in sorted(kinds.items())]
    Path(requests.__file__).with_name("error_bands.toml").write_text("\n".join(lines) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--dates", type=Path, help="JSON: case id to the first and last day of its commits")
    parser.add_argument("--write", action="store_true", help="write the ranges into the package")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="write the table of sources into docs/counting.md")
    options = parser.parse_args(arguments)
    if not options.cases.exists():
        print(f"{options.cases}: not there; the recorded calls are kept outside the repository", file=sys.stderr)
        return 2
    cases = load(options.cases, options.dates)
    rows = [*kept(list(prompts(cases)), SET_ASIDE[1:]), *kept(list(answers(cases)), SET_ASIDE_ANSWERS[1:])]
    if options.write:
        write(learn_all(rows))
    table = check(cases, rows)
    if options.docs:
        rewrite(options.docs, "cover", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
