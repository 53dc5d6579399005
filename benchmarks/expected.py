"""What a record must say of a recorded case, worked out from the recording alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Expected", "expected_usage", "wrong_usage"]


@dataclass(frozen=True, slots=True)
class Expected:
    """The vendor's usage verbatim and its inclusive totals; `raw` None where none went over the wire."""

    raw: Mapping[str, Any] | None
    input: int | None = None
    output: int | None = None


def expected_usage(case: Mapping[str, Any], form: str, *, silent: bool) -> Expected:
    """The usage of a case as its vendor documents it: totals inclusive, embeddings without output."""
    usage = case["usage"]
    if silent:
        return Expected(None)
    match case["api"]:
        case "openai.responses":
            return Expected(usage, usage["input_tokens"], usage["output_tokens"])
        case "openai.embeddings":
            return Expected(usage, usage.get("prompt_tokens", usage.get("total_tokens")), 0)
    read, written, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if written is None and total is not None:
        written = total - read  # an answer of no tokens: the legacy endpoint leaves the figure out
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    # Mistral's sound stands beside the prompt, and only the total holds it.
    sound = (usage.get("prompt_tokens_details") or {}).get("audio_tokens") or 0
    if case["vendor"] == "mistral" and sound and total == read + written + sound:
        read += sound
    # xAI and Google leave reasoning out of the completion; only the total holds it.
    if reasoning and total == read + written + reasoning:
        written += reasoning
    elif case["vendor"] == "google":
        written = total - read
    return Expected(usage, read, written)


def wrong_usage(record: Any, expected: Expected) -> Iterator[str]:
    """Where a record departs from what is expected, in words."""
    usage = record.usage
    if str(record.end) != "complete":
        yield f"ended {record.end} ({record.reason}, {record.flags})"
    if expected.raw is None:
        if str(usage.source_of("input_tokens")) == "reported" or str(usage.source_of("output_tokens")) == "reported":
            yield f"no usage went over the wire, yet {usage!r} is called reported"
        return
    if record.usage_raw != expected.raw:
        yield f"raw usage {record.usage_raw!r}, recorded {expected.raw!r}"
    if (usage.input_tokens, usage.output_tokens) != (expected.input, expected.output):
        found = f"{usage.input_tokens} in, {usage.output_tokens} out"
        yield f"{found}; the recording says {expected.input} in, {expected.output} out"
    for name in ("input_tokens", "output_tokens"):
        if getattr(expected, name.partition("_")[0]) is not None and str(usage.source_of(name)) != "reported":
            yield f"{name} is {usage.source_of(name)}, not reported"
