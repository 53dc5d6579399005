"""Tokens that each family makes of the same text: python benchmarks/token_ratios.py CASES.jsonl.gz

Prints `tokenmeter/ledger/valuation/ratios.toml` anew: for each family the tokens for one of DeepSeek V3, 5th
percentile, median and 95th percentile, over the texts of recorded calls (messages and answer together, from 120
characters on). CASES are cases as `python -m tools.truth` makes them. Chinese are all texts in Chinese or mixed;
English are up to 350 chat requests without media.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tokenmeter.ledger.valuation.token_ratios import LANGUAGES
from tokenmeter.tokens.counter import counter

BASE: Final = "deepseek-v3"
MODELS: Final = {
    BASE: ("deepseek", "deepseek-chat"),
    "qwen": ("alibaba", "qwen-plus"),
    "glm-4": ("zhipu", "glm-4.6"),
    "kimi": ("moonshot", "kimi-k2-0905-preview"),
    "doubao": ("volcengine", "doubao-seed-1-6-250615"),
    "o200k": ("openai", "gpt-4o-mini"),
    "claude": ("anthropic", "claude-sonnet-4-5"),
    "minimax": ("minimax", "MiniMax-M2"),
    "cl100k": ("openai", "gpt-4"),
    "qwen3.5": ("alibaba", "qwen3.5-plus"),
    "glm-4.7": ("zhipu", "glm-4.7"),
    "gemma": ("google", "gemini-2.5-flash"),
    "tekken": ("mistral", "mistral-large-latest"),
    "o200k-harmony": ("openai", "gpt-oss-120b"),
}
"""A model of each family."""
SHORTEST: Final = 120
MOST_ENGLISH: Final = 350


def texts(path: Path) -> dict[str, list[str]]:
    """The texts of each language."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        cases = [json.loads(line) for line in file]
    english = [
        one
        for one in cases
        if one["lang"] == "en" and one["request"] and one["api"] == "openai.chat" and not one["has_media"]
    ]
    random.Random(2).shuffle(english)
    chosen = {"zh": [one for one in cases if one["lang"] in ("zh", "mixed")], "en": english[:MOST_ENGLISH]}
    return {name: [text for case in chosen[name] if len(text := _text(case)) >= SHORTEST] for name in LANGUAGES}


def _text(case: dict[str, Any]) -> str:
    messages = (case["request"] or {}).get("messages") or []
    said = [one["content"] for one in messages if isinstance(one, dict) and isinstance(one.get("content"), str)]
    return "\n".join([*said, (case.get("output") or {}).get("text") or ""]).strip()


def percentiles(ratios: Iterable[float]) -> list[str]:
    """5th, 50th and 95th percentile, to three decimals."""
    ordered = sorted(ratios)
    return [f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.3f}" for share in (0.05, 0.5, 0.95)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    found = texts(parser.parse_args().cases)
    for family, (provider, model) in MODELS.items():
        counts = counter(model, provider)
        base = counter(MODELS[BASE][1], MODELS[BASE][0])
        print(f'\n["{counts.family_name}"]' if "." in family else f"\n[{counts.family_name}]")
        for language, some in found.items():
            ratios = percentiles(counts.count(text) / base.count(text) for text in some)
            print(f"{language} = [{', '.join(ratios)}]  # {len(some)} texts")


if __name__ == "__main__":
    main()
