"""Compare our counts with what vendors billed, over recorded calls.

    python benchmarks/truth.py ../shared/truth/cases.jsonl.gz             the tables
    python benchmarks/truth.py CASES --show "OpenAI 4" tools              residuals of one cell, by kind of miss
    python benchmarks/truth.py CASES --goals                              the goals, per family (`truth_goals.py`)
    python benchmarks/truth.py CASES --docs docs/counting.md              the same, and its table in the page
    python benchmarks/truth.py CASES --dates DATES …                      date recordings that have no date of their own

Prompts are grouped by family and by plain | tools | schema | history | media, answers by text | calls. `within 2` and
`within 5%` are shares of cases; `bias` is the sum of our counts over the sum of theirs, less one; `covered` is the
share with the billed figure inside [low, high]. The last columns are litellm's `token_counter` (where litellm is
installed) and a naive count (message texts with o200k), both within 5%.

Each call is counted as of its own date. `DATES` is a JSON object of case ids with the first and last day of the commits
that hold the recording; a recording was made by the last.

`benchmarks/truth_bands.py` learns the ranges from the same calls.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenmeter.tokens import requests
from tokenmeter.tokens.requests.bodies import read

# What a counter cannot see: server-side tools and stored context, edited or partial recordings, several answers.
UNSEEN = ("builtin_tools", "server_context", "hidden_prompt", "grounding", "block:", "multi_choice", "inconsistent")
UNSEEN += ("reseller", "output_incomplete", "output_omitted")
PROVIDERS = {"dashscope": "alibaba", "bedrock": "aws-bedrock"}
INPUT_KEYS = ("prompt_tokens", "input_tokens", "total_input_tokens", "prompt_eval_count", "PromptTokens", "InputTokens")
INPUT_KEYS += ("inputTokens", "inputTextTokenCount", "prompt_token_count", "x-amzn-bedrock-input-token-count")
OUTPUT_KEYS = ("completion_tokens", "output_tokens", "total_output_tokens", "eval_count", "CompletionTokens")
OUTPUT_KEYS += ("OutputTokens", "outputTokens", "generation_token_count", "x-amzn-bedrock-output-token-count")


@dataclass(slots=True)
class Row:
    """One comparison: what was billed, and our count of it."""

    group: str
    kind: str
    lang: str
    true: int
    tokens: int
    low: int
    high: int
    method: str
    rule: str
    family: str
    case: Mapping[str, Any]

    @property
    def miss(self) -> int:
        return self.true - self.tokens


def load(path: Path, dates: Path | None = None) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    known = json.loads(dates.read_text("utf-8")) if dates else {}
    for case in cases:
        if not case["date"] and case["id"] in known:
            case["date"] = known[case["id"]][-1]
    return cases


def provider_of(case: Mapping[str, Any]) -> str:
    return PROVIDERS.get(case["vendor"], case["vendor"])


def model_of(case: Mapping[str, Any]) -> str:
    return case["model_requested"] or case["model_returned"] or ""


GROUPS = (
    ("OpenAI 4", r"openai|azure-openai", r"gpt-3|gpt-4|chatgpt"),
    ("OpenAI 5/o", r"openai|azure-openai", r"gpt-[56]|o[134]|codex"),
    ("OpenAI embeddings", r"openai|azure-openai", r"embedding"),
    ("Gemini", r"google", r"gemini"),
    ("Gemini Vertex", r"google-vertex", r"gemini"),
    ("Claude", r"anthropic", r""),
    ("Claude elsewhere", r"bedrock|google-vertex", r"claude"),
    ("Qwen hosted", r"dashscope", r"qwen|qwq|qvq"),
    ("DeepSeek", r"deepseek", r""),
    ("GLM", r"zhipu|zai", r""),
    ("Kimi", r"moonshot", r""),
    ("Mistral embeddings", r"mistral", r"embed"),
    ("Mistral", r"mistral", r""),
    ("xAI", r"xai", r""),
    ("Cohere", r"cohere", r""),
    ("Tencent", r"tencent", r""),
    ("Baidu", r"baidu", r""),
    ("Nova", r"bedrock", r"nova"),
    ("Qwen elsewhere", r"", r"qwen|qwq"),
    ("DeepSeek elsewhere", r"", r"deepseek"),
    ("Llama", r"", r"llama"),
    ("OpenAI elsewhere", r"", r"gpt-\d|^o\d"),
    ("gpt-oss", r"", r"gpt-oss"),
    ("Claude elsewhere", r"", r"claude"),
    ("Gemini elsewhere", r"", r"gemini"),
    ("Gemma", r"", r"gemma"),
    ("Kimi", r"", r"kimi"),
    ("GLM", r"", r"glm"),
    ("Mistral elsewhere", r"", r"mistral|mixtral|ministral"),
)


def group_of(case: Mapping[str, Any]) -> str:
    model = model_of(case).lower().rpartition("/")[2]
    for name, vendor, pattern in GROUPS:
        if (not vendor or re.fullmatch(vendor, case["vendor"])) and re.search(pattern, model):
            return name
    return "others"


def billed_input(case: Mapping[str, Any]) -> int | None:
    """The whole prompt as billed, caches included."""
    usage, api = case["usage"], case["api"]
    if api.startswith("anthropic"):
        caches = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
        return None if usage.get("input_tokens") is None else usage["input_tokens"] + caches
    if api.startswith("gemini") and "interactions" not in api:
        return usage.get("promptTokenCount", usage.get("totalTokens"))
    if api == "bedrock.converse":
        caches = (usage.get("cacheReadInputTokens") or 0) + (usage.get("cacheWriteInputTokens") or 0)
        return (usage.get("inputTokens") or 0) + caches or None
    if api.startswith("cohere"):
        return (usage.get("tokens") or {}).get("input_tokens")
    found = next((usage[key] for key in INPUT_KEYS if usage.get(key) is not None), None)
    if found is None and "embeddings" in api:
        found = usage.get("total_tokens", usage.get("TotalTokens"))
    return None if found is None else int(found)


def billed_output(case: Mapping[str, Any]) -> int | None:
    usage, api = case["usage"], case["api"]
    if api == "gemini.generate":
        return usage.get("candidatesTokenCount")
    if api.startswith("cohere"):
        return (usage.get("tokens") or {}).get("output_tokens")
    found = next((usage[key] for key in OUTPUT_KEYS if usage.get(key) is not None), None)
    if found is None:
        return None
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    if thought and usage.get("total_tokens") == usage.get("prompt_tokens", 0) + found + thought:
        found += thought  # xAI's chat counts thoughts beside the completion
    return int(found)


def seen(case: Mapping[str, Any]) -> bool:
    return not any(flag.startswith(UNSEEN) for flag in case["flags"])


def prompt_kind(case: Mapping[str, Any]) -> str:
    prompt = read(case["request"], case["api"])
    if case["has_media"] or any(message.media for message in prompt.messages):
        return "media"
    if any(message.calls or message.results or message.reasoning for message in prompt.messages):
        return "history"
    if prompt.tools:
        return "tools"
    return "schema" if prompt.schema else "plain"


def prompts(cases: list[dict[str, Any]]) -> Iterator[Row]:
    for case in cases:
        true = billed_input(case) if case["request"] and seen(case) else None
        if not true:
            continue
        found = requests.explain_request(
            case["request"], provider=provider_of(case), model=model_of(case), api=case["api"], at=case["date"]
        )
        count = found.count
        if count.tokens is None:
            continue
        yield Row(
            group_of(case), prompt_kind(case), case["lang"], true, count.tokens, count.low or 0, count.high or 0,
            str(count.method), found.rule, str(count.family), case,
        )  # fmt: skip


def answers(cases: list[dict[str, Any]]) -> Iterator[Row]:
    for case in cases:
        output = case["output"]
        true = billed_output(case)
        text, calls = output.get("text") or output.get("tool_plan") or "", output.get("tool_calls") or []
        if not seen(case) or not true or not (text or calls) or output.get("texts") or "embeddings" in case["api"]:
            continue
        unseen = ("media_output", "audio_output", "redacted_thinking")
        if case["api"] != "gemini.generate":  # Gemini bills thoughts apart
            unseen += ("hidden_reasoning",)
        if any(flag in case["flags"] for flag in unseen):
            continue
        reasoning = output.get("reasoning") or ""
        if "reasoning_summary" in case["flags"]:
            continue
        usage = case["usage"]
        details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
        if not reasoning and (details.get("reasoning_tokens") or 0) > 0:
            continue
        if case["api"] == "gemini.generate":
            reasoning = ""  # thoughts are billed apart
        found = requests.explain_output(
            model=model_of(case), provider=provider_of(case), api=case["api"], text=text, reasoning=reasoning,
            tool_calls=calls, request=case["request"], at=case["date"],
        )  # fmt: skip
        count = found.count
        if count.tokens is None:
            continue
        kind = "calls" if calls else "text+thought" if reasoning else "text"
        if "json_schema" in case["flags"] and kind == "text":
            kind = "json text"
        yield Row(
            group_of(case), kind, case["lang"], true, count.tokens, count.low or 0, count.high or 0, str(count.method),
            found.rule, str(count.family), case,
        )  # fmt: skip


def share(rows: list[Row], test: Callable[[Row], bool]) -> str:
    return f"{100 * sum(map(test, rows)) / len(rows):5.0f}%"


def near(row: Row, tokens: int | None) -> bool:
    return tokens is not None and abs(row.true - tokens) <= 0.05 * row.true


def table(title: str, rows: list[Row], peers: Mapping[str, Callable[[Row], int | None]], least: int) -> None:
    cells: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.group, row.kind, "zh" if row.lang == "zh" else "en"].append(row)
    print(
        f"\n{title:<21}{'kind':<13}{'':<4}{'n':>5} {'exact':>6} {'in 2':>6} {'in 5%':>6} {'bias':>7} "
        f"{'cover':>6} {'width':>6}",
        end="",
    )
    print("".join(f" {name:>8}" for name in peers))
    for (group, kind, lang), found in sorted(cells.items()):
        if len(found) < least:
            continue
        bias = sum(row.tokens for row in found) / sum(row.true for row in found) - 1
        widths = sorted((row.high - row.low) / max(1, row.tokens) for row in found)
        print(
            f"{group:<21}{kind:<13}{lang:<4}{len(found):>5} {share(found, lambda r: r.miss == 0)} "
            f"{share(found, lambda r: abs(r.miss) <= 2)} {share(found, lambda r: near(r, r.tokens))} "
            f"{100 * bias:>+6.1f}% {share(found, lambda r: r.low <= r.true <= r.high)} "
            f"{100 * widths[len(widths) // 2]:>5.0f}%"
            + "".join(f" {share(found, lambda r, peer=peer: near(r, peer(r))):>8}" for peer in peers.values())
        )


def naive(row: Row) -> int | None:
    """Message texts with o200k, as many tools do."""
    counter = text_counter()
    prompt = read(row.case["request"], row.case["api"])
    return sum(counter.count(text) for message in prompt.messages for text in message.texts) + sum(
        map(counter.count, prompt.inputs)
    )


def naive_answer(row: Row) -> int | None:
    output = row.case["output"]
    calls = "".join(f"{call.get('name')}{call.get('arguments')}" for call in output.get("tool_calls") or [])
    return int(text_counter().count((output.get("reasoning") or "") + (output.get("text") or "") + calls))


def text_counter() -> Any:
    """A counter of text alone, with o200k."""
    from tokenmeter.tokens.counter import counter

    return counter("gpt-4o", "openai")


def litellm_peer() -> Callable[[Row], int | None] | None:
    # Offline: it would fetch vocabularies and images, and wait for each.
    os.environ.update(HF_HUB_OFFLINE="1", LITELLM_LOCAL_MODEL_COST_MAP="True")
    try:
        import litellm
    except ImportError:
        return None
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)

    def count(row: Row) -> int | None:
        body = row.case["request"]
        if not isinstance(body.get("messages"), list):
            return None
        try:
            return int(
                litellm.token_counter(
                    model=model_of(row.case),
                    messages=body["messages"],
                    tools=body.get("tools"),
                    use_default_image_token_count=True,
                )
            )
        except Exception:  # noqa: BLE001 - a peer's failure is its score
            return None

    return count


def show(rows: list[Row], group: str, kind: str, most: int) -> None:
    found = [row for row in rows if row.group == group and row.kind == kind]
    print(Counter(row.miss for row in found).most_common(25))
    for row in sorted(found, key=lambda one: -abs(one.miss) / one.true)[:most]:
        request = json.dumps(row.case["request"], ensure_ascii=False)[:600]
        print(
            row.miss,
            row.true,
            row.tokens,
            row.rule,
            row.case["vendor"],
            model_of(row.case),
            row.case["date"],
            row.case["flags"],
            request,
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--dates", type=Path, help="JSON: case id to the first and last day of its commits")
    parser.add_argument("--goals", action="store_true", help="the shares that the goals name, per family")
    parser.add_argument("--docs", type=Path, metavar="PAGE", help="write the goals' table into docs/counting.md")
    parser.add_argument("--show", nargs=2, metavar=("GROUP", "KIND"))
    parser.add_argument("--most", type=int, default=30)
    parser.add_argument("--least", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args(arguments)
    if not options.cases.exists():
        print(f"{options.cases}: not there; the recorded calls are kept outside the repository", file=sys.stderr)
        return 2
    cases = load(options.cases, options.dates)
    rows, out = list(prompts(cases)), list(answers(cases))
    if options.show:
        show(rows + out, *options.show, options.most)
        return 0
    if options.goals or options.docs:
        import truth_goals  # which builds on this module

        truth_goals.goals(rows, out, options.docs)
        return 0
    litellm = None if options.no_peers else litellm_peer()
    table("prompts", rows, {"naive": naive, **({"litellm": litellm} if litellm else {})}, options.least)
    table("answers", out, {"naive": naive_answer}, options.least)
    return 0


if __name__ == "__main__":
    sys.exit(main())
