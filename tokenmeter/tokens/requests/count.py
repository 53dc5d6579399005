"""Sum a request: read it, find the endpoint's rule, count every part, say how far off the sum may be.

The sum is a list of items (`explain` shows them): frames, texts, tools, calls, results, schema, media, switches.
Tool and schema blocks repeat from call to call, so their counts are kept by a digest of the block, never its text.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Protocol

from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.ratio import script_of
from tokenmeter.tokens.requests import render
from tokenmeter.tokens.requests.bands import band_of
from tokenmeter.tokens.requests.bodies import guess_api, read
from tokenmeter.tokens.requests.formulas import media_tokens
from tokenmeter.tokens.requests.prompt import Call, Message, Prompt, Result, Tool
from tokenmeter.tokens.requests.rules import Pattern, Rule, find_rule
from tokenmeter.tokens.requests.typescript import uncommented
from tokenmeter.usage import TokenCount

__all__ = ["Explained", "Item", "count_output", "count_request", "explain_output", "explain_request"]

METHODS: Final = ("exact", "template", "stand-in", "ratio")
_PLAIN: Final = Rule(id="none", source="no rule is known for this endpoint", message=4, start=3, method="stand-in")
_MEMO_MOST: Final = 1024
_SAMPLE: Final = 400
_memo: dict[bytes, int] = {}
_memo_lock: Final = Lock()


class Counts(Protocol):
    """What is needed of `tokens.counter.Counter`."""

    family: str | None
    family_name: str
    method: str

    def count(self, text: str, *, markers: bool = False) -> int: ...

    def band(self, tokens: int, text: str = "") -> tuple[int, int]: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a count: what it is, its tokens, and what they come from."""

    part: str
    tokens: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """A count with its parts and the rule they follow."""

    count: TokenCount
    items: tuple[Item, ...]
    rule: str
    source: str


def count_request(
    body: Mapping[str, Any],
    *,
    provider: str | None = None,
    model: str | None = None,
    api: str | None = None,
    at: str | None = None,
) -> TokenCount:
    """Input tokens of a whole request body as sent; `at` is the ISO date of the call, now where absent. Never raises."""
    return explain_request(body, provider=provider, model=model, api=api, at=at).count


def explain_request(
    body: Mapping[str, Any],
    *,
    provider: str | None = None,
    model: str | None = None,
    api: str | None = None,
    at: str | None = None,
) -> Explained:
    """The same count, itemised."""
    if not isinstance(body, Mapping):
        reason = "the request is not an object"
        return Explained(TokenCount(None, None, None, None, None, (reason,), reason), (), "", "")
    api = api or guess_api(body)
    prompt = read(body, api)
    name = model or _text(body.get("model")) or _text(body.get("Model")) or ""
    counts: Counts = counter(name, provider)
    rule = find_rule(provider, name, api, counts.family_name, at or "9999") or _PLAIN
    sums = _Sums(counts, rule)
    low, high = sums.request(prompt, name)
    tokens = max(0, sum(item.tokens for item in sums.items))
    if not sums.items and prompt.skipped:
        count = TokenCount(None, None, None, None, counts.family_name, tuple(prompt.skipped), "no text in the request")
        return Explained(count, (), rule.id, rule.source)
    kinds = _kinds(prompt)
    counted = tokens - sums.media
    below, above = _spread(rule, kinds, counts, counted, sums.sample)
    low, high = counted - below + low, counted + above + high
    skipped = (*prompt.skipped, *(f"tools: {one} is the vendor's own tool, its prompt is not in the request" for one in prompt.builtins))
    method = _worst(counts.method, _method(rule, kinds, sums))
    count = TokenCount(tokens, max(0, int(low)), math.ceil(high), method, counts.family_name, skipped)
    return Explained(count, tuple(sums.items), rule.id, rule.source)


