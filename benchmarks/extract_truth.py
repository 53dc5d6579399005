"""Compare extraction with recorded vendor answers: `python benchmarks/extract_truth.py [cases.jsonl.gz]`.

Each recorded usage is read four ways: inside an answer of its wire format, with the api named; the same with the api
left to be recognised; as the bare minimum (`usage` and `model`); and, where the recording has them, from its stream
events. Input and output totals are compared with an oracle written here by hand from the vendors' documents, slow
and obvious, sharing nothing with the catalog. Every difference is printed; the kinds of cases whose meaning is not
the plain field are listed with their numbers.

Prints cases, mismatches by way, fields nobody declared, flags raised, and cases per second.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.stream_reader import StreamReader

DEFAULT = Path("../shared/truth/cases.jsonl.gz")
Case = dict[str, Any]
Totals = tuple[int | None, int | None]

# Words found in no `usage` but in the way this file of cases names things.
PROVIDERS = {"copilot": "github-copilot", "openai-chatgpt": "openai", "ollama.com": "ollama-cloud"}


# --- the oracle ------------------------------------------------------------------------------------------------


def whole(value: Any) -> int:
    """A count that may be absent, null, or written 12.0."""
    return int(value) if value is not None else 0


def openai_chat(usage: Any, case: Case) -> Totals:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    total = usage.get("total_tokens")
    reasoning = whole((usage.get("completion_tokens_details") or {}).get("reasoning_tokens"))
    audio = whole((usage.get("prompt_tokens_details") or {}).get("audio_tokens"))
    if total is not None and total > prompt + completion:
        if case["vendor"] == "google":  # thoughts hide in the total
            return prompt, total - prompt
        if total == prompt + completion + reasoning:  # xAI leaves reasoning out of completion
            return prompt, completion + reasoning
        if case["vendor"] == "mistral" and total == prompt + completion + audio:  # Voxtral: audio beside the prompt
            return prompt + audio, completion
    return prompt or None if completion else prompt, completion  # no completion comes of zero tokens


def openai_completions(usage: Any, case: Case) -> Totals:
    if "completion_tokens" not in usage:
        return usage["prompt_tokens"], usage["total_tokens"] - usage["prompt_tokens"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def openai_embeddings(usage: Any, case: Case) -> Totals:
    return usage.get("prompt_tokens", usage["total_tokens"]), 0


def plain(input_name: str, output_name: str) -> Callable[[Any, Case], Totals]:
    return lambda usage, case: (usage[input_name], usage[output_name])


def anthropic(usage: Any, case: Case) -> Totals:
    parts = [usage, *(step for step in usage.get("iterations", ()) if step["type"] == "compaction")]
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(whole(part.get(kind)) for part in parts for kind in kinds), sum(part["output_tokens"] for part in parts)


def gemini(usage: Any, case: Case) -> Totals:
    if "promptTokenCount" not in usage:
        if "totalTokenCount" not in usage:
            return None, None
        return usage["totalTokenCount"] - whole(usage.get("candidatesTokenCount")), usage.get("candidatesTokenCount")
    return (
        usage["promptTokenCount"] + whole(usage.get("toolUsePromptTokenCount")),
        whole(usage.get("candidatesTokenCount")) + whole(usage.get("thoughtsTokenCount")),
    )


def interactions(usage: Any, case: Case) -> Totals:
    return (
        usage["total_input_tokens"] + usage["total_tool_use_tokens"],
        usage["total_output_tokens"] + usage["total_thought_tokens"],
    )


def converse(usage: Any, case: Case) -> Totals:
    cache = whole(usage.get("cacheReadInputTokens")) + whole(usage.get("cacheWriteInputTokens"))
    return usage["inputTokens"] + cache, usage["outputTokens"]


def cohere(usage: Any, case: Case) -> Totals:
    billed = usage["billed_units"]
    return billed["input_tokens"], billed["output_tokens"]


def tencent(usage: Any, case: Case) -> Totals:
    if "OutputTokens" in usage:
        return usage["InputTokens"], usage["OutputTokens"]
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    return usage["PromptTokens"], usage["CompletionTokens"]


ORACLE: dict[str, Callable[[Any, Case], Totals]] = {
    "openai.chat": openai_chat,
    "openai.completions": openai_completions,
    "openai.embeddings": openai_embeddings,
    "openai.responses": plain("input_tokens", "output_tokens"),
    "openai.input_tokens": lambda usage, case: (usage["input_tokens"], 0),
    "anthropic.messages": anthropic,
    "anthropic.count_tokens": lambda usage, case: (usage["input_tokens"], 0),
    "gemini.generate": gemini,
    "gemini.interactions": interactions,
    "gemini.count_tokens": lambda usage, case: (usage["totalTokens"], 0),
    "bedrock.converse": converse,
    "bedrock.nova": converse,
    "bedrock.titan": lambda usage, case: (whole(usage["inputTextTokenCount"]), whole(usage["tokenCount"])),
    "bedrock.llama": plain("prompt_token_count", "generation_token_count"),
    "bedrock.invoke": plain("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count"),
    "cohere.chat": cohere,
    "cohere.chat.v2": cohere,
    "ollama.chat": lambda usage, case: (usage.get("prompt_eval_count"), usage.get("eval_count")),
    "ollama.generate": lambda usage, case: (usage.get("prompt_eval_count"), usage.get("eval_count")),
    "dashscope.generation": plain("input_tokens", "output_tokens"),
    "dashscope.embeddings": lambda usage, case: (usage["total_tokens"], 0),
    "baidu.wenxin": plain("prompt_tokens", "completion_tokens"),
    "tencent.chat": tencent,
    "tencent.ChatTranslations": tencent,
    "tencent.GroupChatCompletions": tencent,
    "tencent.QueryRewrite": tencent,
    "tencent.embeddings": lambda usage, case: (usage["TotalTokens"], 0),
    "tencent.token_count": lambda usage, case: (usage["TokenCount"], 0),
}

# --- the answers -----------------------------------------------------------------------------------------------

AT_TOP = ("ollama.", "bedrock.titan", "bedrock.llama", "anthropic.count_tokens", "gemini.count_tokens",
          "openai.input_tokens", "bedrock.invoke")  # fmt: skip


def answer(case: Case) -> Case:
    """The recorded usage in an answer of its own wire format, with the output where that format has it."""
    api, usage, output = case["api"], case["usage"], case["output"] or {}
    model, text = case["model_returned"] or case["model_requested"], output.get("text") or ""
    if api.startswith("ollama."):
        said = {"message": {"role": "assistant", "content": text}} if api == "ollama.chat" else {"response": text}
        return {"model": model, "done": True, **said, **usage}
    if api == "bedrock.titan":
        counts = {"tokenCount": usage["tokenCount"], "outputText": text}
        return {"inputTextTokenCount": usage["inputTextTokenCount"], "results": [counts]}
    if api.startswith(AT_TOP):
        return {"model": model, **usage} if api != "bedrock.invoke" else {"generation": text, "headers": usage}
    if api.startswith("gemini.generate"):
        parts = [{"text": text}]
        return {"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage, "modelVersion": model}
    if api == "tencent.token_count":
        return {"Response": usage}
    if api == "tencent.embeddings":
        return {"Response": {"Usage": usage, "Data": []}}
    if api.startswith("tencent."):
        return {"Response": {"Usage": usage, "Choices": [{"Message": {"Content": text}}]}}
    if api == "cohere.chat":
        return {"text": text, "meta": usage}
    shapes: dict[str, Case] = {
        "openai.chat": {"object": "chat.completion", "choices": [{"message": {"content": text}}]},
        "openai.completions": {"object": "text_completion", "choices": [{"text": text}]},
        "openai.embeddings": {"object": "list", "data": [{"object": "embedding", "embedding": []}]},
        "openai.responses": {"object": "response", "output": [{"content": [{"type": "output_text", "text": text}]}]},
        "anthropic.messages": {"type": "message", "content": [{"type": "text", "text": text}]},
        "bedrock.converse": {"output": {"message": {"content": [{"text": text}]}}, "stopReason": "end_turn"},
        "bedrock.nova": {"output": {"message": {"content": [{"text": text}]}}, "stopReason": "end_turn"},
        "dashscope.generation": {"output": {"text": text}, "request_id": "r"},
        "dashscope.embeddings": {"output": {"embeddings": []}, "request_id": "r"},
        "cohere.chat.v2": {"message": {"content": [{"type": "text", "text": text}]}},
        "baidu.wenxin": {"result": text, "is_end": True},
    }
    return {"id": "x", "model": model, **shapes.get(api, {}), "usage": usage}


def ways(case: Case) -> Iterator[tuple[str, Extracted]]:
    provider = PROVIDERS.get(case["vendor"], case["vendor"])
    body = answer(case)
    minimum = {"model": case["model_returned"], "usage": case["usage"]}
    yield "named", extract(body, provider=provider, api=case["api"])
    yield "recognised", extract(body, provider=provider)
    yield "minimum", extract(minimum, provider=provider, api=case["api"])
    if case.get("stream_events"):
        reader = StreamReader(provider=provider, api=case["api"])
        telling = StreamReader(provider=provider)
        for event in case["stream_events"]:
            reader.feed(event)
            telling.feed(event)
        yield "streamed", reader.result()
        yield "streamed, recognised", telling.result()


def streamed(case: Case, expected: Totals) -> tuple[Totals, str | None]:
    """The totals of a stream: those of its last usage, but no figure falls below what an earlier event said."""
    names = {"openai.chat": ("usage", "prompt_tokens", "completion_tokens"),
             "gemini.generate": ("usageMetadata", "promptTokenCount", None)}.get(case["api"])  # fmt: skip
    if names is None or None in expected:
        return expected, None
    largest = [whole(expected[0]), whole(expected[1])]
    for text in case["stream_events"]:
        event = json.loads(text) if isinstance(text, str) and text.startswith("{") else text
        usage = event.get(names[0]) if isinstance(event, dict) else None
        for at, name in enumerate(names[1:]):
            if isinstance(usage, dict) and name is not None:
                largest[at] = max(largest[at], whole(usage.get(name)))
    figures = (largest[0], largest[1])
    return (
        figures,
        None if figures == expected else f"{case['vendor']}: a count fell in the stream: the largest, flagged",
    )


def remark(case: Case, plain: Totals, expected: Totals) -> str | None:
    """Why an expected total is not the figure that stands under the vendor's plain name, or is doubtful."""
    usage, api = case["usage"], case["api"]
    if api == "anthropic.messages":
        kinds = {step["type"] for step in usage.get("iterations", ())}
        if "advisor_message" in kinds:
            return "anthropic: advisor tokens are billed at another model's rates: quantities, not totals"
        if "compaction" in kinds:
            return "anthropic: a compaction is billed beside the top-level figures: added in"
    if api == "openai.chat":
        if expected[0] is None:
            return f"{case['vendor']}: zero prompt tokens beside a completion: not believed, flagged"
        reasoning = whole((usage.get("completion_tokens_details") or {}).get("reasoning_tokens"))
        if expected != plain:
            names = {"google": "thoughts hidden in the total", "mistral": "audio beside the prompt"}
            return f"{case['vendor']}: {names.get(case['vendor'], 'reasoning beside completion, by the total')}"
        if reasoning > usage["completion_tokens"]:
            return f"{case['vendor']}: reasoning above completion while the total has completion alone: kept, flagged"
    if api == "gemini.generate" and usage.get("totalTokenCount") not in (None, sum(whole(n) for n in expected)):
        return "google: the recorded total contradicts its parts: parts kept, flagged"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--show", type=int, default=40, help="differences to print")
    options = parser.parse_args()
    if not options.cases.exists():
        print(f"skipped: {options.cases} is not here; give the path of the recorded cases")
        return 0
    with gzip.open(options.cases, "rt", encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    checked, wrong = collections.Counter[str](), collections.Counter[str]()
    unknown, flags = collections.Counter[str](), collections.Counter[str]()
    explained = collections.Counter[str]()
    shown = 0
    for case in cases:
        expected = ORACLE[case["api"]](case["usage"], case)
        plain_figures = (case["usage"].get("prompt_tokens"), case["usage"].get("completion_tokens"))
        if (why := remark(case, plain_figures, expected)) is not None:
            explained[why] += 1
        in_stream, why = streamed(case, expected) if case.get("stream_events") else (expected, None)
        if why is not None:
            explained[why] += 1
        for way, got in ways(case):
            checked[way] += 1
            if way == "named":
                unknown.update(f"{case['vendor']} {case['api']} {name}" for name in got.unknown_fields)
                flags.update(f"{case['vendor']} {case['api']} {flag.partition(':')[0]}" for flag in got.flags)
            usage = got.usage
            found = (usage.input_tokens, usage.output_tokens) if usage is not None else (None, None)
            if found == (in_stream if way.startswith("streamed") else expected):
                continue
            wrong[way] += 1
            if shown < options.show:
                shown += 1
                print(f"{case['id']} {case['vendor']} {case['api']} {way} ({got.api}): {found}, expected {expected}"
                      f"\n    {json.dumps(case['usage'])[:300]}\n    {got.reason} {got.flags}")  # fmt: skip
    started = time.perf_counter()
    answers = [(answer(case), case["vendor"], case["api"]) for case in cases]
    built = time.perf_counter()
    for body, vendor, api in answers:
        extract(body, provider=vendor, api=api)
    spent = time.perf_counter() - built
    print(f"{len(cases)} cases; answers built in {built - started:.2f} s")
    for way in checked:
        print(f"{way:22} {checked[way]:6} compared, {wrong[way]:4} unexplained mismatches")
    print("explained, where the meaning is not the plain field:")
    for why, times in explained.most_common():
        print(f"    {times:4} cases, {why}")
    print(f"flags: {dict(flags.most_common())}")
    print(f"undeclared fields: {dict(unknown.most_common())}")
    print(f"{len(cases) / spent:,.0f} extractions a second, {spent / len(cases) * 1e6:.1f} µs each")
    return 1 if sum(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
