"""What calibration gains on recorded calls: learn from the first few calls of a kind, correct the others.

    python benchmarks/calibration.py ../shared/truth/cases.jsonl.gz [--dates DATES] [--first 5 10 20 40] [--list]

The calls of each provider and model are replayed by kind (text, tools, media, answers, calls) and script, in the order
of their dates: the first K are learnt from, the rest is judged. `within 2` and `within 5%` are numbers of all calls
judged, `covered` is the number of the corrected ones whose billed figure lies inside [low, high], each before and
after. A model is worse where more of its calls leave those two bounds than enter them, and beyond noise where that
would be chance in fewer than one of twenty cases. `--shuffle N` replays in so many random orders instead; `--list`
names the models whose counts changed. The recorded calls of one model come from many people, so this is harder than
one user's own traffic.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from truth import Row, answers, load, model_of, prompts, provider_of

from tokenmeter.calls.calibrator import input_kind, own_tokens
from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.calibration.calibration import Calibration
from tokenmeter.tokens.requests.count import explain_request


class Call(NamedTuple):
    """One recorded call: where calibration would learn it, our count, and what was billed."""

    model: tuple[str, str]
    part: str
    script: str
    count: TokenCount
    own: int | None
    billed: int
    order: str


@dataclass(slots=True)
class Score:
    """Calls judged, and how many lie within the bounds, uncalibrated and calibrated."""

    calls: int = 0
    corrected: int = 0
    covered: list[int] = field(default_factory=lambda: [0, 0])
    within_2: list[int] = field(default_factory=lambda: [0, 0])
    within_5: list[int] = field(default_factory=lambda: [0, 0])
    entered: int = 0
    left: int = 0
    learnt: set[str] = field(default_factory=set)

    def add(self, call: Call, corrected: TokenCount) -> None:
        self.calls += 1
        held: list[tuple[bool, bool]] = []
        for which, count in enumerate((call.count, corrected)):
            off = abs((count.tokens or 0) - call.billed)
            held.append((off <= 2, 20 * off <= call.billed))
            self.within_2[which] += held[-1][0]
            self.within_5[which] += held[-1][1]
        if corrected.tokens != call.count.tokens:
            self.corrected += 1
            for which, count in enumerate((call.count, corrected)):
                self.covered[which] += (count.low or 0) <= call.billed <= (count.high or 0)
            self.learnt.add(f"{call.part} {call.script}: {corrected.calibrated}")
        self.entered += sum(now > then for then, now in zip(*held, strict=True))
        self.left += sum(now < then for then, now in zip(*held, strict=True))

    @property
    def beyond_noise(self) -> bool:
        """Whether so many losses among its gains and losses would be chance in fewer than one of twenty cases."""
        moved = self.entered + self.left
        chance = sum(math.comb(moved, losses) for losses in range(self.left, moved + 1)) / 2**moved
        return self.left > self.entered and chance < 0.05


def calls_of(path: Path, dates: Path | None) -> Iterator[Call]:
    """The recorded calls that calibration would learn from."""
    cases = load(path, dates)
    for row in prompts(cases):
        case = row.case
        kind = input_kind(case["request"], case["api"])
        if kind is None:
            continue
        script, part = kind
        own = None
        if part != "input":
            provider, model = provider_of(case), model_of(case)
            found = explain_request(case["request"], provider=provider, model=model, api=case["api"], at=case["date"])
            if found.count.skipped:
                continue
            own = own_tokens(part, found)
        yield _call(row, part, script, own)
    for row in answers(cases):
        if row.kind in ("text", "json text", "calls"):
            yield _call(row, "output_calls" if row.kind == "calls" else "output", row.lang, None)


def _call(row: Row, part: str, script: str, own: int | None) -> Call:
    count = TokenCount(row.tokens, row.low, row.high, row.method, row.family)
    order = f"{row.case['date'] or '9'} {row.case['id']}"
    return Call((provider_of(row.case), model_of(row.case)), part, script, count, own, row.true, order)


def replay(calls: list[Call], first: int) -> dict[tuple[str, str], Score]:
    """Learn from the first calls of each kind, judge the others; the scores by provider and model."""
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    kinds: dict[tuple[tuple[str, str], str, str], list[Call]] = defaultdict(list)
    for call in calls:
        kinds[call.model, call.part, call.script].append(call)
    clock = itertools.count(step=60)
    calibration = Calibration(now=clock.__next__)
    for (model, part, script), found in sorted(kinds.items()):  # text comes before the tools and media around it
        kind = {"provider": model[0], "model": model[1], "script": script, "part": part}
        for call in found[:first]:
            calibration.learn(call.count, call.billed, own=call.own, **kind)
        for call in found[first:]:
            scores[model].add(call, calibration.correct(call.count, own=call.own, **kind))
    return scores


def show(title: str, scores: dict[tuple[str, str], Score], *, models: bool) -> None:
    total = sum(score.calls for score in scores.values())
    corrected = sum(score.corrected for score in scores.values())
    columns = [f"{title:<12} {total:>6} {corrected:>6}"]
    for name, over in (("within_2", total), ("within_5", total), ("covered", corrected)):
        before, after = (sum(getattr(score, name)[which] for score in scores.values()) for which in (0, 1))
        columns.append(f"{before:>6} {after:>6} {100 * (after - before) / max(1, over):>+6.2f}%")
    better = sum(score.entered > score.left for score in scores.values())
    worse = [model for model, score in scores.items() if score.left > score.entered]
    beyond = [model for model in worse if scores[model].beyond_noise]
    print("  ".join(columns) + f"  {len(scores):>6} {better:>6} {len(worse):>5} {len(beyond):>6}")
    if models:
        for model, score in sorted(scores.items()):
            if score.corrected:
                print(
                    f"    {' '.join(model)}: {score.corrected} of {score.calls} corrected, {score.entered} better, "
                    f"{score.left} worse; {'; '.join(sorted(score.learnt))}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--dates", type=Path, help="JSON: case id to the first and last day of its commits")
    parser.add_argument("--first", type=int, nargs="+", default=[5, 10, 20, 40], help="calls of a kind to learn from")
    parser.add_argument("--shuffle", type=int, default=0, help="replay in so many random orders")
    parser.add_argument("--list", action="store_true", help="name the models whose counts changed")
    args = parser.parse_args()
    calls = sorted(calls_of(args.cases, args.dates), key=lambda call: call.order)
    three = f"{'before':>6} {'after':>6} {'':>7}"
    print(f"{'':<12} {'':>6} {'':>6}  {'within 2':<21}  {'within 5%':<21}  {'covered':<21}  models")
    heads = f"{'first calls':<12} {'judged':>6} {'moved':>6}  {three}  {three}  {three}"
    print(f"{heads}  {'all':>6} {'better':>6} {'worse':>5} {'beyond':>6}")
    for first in args.first:
        for seed in range(max(1, args.shuffle)):
            order = random.Random(seed).sample(calls, len(calls)) if args.shuffle else calls
            title = f"{first}, order {seed}" if args.shuffle else str(first)
            show(title, replay(order, first), models=args.list)


if __name__ == "__main__":
    main()