def count_output(
    *,
    model: str,
    provider: str | None = None,
    api: str | None = None,
    text: str = "",
    reasoning: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
    request: Mapping[str, Any] | None = None,
    at: str | None = None,
) -> TokenCount:
    """Output tokens of an answer: text, visible reasoning, calls, end marks. Never raises.

    Given the `request` it answers, what that changes is counted too: an offered tool or a schema costs some vendors
    an end mark more, and the name of a forced function is not billed again.
    """
    return explain_output(
        model=model, provider=provider, api=api, text=text, reasoning=reasoning, tool_calls=tool_calls,
        request=request, at=at,
    ).count  # fmt: skip


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
    """The same count, itemised."""
    if api is None and isinstance(request, Mapping):
        api = guess_api(request)
    counts: Counts = counter(model, provider)
    rule = find_rule(provider, model, api, counts.family_name, at or "9999") or _PLAIN
    sums = _Sums(counts, rule)
    answer = read({"messages": [{"role": "assistant", "content": None, "tool_calls": list(tool_calls)}]})
    calls = [call for message in answer.messages for call in message.calls]
    sums.output(text, reasoning, calls, read(request, api) if request else Prompt())
    tokens = max(0, sum(item.tokens for item in sums.items))
    kind = "output_calls" if calls else "output_reasoning" if reasoning else "output"
    below, above = _spread(rule, (kind,), counts, tokens, text[:_SAMPLE] or reasoning[:_SAMPLE])
    method = _worst(counts.method, rule.method if calls or rule.output.each else "exact")
    low, high = max(0, int(tokens - below)), math.ceil(tokens + above)
    count = TokenCount(tokens, low, high, method, counts.family_name, tuple(answer.skipped))
    return Explained(count, tuple(sums.items), rule.id, rule.source)


def _spread(rule: Rule, kinds: Sequence[str], counts: Counts, tokens: int, sample: str) -> tuple[float, float]:
    """Below and above: the rule's measured bands, and the counter's own where those were not measured on such text."""
    below, above, measured = band_of(rule.id, kinds, tokens)
    if counts.method == "exact" or (measured and script_of(sample) == "en"):
        return below, above
    low, high = counts.band(tokens, sample)
    return below + tokens - low, above + high - tokens


