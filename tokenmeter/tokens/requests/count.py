"""Counts a request or an answer: reads it, finds the endpoint's rule, counts every part, and states the range.

The count is the sum of its items: frames, texts, tools, calls, results, schema, media,
switches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.long_words import any_forced_cut
from tokenmeter.tokens.ratio import script_of
from tokenmeter.tokens.requests.bodies import guess_api, read, read_headers
from tokenmeter.tokens.requests.error_bands import band_of
from tokenmeter.tokens.requests.itemize import SAMPLE, RequestItems
from tokenmeter.tokens.requests.itemize_answer import AnswerItems
from tokenmeter.tokens.requests.items import CounterLike
from tokenmeter.tokens.requests.output_limits import most_tokens, stop_sequences
from tokenmeter.tokens.requests.prompt import Item, Prompt
from tokenmeter.tokens.requests.rules import Pattern, Rule, find_rule
from tokenmeter.wire.request_body import model_of

__all__ = ["Explained", "Item", "explain_output", "explain_request"]

_UNSHOWN: Final = 20
"""Tokens of thoughts per token of their summary, at most."""
METHODS: Final = ("exact", "template", "stand-in", "ratio")
_CALL: Final = Pattern(style="sent", text="{name}{body}", each=10)
_PLAIN: Final = Rule(
    id="none",
    source="no rule is known for this endpoint: frames and tools are counted as other vendors have them",
    message=4,
    start=3,
    method="stand-in",
    tools=Pattern(style="json", constant=60),
    calls=_CALL,
    output_calls=_CALL,
    results=Pattern(style="json", text="{body}", each=6),
)


@dataclass(frozen=True, slots=True)
class Explained:
    """A count with its parts and the rule they follow."""

    count: TokenCount
    items: tuple[Item, ...]
    rule: str
    source: str
    proved: bool = False
    """Recordings of two sources or more have the range; else it is wider, and nothing outside them confirms it."""


def explain_request(
    body: object,
    *,
    provider: str | None = None,
    model: str | None = None,
    api: str | None = None,
    at: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Explained:
    """Input tokens of a whole request body as sent, itemized. Never raises.

    `at` is the call's ISO date, else now. `headers` are the request's, of which some switch on features that bill.
    """
    if not isinstance(body, Mapping):
        reason = "the request is not an object"
        return Explained(TokenCount(None, None, None, None, None, (reason,), reason), (), "", "")
    api = api or guess_api(body)
    prompt = read(body, api)
    if headers is not None:
        read_headers(headers, prompt)
    name = model or model_of(body) or ""
    counts: CounterLike = counter(name, provider, at)
    rule = find_rule(provider, name, api, counts.family_name, at or "9999") or _PLAIN
    itemizer = RequestItems(counts, rule)
    low, high = itemizer.request(prompt, name)
    tokens = max(0, sum(item.tokens for item in itemizer.items))
    if not itemizer.items and prompt.skipped:
        count = TokenCount(None, None, None, None, counts.family_name, tuple(prompt.skipped), "no text in the request")
        return Explained(count, (), rule.id, rule.source)
    kinds = _kinds(prompt)
    counted = tokens - itemizer.media
    below, above, proved = _spread(rule, kinds, counts, counted, itemizer.sample, provider)
    low, high = counted - below + low, counted + above + high
    skipped = (
        *prompt.skipped,
        *(f"tools: {one} is the vendor's own tool, its prompt is not in the request" for one in prompt.builtins),
    )
    media = "ratio" if itemizer.guessed else "exact"
    method = _worst(counts.method, _method(rule, kinds, itemizer), media, _engine(body))
    tools = sum(item.tokens for item in itemizer.items if item.part == "tools")
    count = TokenCount(
        tokens, max(0, int(low)), math.ceil(high), method, counts.family_name, skipped, tool_definitions=tools
    )
    return Explained(count, tuple(itemizer.items), rule.id, rule.source, proved)


def explain_output(
    *,
    model: str,
    provider: str | None = None,
    api: str | None = None,
    text: str = "",
    reasoning: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
    request: Mapping[str, Any] | None = None,
    at: str | None = None,
) -> Explained:
    """Output tokens of an answer, itemized: text, visible reasoning, calls, end marks. Never raises.

    Given the `request` it answers, what that changes is counted too: an offered tool or a schema costs some vendors
    an end mark more, and the name of a forced function is not billed again.
    """
    if api is None and isinstance(request, Mapping):
        api = guess_api(request)
    counts: CounterLike = counter(model, provider, at)
    rule = find_rule(provider, model, api, counts.family_name, at or "9999") or _PLAIN
    itemizer = AnswerItems(counts, rule)
    answer = read({"messages": [{"role": "assistant", "content": None, "tool_calls": list(tool_calls)}]})
    calls = [call for message in answer.messages for call in message.calls]
    itemizer.answer(text, reasoning, calls, read(request, api) if request else Prompt())
    tokens = max(0, sum(item.tokens for item in itemizer.items))
    thoughts = sum(item.tokens for item in itemizer.items if item.part == "reasoning")
    kind = "output_calls" if calls else "output_reasoning" if reasoning else "output"
    below, above, proved = _spread(rule, (kind,), counts, tokens, text[:SAMPLE] or reasoning[:SAMPLE], provider)
    if reasoning and rule.summarized:  # of what was thought only a summary is shown: there may be many times more
        above += _UNSHOWN * thoughts
    low, high = max(0, int(tokens - below)), math.ceil(tokens + above)
    if isinstance(request, Mapping):
        high += max(map(counts.count, stop_sequences(request)), default=0)
        most = most_tokens(request, provider, thoughts)
        if most is not None and tokens > most:
            itemizer.items.append(Item("limit", most - tokens, f"the request allows {most}"))
            low, tokens = min(low, most), most
    own = rule.method if calls or rule.output.each else "exact"
    method = _worst(counts.method, own, _engine((text, reasoning, tool_calls)))
    count = TokenCount(tokens, low, high, method, counts.family_name, tuple(answer.skipped))
    return Explained(count, tuple(itemizer.items), rule.id, rule.source, proved)


def _spread(
    rule: Rule, kinds: Sequence[str], counts: CounterLike, tokens: int, sample: str, provider: str | None
) -> tuple[float, float, bool]:
    """Below and above, and whether two sources or more prove them.

    The rule's measured bands, and the counter's own where those were not measured on such text.
    """
    below, above, measured, proved = band_of(rule.id, kinds, tokens, provider)
    if counts.method == "exact" or (measured and script_of(sample) == "en"):
        return below, above, proved
    low, high = counts.band(tokens, sample)
    return below + tokens - low, above + high - tokens, proved


def _kinds(prompt: Prompt) -> tuple[str, ...]:
    kinds = ["plain"]
    if prompt.tools or prompt.builtins:
        kinds.append("tools")
    if prompt.schema:
        kinds.append("schema")
    if any(message.calls or message.results or message.reasoning for message in prompt.messages):
        kinds.append("history")
    if any(message.media for message in prompt.messages):
        kinds.append("media")
    return tuple(kinds)


def _method(rule: Rule, kinds: Sequence[str], itemizer: RequestItems) -> str:
    if rule.method == "exact" and len(kinds) > 1:
        return "template"
    return rule.method


def _engine(texts: object) -> str:
    """How well the installed tiktoken counts the texts: an old version gets long words cut."""
    return "stand-in" if any_forced_cut(texts) else "exact"


def _worst(*methods: str) -> str:
    return max(methods, key=METHODS.index)
