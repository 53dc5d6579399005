"""What calibration gains on recorded calls: learn from half of a model's calls, correct the others.

    python benchmarks/calibration.py ../shared/truth/cases.jsonl.gz [--least 40]

A row is one provider × model × part × script. `in 5%` is the share of counts within 5% of what was billed, `covered`
the share with the billed figure inside [low, high], `width` the median width of that range over the count; each before
and after. The recorded calls of one model come from many people, so this is harder than one user's own traffic.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

from truth import Row, answers, load, model_of, prompts, provider_of

from tokenmeter.calls.calibrator import input_kind
from tokenmeter.tokens.calibration.calibration import Calibration
from tokenmeter.usage import TokenCount

Cell = tuple[str, str, str, str]


def cell_of(row: Row, part: str) -> Cell | None:
    """Where calibration would learn this call; None where it would pass it over."""
    script = row.lang
    if part == "input":
        kind = input_kind(row.case["request"], row.case["api"])
        if kind is None or row.case["has_media"]:
            return None
        script, part = kind
    elif row.kind != "text":
        return None
    return provider_of(row.case), model_of(row.case), part, script


def figures(counts: list[TokenCount], true: list[int]) -> str:
    near = sum(abs(one.tokens - billed) <= 0.05 * billed for one, billed in zip(counts, true, strict=True))
    inside = sum(one.low <= billed <= one.high for one, billed in zip(counts, true, strict=True))
    bias = sum(one.tokens for one in counts) / sum(true) - 1
    widths = sorted((one.high - one.low) / max(1, one.tokens) for one in counts)
    share = 100 / len(counts)
    return f"{share * near:6.0f}% {100 * bias:+7.1f}% {share * inside:6.0f}% {100 * widths[len(widths) // 2]:6.0f}%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--least", type=int, default=40, help="calls a cell needs to be shown")
    args = parser.parse_args()
    cases = load(args.cases)
    cells: dict[Cell, list[Row]] = defaultdict(list)
    for part, rows in (("input", prompts(cases)), ("output", answers(cases))):
        for row in rows:
            cell = cell_of(row, part)
            if cell is not None:
                cells[cell].append(row)
    heads = f"{'in 5%':>7} {'bias':>8} {'covered':>7} {'width':>7}"
    print(f"{'':<58}{'n':>4}  {'before':<32}  after\n{'':<64}{heads}  {heads}  learnt")
    for (provider, model, part, script), rows in sorted(cells.items()):
        if len(rows) < args.least:
            continue
        rows.sort(key=lambda row: str(row.case["id"]))  # a hash, so neighbours have nothing in common
        clock = itertools.count(step=60)
        calibration = Calibration(now=clock.__next__)
        kind = {"provider": provider, "model": model, "script": script, "part": part}
        for row in rows[::2]:
            calibration.learn(_count(row), row.true, **kind)
        before = [_count(row) for row in rows[1::2]]
        after = [calibration.correct(count, **kind) for count in before]
        true = [row.true for row in rows[1::2]]
        name = f"{provider} {model} {part} {script}"
        learnt = after[0].calibrated or "nothing"
        print(f"{name:<58}{len(rows):>4}  {figures(before, true)}  {figures(after, true)}  {learnt}")


def _count(row: Row) -> TokenCount:
    return TokenCount(row.tokens, row.low, row.high, row.method, row.rule)


if __name__ == "__main__":
    main()