class _Sums:
    """Counts the parts of one prompt under one rule."""

    __slots__ = ("_counts", "_rule", "items", "media", "sample")

    def __init__(self, counts: Counts, rule: Rule) -> None:
        self._counts = counts
        self._rule = rule
        self.items: list[Item] = []
        self.media = 0
        self.sample = ""

    def _add(self, part: str, tokens: int, note: str = "") -> None:
        if tokens:
            self.items.append(Item(part, tokens, note))

    def _marked(self, text: str) -> int:
        """Tokens of rendered text: `\\0` is one mark, `\\1` none, and neither merges with anything."""
        if "\0" not in text and "\1" not in text:
            return self._counts.count(text, markers=True) if text else 0
        pieces = text.replace("\0", "\1").split("\1")
        return text.count("\0") + sum(self._counts.count(piece, markers=True) for piece in pieces if piece)

    def request(self, prompt: Prompt, model: str) -> tuple[float, float]:
        """Itemise a request; low and high of its media are handed back, the rest is the band's."""
        rule = self._rule
        counts = self._counts
        if prompt.inputs or prompt.token_ids:
            self._add("input", sum(map(counts.count, prompt.inputs)) + prompt.token_ids)
            self._add("frame", rule.message * len(prompt.inputs) if not prompt.messages and rule.id != "none" else 0)
        low = high = 0.0
        if prompt.messages:
            self._messages(prompt)
            low, high = self._media(prompt, model)
        self._tools(prompt)
        self._schema(prompt)
        self._switches(prompt)
        return low, high

    def _messages(self, prompt: Prompt) -> None:
        rule = self._rule
        count = self._counts.count
        messages = _merged(prompt.messages) if rule.merge else prompt.messages
        frames = rule.start
        text = 0
        join = rule.join
        edge = rule.edge
        last_user = max((at for at, one in enumerate(messages) if one.role == "user"), default=-1)
        system: Message | None = None
        before: Message | None = None
        together: set[str] = set()
        for at, message in enumerate(messages):
            if not (rule.merge_calls and message.calls and before is not None and before.calls and not message.texts):
                frames += rule.frame(message.role)
            if rule.merge_results and message.results and not (before is not None and before.results):
                frames += rule.merge_results
            before = message
            texts = message.texts
            if len(texts) == 1:
                text += count(texts[0])
            elif texts:
                text += count(join.join(texts)) if join is not None else sum(map(count, texts))
            if edge and texts and texts[0][:1].isspace():
                head = texts[0][:40]
                frames += count(edge + head) - count(edge) - count(head)
            if message.role in ("system", "developer"):
                system = system or message
            if message.name:
                frames += count(message.name) + rule.name
            if message.reasoning and (rule.reasoning == "keep" or (rule.reasoning == "last" and at > last_user)):
                self._add("reasoning", sum(map(count, message.reasoning)), "earlier reasoning sent back")
            if message.signatures and rule.signature[0] and (at > last_user or not rule.signature_last):
                share, less = rule.signature
                tokens = sum(max(0, round(share * length - less)) for length in message.signatures)
                self._add("reasoning", tokens, "thoughts inside signatures")
            if message.calls:
                self._add("calls", self._calls(rule.calls, message.calls), f"{len(message.calls)} calls")
                if rule.calls.parallel and len(message.calls) > 1:
                    together.update(call.id for call in message.calls)
            for result in message.results:
                bare = result.id in together and bool(result.id)
                self._add("results", count(result.text) if bare else self._result(result, prompt), "tool result")
        if self._counts.method != "exact":
            self.sample = " ".join(one[:_SAMPLE] for message in messages[-4:] for one in message.texts[:2])
        self._add("text", text)
        self._add("frame", frames, f"{len(messages)} messages")
        self._add("system", rule.first_system if system else rule.no_system, "system text" if system else "no system text")
        if (prompt.tools or prompt.schema) and rule.system_newline and system and system.texts:
            last = system.texts[-1][-40:]
            self._add("system", count(last + "\n") - count(last), "newline after the system text")
        if prompt.tools and system:
            self._add("tools", rule.tools.with_system, "with a system text")

    def _calls(self, pattern: Pattern, calls: Sequence[Call]) -> int:
        texts = [
            pattern.text.replace("{name}", call.name).replace(
                "{body}", render.arguments(pattern.style, call, pattern.options)
            )
            for call in calls
        ]
        tokens = pattern.constant + pattern.each * len(calls)
        if "stored" in pattern.options:
            tokens += pattern.options["stored"] * sum(call.stored for call in calls)
        if pattern.parallel and len(calls) > 1:
            tokens = pattern.parallel + pattern.parallel_each * len(calls)
        if pattern.join:
            return tokens + self._marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        return tokens + self._marked(pattern.intro) + sum(map(self._marked, texts)) + self._marked(pattern.outro)

    def _result(self, result: Result, prompt: Prompt) -> int:
        pattern = self._rule.results
        body = result.text
        if result.value is not None:
            body = render.arguments(pattern.style, Call("", result.value), pattern.options)
        name = result.name or _called(prompt, result.id)
        return pattern.each + self._marked(pattern.text.replace("{name}", name).replace("{body}", body))

    def _tools(self, prompt: Prompt) -> None:
        rule = self._rule
        offered = prompt.tools
        if not offered or (prompt.choice == "none" and rule.tools.options.get("none_hides")):
            return
        if prompt.choice.startswith("=") and rule.tools.options.get("forced_only"):
            offered = [tool for tool in offered if tool.name == prompt.choice[1:]] or offered
        pattern = rule.tools
        tokens = self._block("tools", pattern, offered)
        adjust = pattern.options.get("uncommented", 0)
        if adjust:
            tokens += adjust * sum(map(uncommented, offered))
        if not offered[0].description:
            tokens += pattern.options.get("undescribed", 0)
        self._add("tools", tokens, f"{len(offered)} tools as {pattern.style}")
        if prompt.choice == "required":
            self._add("tools", pattern.required, "a call is required")
        elif prompt.choice.startswith("="):
            named = pattern.forced + self._counts.count(prompt.choice[1:]) if pattern.forced else 0
            self._add("tools", pattern.options.get("forced_flat", named), "one tool by force")
        if prompt.single_calls:
            self._add("tools", pattern.options.get("single_calls", 0), "parallel calls switched off")

    def _block(self, part: str, pattern: Pattern, offered: Sequence[Tool]) -> int:
        key = _digest(self._rule.id, self._counts.family_name, part, [tool.raw for tool in offered])
        known = _memo.get(key) if key else None
        if known is not None:
            return known
        texts = render.tools(pattern.style, offered, pattern.options)
        if pattern.text != "{body}":
            texts = [pattern.text.replace("{body}", text) for text in texts]
        if pattern.join:
            tokens = self._marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        else:
            tokens = self._marked(pattern.intro) + sum(map(self._marked, texts)) + self._marked(pattern.outro)
        tokens = round(tokens * pattern.scale) + pattern.constant + pattern.each * len(offered)
        _remember(key, tokens)
        return tokens

    def _schema(self, prompt: Prompt) -> None:
        schema = prompt.schema
        pattern = self._rule.schema
        if schema is None or pattern.style == "none":
            return
        key = _digest(self._rule.id, self._counts.family_name, "schema", [schema.name, schema.description, schema.value])
        tokens = _memo.get(key) if key else None
        if tokens is None:
            body = render.as_json(render.trimmed(schema.value, pattern.options), pattern.options)
            text = pattern.text.replace("{name}", schema.name).replace("{body}", body)
            tokens = round(self._marked(text) * pattern.scale) + pattern.constant
            if schema.description and "described" in pattern.options:
                tokens += self._counts.count(schema.description) + pattern.options["described"]
            _remember(key, tokens)
        if prompt.tools and "with_tools" in pattern.options:
            tokens += pattern.options["with_tools"]
        elif any(message.role in ("system", "developer") for message in prompt.messages):
            tokens += pattern.with_system
        self._add("schema", tokens, "the answer's schema")

    def _switches(self, prompt: Prompt) -> None:
        rule = self._rule
        self._add("hidden", rule.hidden, "the endpoint's own prompt")
        if rule.thinking:
            key = "default" if prompt.thinking is None else "on" if prompt.thinking else "off"
            if prompt.tools and f"{key}_with_tools" in rule.thinking:
                key = f"{key}_with_tools"
            self._add("thinking", rule.thinking.get(key, 0), f"thinking {key}")
            for word in (prompt.effort, prompt.mode):
                if word:
                    self._add("thinking", rule.thinking.get(word, 0), f"reasoning: {word}")

    def _media(self, prompt: Prompt, model: str) -> tuple[float, float]:
        low = high = 0.0
        for message in prompt.messages:
            for medium in message.media:
                tokens, least, most = media_tokens(model, medium)
                size = f"{medium.width}x{medium.height}" if medium.width else "size unknown"
                if tokens is None:
                    prompt.skipped.append(f"{medium.kind}: no formula of this vendor is known")
                    continue
                self._add(medium.kind, tokens, size if medium.kind == "image" else f"{medium.pages or medium.seconds or '?'}")
                self.media += tokens
                low += least
                high += most
        return low, high

    def output(self, text: str, reasoning: str, calls: Sequence[Call], asked: Prompt) -> None:
        """Itemise an answer to what was asked."""
        rule = self._rule
        extra = rule.output.options
        self._add("text", self._counts.count(text) if text else 0)
        if reasoning:
            self._add("reasoning", self._counts.count(reasoning) + extra.get("reasoning", 0))
        pattern = rule.output_calls or rule.calls
        if calls and asked.choice.startswith("=") and "forced" in pattern.options and len(calls) == 1:
            body = render.arguments(pattern.style, calls[0], pattern.options)
            self._add("calls", self._marked(body) + pattern.options["forced"], "the call asked for by name")
        elif calls:
            if asked.choice not in ("auto", "none"):
                self._add("calls", pattern.required, "the opening of a required call is not billed")
            self._add("calls", self._calls(pattern, calls), f"{len(calls)} calls")
            self._add("end", extra.get("mixed", 0) if text else 0, "text before calls")
        else:
            self._add("end", rule.output.each, "end marks")
            self._add("end", extra.get("tools", 0) if asked.tools else 0, "tools were offered")
            self._add("end", extra.get("schema", 0) if asked.schema else 0, "a schema was asked for")
            if asked.schema and asked.tools:
                self._add("end", extra.get("schema_tools", 0), "a schema and tools")


def _merged(messages: Iterable[Message]) -> list[Message]:
    """Adjacent messages of one role as one, joined by a newline."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is None or last.role != message.role or message.role == "tool" or last.calls or message.calls:
            merged.append(message)
            continue
        merged[-1] = Message(
            last.role,
            ["\n".join([*last.texts, *message.texts])],
            last.name,
            [*last.reasoning, *message.reasoning],
            results=[*last.results, *message.results],
            media=[*last.media, *message.media],
        )
    return merged


def _called(prompt: Prompt, identity: str) -> str:
    """The name of the call a result answers."""
    if identity:
        for message in prompt.messages:
            for call in message.calls:
                if call.id == identity:
                    return call.name
    return ""


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


def _method(rule: Rule, kinds: Sequence[str], sums: _Sums) -> str:
    if rule.method == "exact" and len(kinds) > 1:
        return "template"
    return rule.method


def _worst(*methods: str) -> str:
    return max(methods, key=METHODS.index)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _digest(*parts: object) -> bytes | None:
    text = render.as_json(parts, {})
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() if text else None


def _remember(key: bytes | None, tokens: int) -> None:
    if key is None:
        return
    with _memo_lock:
        if len(_memo) >= _MEMO_MOST:
            _memo.pop(next(iter(_memo)))
        _memo[key] = tokens
